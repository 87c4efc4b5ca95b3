"""What idle conversations cost a new request: first token and tokens after it, by how many tokens idle ones hold.

    python -m bench.idle_cells --idle 0 4000 8000 16000 24000

Two engines in turn, with idle prefixes parked outside the KV cells (as served) and left in them (prefix_cache_bytes =
0). The request has 60 prompt tokens that nobody sent before, and 24 answer tokens. Medians of --repeats requests.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from statistics import median

from proxy.config import EngineConfig, load_config
from proxy.engine.api import Generation
from proxy.engine.engine import Engine

PROMPT_TOKENS, ANSWER_TOKENS, CONVERSATION_TOKENS = 60, 24, 1000
TOKENS = range(1000, 100_000)
"""Ordinary tokens of the default model's vocabulary."""


def ask(engine: Engine, rng: random.Random, prompt: int, answer: int) -> tuple[float, float]:
    """Milliseconds to the first token, and per token after it."""
    generation = Generation(tuple(rng.choices(TOKENS, k=prompt)), max_tokens=answer, ignore_eos=True)
    begun = time.perf_counter()
    seen = [time.perf_counter() - begun for _ in engine.submit(generation)]
    return 1000 * seen[0], 1000 * (seen[-1] - seen[0]) / max(1, len(seen) - 1)


def measure(name: str, cache_bytes: int, idle: list[int], repeats: int) -> list[dict]:
    config = load_config(None)
    rng, rows, filled = random.Random(0), [], 0
    engine = Engine(config.model.path, EngineConfig(prefix_cache_bytes=cache_bytes))
    try:
        ask(engine, rng, PROMPT_TOKENS, ANSWER_TOKENS)
        for wanted in sorted(idle):
            while filled < wanted:
                ask(engine, rng, CONVERSATION_TOKENS, 1)
                filled += CONVERSATION_TOKENS
            first, after = zip(*(ask(engine, rng, PROMPT_TOKENS, ANSWER_TOKENS) for _ in range(repeats)), strict=True)
            stats = engine.stats()
            row = {
                "idle": name, "tokens": filled, "cells_used": stats.kv_used_tokens,
                "parked_mb": stats.prefix_cache_bytes / 1e6, "first_ms": median(first), "token_ms": median(after),
            }  # fmt: skip
            rows.append(row)
    finally:
        engine.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, nargs="+", default=[0, 4000, 8000, 16000, 24000], metavar="TOKENS")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    print(f"{'idle prefixes':16}{'tokens':>8}{'cells':>8}{'parked MB':>11}{'first ms':>10}{'ms/token':>10}")
    for name, cache_bytes in (("in the cells", 0), ("parked", EngineConfig().prefix_cache_bytes)):
        for row in measure(name, cache_bytes, args.idle, args.repeats):
            if args.json:
                print(json.dumps(row))
                continue
            print(f"{row['idle']:16}{row['tokens']:8}{row['cells_used']:8}{row['parked_mb']:11.0f}"
                  f"{row['first_ms']:10.0f}{row['token_ms']:10.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
