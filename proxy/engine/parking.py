"""Prefixes that left the KV cells for ordinary memory, until a prompt begins with them again.

Idle cells are not free: for every token, attention passes over all cells in use, whoever owns them
(docs/results-serving.md has what that costs). Copying a prefix out and in again is far cheaper than that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from proxy.engine.tokens import common_prefix


@dataclass(eq=False, slots=True)
class Parked:
    """The cells of `tokens` from position 0 on, as llama.cpp wrote them out (uint8)."""

    key: Hashable
    tokens: list[int]
    state: np.ndarray


class Parking:
    """Parked prefixes, the least recently used dropped where they would exceed `budget` bytes. One thread's own."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.size_bytes = 0
        self._parked: list[Parked] = []  # the least recently used first

    def put(self, parked: Parked) -> None:
        """Keeps it if it fits the budget; drops what begins it or must make room for it."""
        if len(parked.state) > self.budget:
            return
        for other in list(self._parked):
            if other.key == parked.key and parked.tokens[: len(other.tokens)] == other.tokens:
                self.take(other)
        self._parked.append(parked)
        self.size_bytes += len(parked.state)
        while self.size_bytes > self.budget:
            self.take(self._parked[0])

    def take(self, parked: Parked) -> None:
        """Removes it."""
        self._parked.remove(parked)
        self.size_bytes -= len(parked.state)

    def best(
        self, key: Hashable, tokens: list[int], limit: int, *, at_least: int = 1, whole: bool = False
    ) -> tuple[Parked | None, int]:
        """The longest beginning of tokens[:limit], and its length; whole: only one that is used to its end."""
        best, length = None, at_least - 1
        for parked in self._parked:
            if limit <= length:
                break
            # Most share a template's first tokens at best: one comparison turns them down.
            if len(parked.tokens) <= length or parked.tokens[length] != tokens[length] or parked.key != key:
                continue
            common = common_prefix(parked.tokens, tokens, limit)
            if common > length and not (whole and common < len(parked.tokens)):
                best, length = parked, common
        return best, length if best else 0

    def forget(self, is_gone: Callable[[Hashable], bool]) -> None:
        """Drops what belongs to keys that no longer exist."""
        for parked in list(self._parked):
            if is_gone(parked.key):
                self.take(parked)
