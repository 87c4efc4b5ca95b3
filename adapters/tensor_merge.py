"""One tensor of a merge: dequantise, add the change, store it in the first type that keeps it, measure what it kept.

Works in chunks of rows on several threads, so memory depends on neither the tensor's size nor the model's. Files are
read with pread rather than mapped: mapped pages would count as this process's memory.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from adapters import ggml
from adapters.errors import BaseModelCorrupt
from adapters.ggml import GgmlType
from adapters.gguf_io import TensorInfo
from adapters.gguf_rewrite import PartialFile
from adapters.merge_rows import merge_rows

STORES = ("q8_0", "same", "f16", "auto")
"""How changed tensors are stored: Q8_0; in their own type; F16; or each in the smallest type that keeps it.
A tensor whose own type is wider than Q8_0 or F16 keeps its own, and one whose change Q8_0 or F16 would lose
takes the next wider type: a few tensors with outliers are no reason to refuse a build."""

MIN_GAIN = 0.9
"""A build with a tensor below this is refused."""

AUTO_GAIN, AUTO_COSINE = 0.95, 0.5
"""What `auto` asks of a type. The gain alone would let tiny changes pass by chance: where rounding noise is
many times the change, its projection on the change is any number."""

LADDERS = {"q8_0": ("q8_0", "f16", "f32"), "f16": ("f16", "f32"), "auto": ("q6_k", "q8_0", "f16", "f32")}
"""Types tried in turn; `auto` begins with a tensor's own. Narrower ones than its own would pass too: putting
every weight on a coarse new grid keeps the change on average and buries it in noise
(docs/results-builds.md)."""

CHUNK_ELEMENTS, LEAST_ELEMENTS = 1 << 19, 1 << 14
"""About the most and least weights that a thread reads, merges and writes at once. With smaller chunks the threads
would wait longer for each other at the interpreter's lock; without a C compiler they need 6 MiB of buffers."""

SAMPLE_CHUNKS, SAMPLE_ELEMENTS = 4, 1 << 17
"""`auto` looks at this many chunks, evenly spread, before it stores a whole tensor in a type."""


@dataclass(slots=True)
class Sums:
    """Inner products over the chunks of one tensor: E = stored - W; noise = E - dW."""

    e_d: float = 0.0
    d_d: float = 0.0
    e_e: float = 0.0
    w_w: float = 0.0

    def add(self, other: Sums) -> None:
        self.e_d += other.e_d
        self.d_d += other.d_d
        self.e_e += other.e_e
        self.w_w += other.w_w

    @property
    def gain(self) -> float:
        return self.e_d / self.d_d

    @property
    def cosine(self) -> float:
        return self.e_d / math.sqrt(self.e_e * self.d_d) if self.e_e else 0.0

    @property
    def noise(self) -> float:
        return math.sqrt(max(self.e_e - 2 * self.e_d + self.d_d, 0.0))


