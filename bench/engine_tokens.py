"""Tokens per second of the engine alone, by number of clients and of distinct adapters among them.

    python -m bench.engine_tokens --clients 1 4 8 16 --adapters 0 1 2 4 8 --tokens 64

Every client sends one request; all start together. Prompts differ, so nothing is shared. `overhead` is the time of
a step outside llama_decode: planning, filling the batch, sampling, delivering. Adapters are random, of rank 24 on
q and v. No peer here: bench/serve.py compares whole servers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import gguf
import numpy as np

from adapters.gguf_file import BaseModel
from proxy.config import EngineConfig
from proxy.engine.api import AdapterFile, Generation, Placement, Sampling
from proxy.engine.engine import Engine

PROMPT = "Client {number}: explain in a few sentences why the sky is blue and the sunset is red."


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. Times in milliseconds per step, rates in output tokens per second over the whole run."""

    clients: int
    adapters: int
    tokens_per_s: float
    first_token_ms: float
    steps: int
    decode_ms: float
    overhead_ms: float


def write_random_adapter(path: Path, base: BaseModel, seed: int, rank: int = 24) -> AdapterFile:
    """A LoRA on attn_q and attn_v, too weak to change much: speed does not depend on the values."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, base.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for name, info in base.tensors.items():
        if name.endswith(("attn_q.weight", "attn_v.weight")):
            rows, columns = info.shape
            for part, shape in (("lora_a", (rank, columns)), ("lora_b", (rows, rank))):
                writer.add_tensor(f"{name}.{part}", random.normal(0, 0.003, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return AdapterFile(f"{seed:016x}", path)


def measure(
    engine: Engine, clients: int, adapters: list[AdapterFile], tokens: int, sampling: Sampling, start: int
) -> Row:
    """Runs `clients` requests of `tokens` tokens at once, spread over the adapters (none: the base model)."""
    first: list[float] = []

    def client(number: int) -> None:
        adapter = adapters[number % len(adapters)] if adapters else None
        prompt = engine.chat_tokens([{"role": "user", "content": PROMPT.format(number=start + number)}])
        asked = Generation(prompt, Placement(adapter=adapter), tokens, sampling=sampling, ignore_eos=True)
        begun = time.perf_counter()
        for count, _chunk in enumerate(engine.submit(asked)):
            if count == 0:
                first.append(time.perf_counter() - begun)

    before, begun = engine.stats(), time.perf_counter()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    time.sleep(0.05)  # the last step's own time is added after its chunks went out
    after = engine.stats()
    steps = after.decode_steps - before.decode_steps
    decode = after.decode_seconds - before.decode_seconds
    busy = after.busy_seconds - before.busy_seconds
    return Row(
        clients=clients,
        adapters=len(adapters),
        tokens_per_s=round(clients * tokens / seconds, 1),
        first_token_ms=round(1e3 * float(np.median(first)), 1),
        steps=steps,
        decode_ms=round(1e3 * decode / steps, 2),
        overhead_ms=round(1e3 * (busy - decode) / steps, 2),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--adapters", type=int, nargs="+", default=[0])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sampling = Sampling(temperature=options.temperature, top_k=20, top_p=0.8, seed=1)
    config = EngineConfig(max_sequences=max(options.clients), threads=options.threads)
    engine = Engine(options.model, config)
    with tempfile.TemporaryDirectory() as folder:
        base = BaseModel.read(options.model)
        files = [
            write_random_adapter(Path(folder) / f"{seed}.gguf", base, seed)
            for seed in range(1, 1 + max(options.adapters))
        ]
        try:
            measure(engine, 1, [], 8, sampling, start=10_000)
            start = 0
            for clients in options.clients:
                for adapters in options.adapters:
                    if adapters > clients:
                        continue
                    row = measure(engine, clients, files[:adapters], options.tokens, sampling, start)
                    start += clients
                    print(json.dumps(asdict(row)) if options.json else row, flush=True)
        finally:
            engine.close()


if __name__ == "__main__":
    main()
