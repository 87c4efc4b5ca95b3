"""Run by test_crash.py as a process of its own: kills forks of itself with SIGKILL while they use the cache.

Prints one JSON line per kill: what the cache looked like when it was opened again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np

from adapters.cache import AdapterCache
from adapters.cache_key import cache_key
from adapters.gguf_file import BaseModel, read_gguf
from adapters.peft_file import read_peft
from adapters.store import Store
from tests.adapters.tiny import make_adapter, make_card, write_base

DIM = 4
TRACED = tuple(f"{os.sep}adapters{os.sep}{name}.py" for name in ("cache", "store", "rows", "index"))


def open_cache(folder: Path, max_bytes: int) -> AdapterCache:
    return AdapterCache(folder / "cache.db", folder / "cache.usearch", Store(folder / "store"), DIM, max_bytes)


def store(cache: AdapterCache, base: BaseModel, hint: str, seed: int) -> str:
    embedding = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    key = cache_key(hint, "me", {})
    return cache.store(key, embedding, make_adapter(base, seed), make_card(base, hint), base).digest


def session(cache: AdapterCache, base: BaseModel) -> None:
    """Everything that writes: a store that evicts, a hint that gets another adapter, a delete."""
    store(cache, base, "third", 3)
    store(cache, base, "third", 4)
    cache.delete(store(cache, base, "fourth", 5))


class LineCounter:
    """Counts the lines of the traced modules as they are about to run; kills this process at one of them."""

    def __init__(self, kill_at: int | None):
        self.kill_at, self.count = kill_at, 0

    def __call__(self, frame: FrameType, event: str, _: object) -> LineCounter | None:
        if not frame.f_code.co_filename.endswith(TRACED):
            return None
        if event == "line":
            self.count += 1
            if self.count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self

    def run(self, work: Callable[[], None]) -> None:
        threading.settrace(self)
        sys.settrace(self)
        try:
            work()
        finally:
            sys.settrace(None)
            threading.settrace(None)


def _never() -> np.ndarray:
    raise AssertionError("the embedding was asked for")


def _any(_: str, __: str) -> bool:
    return True


def forked(work: Callable[[], None]) -> int:
    """Run in a fork that ends with it; returns the fork's id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def report(folder: Path, base: BaseModel, max_bytes: int, **about: object) -> None:
    """Open what a kill left, look at every row's files, rebuild, and use it again."""
    cache = open_cache(folder, max_bytes)
    found = cache.check()
    unreadable = []
    for row in cache.adapters():
        if row.digest in found.damaged:
            continue
        stored = cache.get(row.digest)
        if read_peft(stored.folder, base.digest).digest != row.digest:
            unreadable.append(row.digest)
        read_gguf(stored.gguf_path, base)
    cache.rebuild()
    repaired = cache.check().ok
    store(cache, base, "third", 3)
    line = {
        "damaged": found.damaged,
        "unreadable": unreadable,
        "inconsistent": not found.ok,
        "repaired": repaired,
        "usable": cache.check().ok and cache.lookup(cache_key("third", "me", {}), _never, 0.9, _any) is not None,
    }
    cache.close()
    print(json.dumps(about | line), flush=True)


def kill_at_lines(work: Path, base: BaseModel, points: int) -> None:
    """Kill one fork at each of `points` lines, spread over all that `session` runs."""
    start, probe = work / "start", work / "probe"
    cache = open_cache(start, 10**9)
    store(cache, base, "first", 1)
    store(cache, base, "second", 2)
    budget = cache.stats().size_bytes + 100
    cache.close()
    shutil.copytree(start, probe)
    cache, counter = open_cache(probe, budget), LineCounter(None)
    counter.run(lambda: session(cache, base))
    cache.close()
    for i in range(points):
        line = 1 + i * counter.count // points
        folder = work / f"line{line}"
        shutil.copytree(start, folder)

        def killed(folder: Path = folder, line: int = line) -> None:
            cache = open_cache(folder, budget)
            LineCounter(line).run(lambda: session(cache, base))

        _, status = os.waitpid(forked(killed), 0)
        report(folder, base, budget, line=line, lines=counter.count, killed=os.WIFSIGNALED(status))
        shutil.rmtree(folder)


def kill_at_times(work: Path, base: BaseModel, rounds: int, seed: int) -> None:
    """Kill forks that store and evict in a loop, after random delays; the folder stays the same."""
    chance = random.Random(seed)
    folder, budget = work / "times", 40_000

    def endless(round: int) -> None:
        cache = open_cache(folder, budget)
        for i in range(10_000):
            store(cache, base, f"hint {i % 7}", 100 * round + i)

    for round in range(rounds):
        child = forked(lambda round=round: endless(round))
        time.sleep(chance.uniform(0.02, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        report(folder, base, budget, round=round, killed=True)


if __name__ == "__main__":
    mode, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    model = write_base(folder / "base.gguf")
    if mode == "lines":
        kill_at_lines(folder, model, count)
    else:
        kill_at_times(folder, model, count, seed=0)