@dataclass(frozen=True, eq=False)
class Target:
    """One tensor to change.

    source: its file, open. kind: the type it is stored in. a: (rank, columns) and b: (rows, rank), float32, b in
    the file's row order with the scaling folded in.
    """

    info: TensorInfo
    source: int
    kind: GgmlType
    a: np.ndarray
    b: np.ndarray

    def chunks(self, threads: int) -> list[slice]:
        """All rows, in equal parts, as many for each thread: none waits long for the others at a tensor's end."""
        rows, columns = self.info.shape
        rounds = -(-rows * columns // (CHUNK_ELEMENTS * threads))
        return self._split(max(-(-rows // (rounds * threads)), LEAST_ELEMENTS // columns, 1))

    def sample(self) -> list[slice]:
        """A few rows from all over the tensor."""
        chunks = self._split(max(SAMPLE_ELEMENTS // self.info.shape[1], 1))
        return chunks[:: max(1, len(chunks) // SAMPLE_CHUNKS)]

    def _split(self, part: int) -> list[slice]:
        rows = self.info.shape[0]
        return [slice(at, min(at + part, rows)) for at in range(0, rows, part)]


def candidates(store: str, own: GgmlType, columns: int) -> list[GgmlType]:
    """Types to store a changed tensor in, of that own type and row length: the first that keeps the change."""
    if store == "same":
        return [own]
    ladder = [kind for kind in map(ggml.type_by_name, LADDERS[store]) if kind.fits(columns)]
    keep_own = not own.needs_imatrix if store == "auto" else _wide(own) >= _wide(ladder[0])
    first = own if keep_own else ladder[0]
    return [first, *(kind for kind in ladder if _wide(kind) > _wide(first))]


def _wide(kind: GgmlType) -> float:
    """Bytes per weight."""
    return kind.block_bytes / kind.block


class TensorMerger:
    """Changes tensors one after another. The calling thread and `helpers` of the pool's compute and write chunks, each
    in buffers of its own.
    """

    def __init__(self, file: PartialFile, store: str, pool: ThreadPoolExecutor, helpers: int) -> None:
        self.file, self.store, self.pool, self.helpers = file, store, pool, helpers
        self.local = threading.local()

    def change(self, target: Target, at: int) -> tuple[GgmlType, Sums]:
        """Store it from byte `at` on, in the first candidate type that keeps the change, or else the last."""
        *tries, last = candidates(self.store, target.kind, target.info.shape[1])
        chunks = target.chunks(self.helpers + 1)
        for kind in tries:
            # most tries of `auto` fail, and the K types are slow to write
            if self.store == "auto" and not self._keeps(self._sums(target, kind, target.sample(), None)):
                continue
            sums = self._sums(target, kind, chunks, at)
            if self._keeps(sums):
                return kind, sums
        return last, self._sums(target, last, chunks, at)

    def _keeps(self, sums: Sums) -> bool:
        if self.store == "auto":
            return sums.gain >= AUTO_GAIN and sums.cosine >= AUTO_COSINE
        return sums.gain >= MIN_GAIN

    def _sums(self, target: Target, kind: GgmlType, chunks: Sequence[slice], at: int | None) -> Sums:
        """Merge these rows in one type; write them to a tensor that begins at byte `at`, if given.

        Every thread takes one chunk after another by itself: to be woken for each would cost more than its arithmetic.
        """
        found: list[Sums] = [Sums()] * len(chunks)
        waiting = iter(enumerate(chunks))  # shared by the threads: `next` is one step of the interpreter

        def work() -> None:
            for number, rows in waiting:
                found[number] = self._chunk(target, kind, rows, at)

        helping = [self.pool.submit(work) for _ in range(min(self.helpers, len(chunks) - 1))]
        work()
        for helper in helping:
            if not helper.cancel():  # else it was busy until now, and nothing is left to do
                helper.result()
        total = Sums()
        for sums in found:  # in order: the same numbers in every run
            total.add(sums)
        return total

    def _chunk(self, target: Target, kind: GgmlType, rows: slice, at: int | None) -> Sums:
        columns, count = target.info.shape[1], rows.stop - rows.start
        before, after = target.kind.row_bytes(columns), kind.row_bytes(columns)
        source, stored = self._buffers(count * before, count * after)
        if os.preadv(target.source, [source], target.info.offset + rows.start * before) != source.size:
            raise BaseModelCorrupt(f"the base model ends inside {target.info.name}: was it replaced?")
        sums = merge_rows(source, target.kind, target.a, target.b[rows], kind, stored)
        if at is not None:
            self.file.write(stored, at + rows.start * after)
        return Sums(*sums)

    def _buffers(self, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
        """Two of this thread's own, uint8, of these sizes."""
        have = getattr(self.local, "buffers", None)
        if have is None or have[0].size < before or have[1].size < after:
            have = self.local.buffers = np.empty(before, np.uint8), np.empty(after, np.uint8)
        return have[0][:before], have[1][:after]
