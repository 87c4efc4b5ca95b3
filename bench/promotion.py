"""Serving a merged build against serving the base with the adapter attached, on one engine, alternating.

    python -m bench.promotion --clients 1 4 --tokens 64

For each number of clients: output tokens per second, and the median time to the first token (ttft) of prompts
nobody has sent before. Then what promotion costs: merging, loading, memory, and the first request on the build,
without warming it (cold) and with the adapter's prompt in its cells (warm). The adapter is random: all linear
layers of 8-23.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from adapters.base_files import BaseFiles
from adapters.gguf_file import write_gguf
from adapters.merge import merge
from bench.merge import MODEL, ROOT, random_adapter
from proxy.config import EngineConfig
from proxy.engine.api import AdapterFile, Generation, Placement, Sampling
from proxy.engine.engine import Engine

SYSTEM = "You turn what the user writes into one short and polite sentence. Keep names and numbers as they are. " * 6
QUESTION = "Customer {number} wrote that parcel {number} has not arrived although it was sent {number} days ago."


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the rounds; times in milliseconds, rates over the whole round."""

    placement: str
    clients: int
    tokens_per_s: float
    ttft_ms: float


@dataclass(frozen=True, slots=True)
class Costs:
    merge_s: float
    load_ms: float
    attach_ms: float
    first_cold_ms: float
    first_warm_ms: float
    resident_mib_attached: float
    resident_mib_with_build: float
    file_mb: float
    adapter_mb: float


def ask(engine: Engine, placement: Placement, prompt: str, tokens: int) -> tuple[float, int]:
    """Seconds to the first token, and tokens got."""
    generation = Generation(
        engine.tokenize(prompt),
        placement,
        max_tokens=tokens,
        sampling=Sampling(temperature=0.0),
        ignore_eos=True,
    )
    started = time.perf_counter()
    first = None
    with engine.submit(generation) as stream:
        for _ in stream:
            first = first or time.perf_counter() - started
        return first or 0.0, stream.usage.completion_tokens


def round_of(engine: Engine, placement: Placement, clients: int, tokens: int, serial: int) -> tuple[float, list[float]]:
    """All clients at once: output tokens per second, and each one's time to the first token."""
    results: list[tuple[float, int]] = []

    def client(number: int) -> None:
        prompt = f"{serial}.{number} {QUESTION.format(number=serial * 100 + number)}"  # nothing is shared
        results.append(ask(engine, placement, prompt, tokens))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return sum(count for _, count in results) / seconds, [first * 1000 for first, _ in results]


def resident_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=MODEL)
    parser.add_argument("--rank", type=int, default=24)
    parser.add_argument("--store", default="q8_0")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    (ROOT / "runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "runs", prefix="promotion-") as folder:
        rows, costs = compare(args, Path(folder))
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "costs": asdict(costs)}))
        return
    print("| | clients | tokens/s | ttft ms |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.placement} | {row.clients} | {row.tokens_per_s:.1f} | {row.ttft_ms:.0f} |")
    print("\n".join(f"{name}: {value:.1f}" for name, value in asdict(costs).items()))


def compare(args: argparse.Namespace, folder: Path) -> tuple[list[Row], Costs]:
    files, adapter, build = BaseFiles.read(args.base), folder / "adapter.gguf", folder / "build.gguf"
    made = random_adapter(files, args.rank, range(8, 24))
    write_gguf(made, adapter, files.model)
    merged = merge(files, made, build, store=args.store)
    engine = Engine(args.base, EngineConfig())
    attached, base, promoted = Placement(adapter=AdapterFile("a", adapter)), Placement(), Placement("build")
    try:
        ask(engine, base, "hello", 2)
        started = time.perf_counter()
        ask(engine, attached, "hello", 1)
        attach_ms = (time.perf_counter() - started) * 1000
        before = resident_mib()
        started = time.perf_counter()
        engine.add_model("build", build)
        load_ms = (time.perf_counter() - started) * 1000
        first_cold = ask(engine, promoted, SYSTEM + QUESTION.format(number=1), 1)[0] * 1000
        first_warm = ask(engine, promoted, SYSTEM + QUESTION.format(number=2), 1)[0] * 1000
        after = resident_mib()
        rows = rows_of(engine, {"base": base, "attached": attached, "merged": promoted}, args)
    finally:
        engine.close()
    size, small = build.stat().st_size / 1e6, adapter.stat().st_size / 1e6
    costs = Costs(merged.seconds, load_ms, attach_ms, first_cold, first_warm, before, after, size, small)
    return rows, costs


def rows_of(engine: Engine, placements: dict[str, Placement], args: argparse.Namespace) -> Sequence[Row]:
    rates: dict[tuple[str, int], list[float]] = {}
    firsts: dict[tuple[str, int], list[float]] = {}
    serial = 0
    for _ in range(args.rounds):  # alternating, so that a busy minute falls on all of them
        for clients in args.clients:
            for name, placement in placements.items():
                serial += 1
                rate, first = round_of(engine, placement, clients, args.tokens, serial)
                rates.setdefault((name, clients), []).append(rate)
                firsts.setdefault((name, clients), []).extend(first)
    return [
        Row(name, clients, statistics.median(rates[name, clients]), statistics.median(firsts[name, clients]))
        for name, clients in rates
    ]


if __name__ == "__main__":
    main()
