"""Which sequence owns which KV cells, and what of a prompt is already computed. Knows tokens, not llama.cpp.

Cells are reused for a prompt only if they were computed for the same key, which names the model's and the
adapter's weights, and for the same tokens from the first on. Sequences that are idle keep their cells until
there are too many of them or somebody needs the room; then the least recently used is parked outside (parking.py),
from where it returns when a prompt begins with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import numpy as np

from proxy.engine.parking import Parked, Parking
from proxy.engine.tokens import common_prefix

WORTH_PARKING = 8
"""Tokens that a parked prefix must save to be worth copying."""


class Memory(Protocol):
    """The KV cells themselves (`llama.Context`)."""

    def remove(self, sequence: int, start: int = 0, end: int = -1) -> bool: ...

    def share(self, source: int, target: int, end: int) -> None: ...

    def clear(self) -> None: ...

    def save(self, sequence: int) -> np.ndarray | None: ...

    def load(self, sequence: int, state: np.ndarray) -> bool: ...


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


@dataclass(frozen=True, slots=True)
class Found:
    """What of a prompt is computed: its first `length` tokens, in the cells of `sequence` or parked, or nowhere."""

    sequence: KvSequence | None
    length: int
    parked: Parked | None = None

    def cells_for(self, claim: int) -> int:
        """Cells to be free, or only idle ones, for a job that will own `claim` of them."""
        if self.sequence is not None and self.sequence.busy:
            return claim - self.length
        return claim


class SequencePool:
    """All sequences of one context. `used` counts cells, a shared cell once. Owned by the engine's thread."""

    def __init__(
        self, memory: Memory, *, cells: int, sequences: int, splits: bool = True, parking: Parking | None = None
    ) -> None:
        """splits: whether the memory can be cut and shared at any token (recurrent models: False)."""
        self._parking = parking or Parking(0)
        self._bytes_per_token = 1.0  # of parked state, as last seen
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

    def find(self, key: Hashable, tokens: list[int], limit: int | None = None) -> Found:
        """What `acquire` would use. limit: most tokens to take from there; None = all but the last."""
        limit = len(tokens) - 1 if limit is None else limit
        sequence, length = self._best(key, tokens, limit)
        worth = length + WORTH_PARKING
        parked, parked_length = self._parking.best(key, tokens, limit, at_least=worth, whole=not self._splits)
        if parked is not None:
            return Found(None, parked_length, parked)
        return Found(sequence, length)

    def acquire(self, key: Hashable, tokens: list[int], limit: int | None = None) -> KvSequence:
        """A busy sequence whose `tokens` are the longest computed prefix of `tokens`.

        At least one sequence must not be busy. limit: see `find`.
        """
        found = self.find(key, tokens, limit)
        taken = self._restore(found.parked, found.length) if found.parked else None
        if taken is None:
            if found.parked is not None:  # it could not be had after all
                found = Found(*self._best(key, tokens, len(tokens) - 1 if limit is None else limit))
            taken = self._continue(found.sequence, found.length)
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
            self._memory.remove(sequence.id)  # also the cells of a step that failed after it was computed

    def make_room(self, cells: int) -> bool:
        """Drops idle sequences, least recently used first, until `cells` are free. False: not possible."""
        if self.free >= cells:
            return True
        if self.free + self.evictable < cells:
            return False
        while self.free < cells:
            idle = (sequence for sequence in self.sequences if not sequence.busy and sequence.tokens)
            self._park(min(idle, key=lambda seq: seq.last_used))
        return True

    def park_idle(self, cells: int) -> None:
        """Parks the least recently used idle sequence if idle ones own more than `cells`: one, to be quick."""
        if self._parking.budget and self.evictable > cells:
            longest = self._parking.budget / self._bytes_per_token
            fitting = [seq for seq in self.sequences if not seq.busy and 0 < len(seq.tokens) <= longest]
            if fitting:
                self._park(min(fitting, key=lambda seq: seq.last_used))

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

    def _continue(self, source: KvSequence | None, length: int) -> KvSequence:
        """A sequence with the first `length` tokens of `source`: itself, or another that shares its cells."""
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
        return taken

    def _restore(self, parked: Parked, length: int) -> KvSequence | None:
        """A sequence with the first `length` parked tokens; None where it cannot be had.

        What lies behind them stays parked, if another conversation may come back to it.
        """
        self._parking.take(parked)  # making room must not push it out
        sequence = None
        if self.make_room(len(parked.tokens)):
            sequence = self._vacate(spare=None)
            if self._memory.load(sequence.id, parked.state):
                source, shared = self._best(parked.key, parked.tokens, length) if self._splits else (None, 0)
                sequence.key = parked.key
                sequence.tokens = parked.tokens[:]
                sequence.runs = [Run(len(parked.tokens))]
                self.used += len(parked.tokens)
                self._cut(sequence, length)
                if source is not None:
                    self._share_beginning(sequence, source, shared)
            else:
                self._memory.remove(sequence.id)
                sequence = None
        if sequence is None or length < len(parked.tokens) - 2:
            self._parking.put(parked)
        return sequence

    def _share_beginning(self, sequence: KvSequence, source: KvSequence, length: int) -> None:
        """Gives up a sequence's own first `length` cells for those of `source`, which hold the same."""
        self._memory.remove(sequence.id, 0, length)
        self._memory.share(source.id, sequence.id, length)
        self.used -= length
        own = len(sequence.tokens) - length
        sequence.runs = self._shared_runs(source, length) + ([Run(own)] if own else [])

    def _park(self, sequence: KvSequence) -> None:
        """Takes an idle sequence out of the cells."""
        if self._parking.budget and len(sequence.tokens) >= WORTH_PARKING:
            state = self._memory.save(sequence.id)
            if state is not None:
                self._bytes_per_token = len(state) / len(sequence.tokens)
                self._parking.put(Parked(sequence.key, sequence.tokens[:], state))
        self._cut(sequence, 0)

    def _best(self, key: Hashable, tokens: list[int], limit: int) -> tuple[KvSequence | None, int]:
        """The sequence with the longest usable prefix of tokens[:limit]; idle ones that end there first."""
        best, length = None, 0
        if limit == 0:
            return best, length
        for sequence in self.sequences:
            if sequence.key != key or not sequence.tokens:
                continue
            common = common_prefix(sequence.tokens, tokens, limit)
            if not self._splits and (sequence.busy or common < len(sequence.tokens)):
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
        if chosen is not spare and chosen.tokens:
            self._park(chosen)
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
