"""Which sequence owns which KV cells, and what of a prompt is already computed. Knows tokens, not llama.cpp.

Cells are reused for a prompt only if they were computed for the same key, which names the model's and the
adapter's weights, and for the same tokens from the first on. Sequences that are idle keep their cells until
somebody needs the room; the least recently used goes first.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

SHARE_AT_LEAST = 8
"""Tokens of common prefix below which sharing cells is not worth taking up a further sequence."""


class Memory(Protocol):
    """The KV cells themselves (`llama.Context`)."""

    def remove(self, sequence: int, start: int = 0) -> bool: ...

    def share(self, source: int, target: int, end: int) -> None: ...

    def clear(self) -> None: ...


@dataclass(eq=False, slots=True)
class Run:
    """Neighbouring cells with the same owners."""

    length: int
    owners: int = 1


@dataclass(eq=False, slots=True)
class KvSequence:
    """One llama.cpp sequence: `tokens` are those whose cells it owns, in order from position 0."""

    id: int
    key: Hashable = None
    tokens: list[int] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    busy: bool = False
    last_used: int = 0


class SequencePool:
    """All sequences of one context. `used` counts cells, a shared cell once. Owned by the engine's thread."""

    def __init__(self, memory: Memory, *, cells: int, sequences: int, splits: bool = True) -> None:
        """splits: whether the memory can be cut and shared at any token (recurrent models: False)."""
        self._memory = memory
        self._splits = splits
        self._clock = count(1)
        self.cells = cells
        self.used = 0
        self.sequences = [KvSequence(number) for number in range(sequences)]

    @property
    def free(self) -> int:
        return self.cells - self.used

    @property
    def evictable(self) -> int:
        """Cells that no busy sequence owns: what dropping all idle sequences would free."""
        needed = {id(run): run.length for seq in self.sequences if seq.busy for run in seq.runs}
        return self.used - sum(needed.values())

    def cached(self, key: Hashable, tokens: list[int], limit: int | None = None) -> int:
        """How many leading tokens `acquire` would find computed; the last one is always computed anew."""
        return self._best(key, tokens, limit)[1]

    def acquire(self, key: Hashable, tokens: list[int], limit: int | None = None) -> KvSequence:
        """A busy sequence whose `tokens` are the longest computed prefix of `tokens`.

        At least one sequence must not be busy. limit: most tokens to take from there; None = all but the last.
        """
        source, length = self._best(key, tokens, limit)
        if source is not None and self._continues(source, length):
            taken = source
            self._cut(taken, length)
        else:
            taken = self._vacate(spare=source)
            if source is not None and taken is not source:
                self._memory.share(source.id, taken.id, length)
                taken.runs = self._shared_runs(source, length)
                taken.tokens = source.tokens[:length]
            elif source is not None:
                self._cut(taken, length)
        taken.key = key
        taken.busy = True
        return taken

    def append(self, sequence: KvSequence, tokens: Sequence[int]) -> None:
        """Records that cells for `tokens` were computed at the end of the sequence."""
        sequence.tokens.extend(tokens)
        self.used += len(tokens)
        if sequence.runs and sequence.runs[-1].owners == 1:
            sequence.runs[-1].length += len(tokens)
        elif tokens:
            sequence.runs.append(Run(len(tokens)))

    def release(self, sequence: KvSequence, *, keep: bool) -> None:
        """Makes a sequence idle; keep: its cells stay for later prompts until the room is needed."""
        sequence.busy = False
        sequence.last_used = next(self._clock)
        if not keep:
            self._cut(sequence, 0)

    def make_room(self, cells: int) -> bool:
        """Drops idle sequences, least recently used first, until `cells` are free. False: not possible."""
        if self.free >= cells:
            return True
        if self.free + self.evictable < cells:
            return False
        for sequence in sorted(self.sequences, key=lambda seq: seq.last_used):
            if not sequence.busy and sequence.tokens:
                self._cut(sequence, 0)
                if self.free >= cells:
                    return True
        raise AssertionError(f"{self.used} of {self.cells} cells are used by nobody")

    def drop_idle(self) -> None:
        """Frees every cell that no busy sequence owns."""
        for sequence in self.sequences:
            if not sequence.busy and sequence.tokens:
                self._cut(sequence, 0)

    def reset(self) -> None:
        """Forgets everything, also what busy sequences own."""
        self._memory.clear()
        self.used = 0
        for number in range(len(self.sequences)):
            self.sequences[number] = KvSequence(number)

    def _best(self, key: Hashable, tokens: list[int], limit: int | None) -> tuple[KvSequence | None, int]:
        """The sequence with the longest usable prefix of tokens[:limit]; idle ones that end there first."""
        best, length = None, 0
        limit = len(tokens) - 1 if limit is None else limit
        if limit == 0:
            return best, length
        for sequence in self.sequences:
            if sequence.key != key or not sequence.tokens:
                continue
            common = common_prefix(sequence.tokens, tokens, limit)
            if not self._splits and (sequence.busy or common < len(sequence.tokens)):
                continue
            if common < SHARE_AT_LEAST and (sequence.busy or common < len(sequence.tokens)):
                continue
            better = common == length and best is not None and self._continues(sequence, common)
            if common > length or better:
                best, length = sequence, common
        return best, length

    @staticmethod
    def _continues(sequence: KvSequence, length: int) -> bool:
        """Whether a prompt that shares `length` tokens goes on where this idle sequence ends.

        Then the sequence itself is taken; otherwise another conversation may still come back to its tail. The
        last token of an answer is often cut off and spelled anew by the next turn, hence the two.
        """
        return not sequence.busy and length >= len(sequence.tokens) - 2

    def _vacate(self, *, spare: KvSequence | None) -> KvSequence:
        """An idle sequence with no cells: an empty one, or the least recently used other than `spare`."""
        idle = [sequence for sequence in self.sequences if not sequence.busy]
        chosen = min(idle, key=lambda seq: (seq is spare, bool(seq.tokens), seq.last_used))
        if chosen is not spare:
            self._cut(chosen, 0)
        return chosen

    def _cut(self, sequence: KvSequence, length: int) -> None:
        """Gives up the cells from position `length` on."""
        if length >= len(sequence.tokens):
            return
        kept = self._split(sequence, length)
        for run in sequence.runs[kept:]:
            run.owners -= 1
            if run.owners == 0:
                self.used -= run.length
        del sequence.runs[kept:]
        del sequence.tokens[length:]
        if not self._memory.remove(sequence.id, length):
            raise AssertionError(f"sequence {sequence.id} could not be cut at {length}")
        if not sequence.tokens:
            sequence.key = None

    def _shared_runs(self, source: KvSequence, length: int) -> list[Run]:
        runs = source.runs[: self._split(source, length)]
        for run in runs:
            run.owners += 1
        return runs

    def _split(self, sequence: KvSequence, length: int) -> int:
        """Puts a border between runs at `length`; returns how many runs lie before it."""
        start = 0
        for index, run in enumerate(sequence.runs):
            if start == length:
                return index
            if start + run.length > length:
                tail = Run(start + run.length - length, run.owners)
                run.length = length - start
                for owner in self.sequences:
                    if run in owner.runs:
                        owner.runs.insert(owner.runs.index(run) + 1, tail)
                return index + 1
            start += run.length
        return len(sequence.runs)


def common_prefix(first: list[int], second: list[int], limit: int) -> int:
    """Length of the common prefix, at most `limit`. Compares slices, so that the work is done in C."""
    limit = min(limit, len(first), len(second))
    start, step = 0, 16
    while start < limit:
        end = min(start + step, limit)
        if first[start:end] == second[start:end]:
            start, step = end, step * 2
        elif end - start == 1:
            break
        else:
            step = max(1, (end - start) // 2)
            limit = end - 1 if first[end - 1] != second[end - 1] else limit
    return start
