"""Merging an adapter into a quantised GGUF file: delta W added to the dequantised target tensors.

One tensor at a time, in chunks of rows, so memory depends neither on the model's size nor on a tensor's; all
other bytes are copied inside the kernel. Every tensor's gain is measured on what was stored, and a build that
lost the adapter is refused. Files are read with pread rather than mapped: mapped pages would count as this
process's memory.
"""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from adapters import ggml
from adapters.base_files import SPLIT_KEYS, BaseFiles
from adapters.build_report import MergeReport, Probe, TensorGain, table
from adapters.errors import BaseModelCorrupt, BuildRefused, DiskFull
from adapters.ggml import GgmlType
from adapters.gguf_io import TensorInfo
from adapters.gguf_rewrite import PartialFile, Slot, Value, copy_range, header_bytes
from adapters.lora import LoraAdapter, LoraDelta

STORES = ("q8_0", "same", "f16", "auto")
"""How changed tensors are stored: Q8_0; in their own type; F16; or each in the smallest type that keeps it.
A tensor whose own type is wider than Q8_0 or F16 keeps its own, and one whose change Q8_0 or F16 would lose
takes the next wider type: a few tensors with outliers are no reason to refuse a build."""

MIN_GAIN = 0.9
"""A build with a tensor below this is refused (DESIGN 5.6)."""

AUTO_GAIN, AUTO_COSINE = 0.95, 0.5
"""What `auto` asks of a type. The gain alone would let tiny changes pass by chance: where rounding noise is
many times the change, its projection on the change is any number."""

LADDERS = {"q8_0": ("q8_0", "f16", "f32"), "f16": ("f16", "f32"), "auto": ("q6_k", "q8_0", "f16", "f32")}
"""Types tried in turn; `auto` begins with a tensor's own. Narrower ones than its own would pass too: putting
every weight on a coarse new grid keeps the change on average and buries it in noise
(docs/results-builds.md)."""

CHUNK_ELEMENTS = 1 << 17
"""Weights worked on at once by one thread: its buffers (2 MiB) stay in the processor's cache."""

COPY_BYTES = 1 << 24
"""Unchanged bytes are copied in pieces of this size, so that every thread has a share."""

SAMPLE_CHUNKS = 4
"""`auto` looks at this many chunks, evenly spread, before it stores a whole tensor in a type."""

VERSION = "0.1.0"
"""Of this tool, as pyproject.toml has it, for the metadata of the files it makes."""

QUANTISATION_VERSION = {"general.quantization_version": 2}
"""GGML_QNT_VERSION of ggml.h."""

Verify = Callable[[Path], Probe]
"""Runs the finished, not yet published file against the attached adapter. Raises BuildRefused."""


@dataclass(slots=True)
class _Sums:
    """Inner products over the chunks of one tensor: E = stored - W; noise = E - dW."""

    e_d: float = 0.0
    d_d: float = 0.0
    e_e: float = 0.0
    w_w: float = 0.0

    def add(self, other: _Sums) -> None:
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


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """One tensor to change. a: (rank, columns); b: (rows, rank), the file's row order, scaling folded in."""

    info: TensorInfo
    source: int
    kind: GgmlType
    a: np.ndarray
    b: np.ndarray

    def chunks(self) -> list[slice]:
        rows = max(1, CHUNK_ELEMENTS // self.info.shape[1])
        return [slice(at, min(at + rows, self.info.shape[0])) for at in range(0, self.info.shape[0], rows)]


def merge(
    base: BaseFiles,
    adapter: LoraAdapter,
    out: Path,
    *,
    store: str = "q8_0",
    digest: str | None = None,
    parents: Mapping[str, float] | None = None,
    verify: Verify | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MergeReport:
    """Write base plus adapter to `out`, atomically, and tell what each changed tensor kept.

    digest: the adapter's name where it was stored, which may have folded its scalings into its tensors since;
    None = of the adapter as given. parents: weights of the adapters it was composed of. verify: called with
    the finished file before it gets its name. progress: called with (tensors done, tensors).
    Raises AdapterMismatch, BuildRefused, BuildBusy, DiskFull, BaseModelCorrupt; then nothing is left behind
    and a file already at `out` is as it was.
    """
    if store not in STORES:
        raise ValueError(f"store is {store!r}, want one of {', '.join(STORES)}")
    base.model.check(adapter)
    started = time.perf_counter()
    digest = digest or adapter.digest
    parents = parents or {digest: 1.0}
    with ExitStack() as stack:
        sources = {path: _opened(path, stack) for path in dict.fromkeys(base.file_of.values())}
        changed = _changed(base, adapter)
        if not changed:
            raise BuildRefused(f"adapter {digest} changes nothing: every delta is zero")
        file = stack.enter_context(PartialFile(out))
        stack.enter_context(threadpool_limits(limits=1, user_api="blas"))  # we bring the threads
        threads = threads or len(os.sched_getaffinity(0))
        file.reserve(planned := planned_bytes(base, adapter, store))
        work = _Work(base, sources, file, store, threads)
        try:
            metadata = _metadata(base, digest, store, parents, None)
            tensors, slots = work.run(adapter, changed, metadata, progress)
            seconds = time.perf_counter() - started
            _refuse_below(MIN_GAIN, tensors, store)
            probe = verify(file.path) if verify else None
            if probe:
                added = _metadata(base, digest, store, parents, probe)
                file.write(header_bytes(base.model.header, base.model.path, slots, added, SPLIT_KEYS), 0)
            started = time.perf_counter()
            file.publish()
            seconds += time.perf_counter() - started
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DiskFull(out, planned, shutil.disk_usage(out.parent).free) from exc
            raise
    size, own = out.stat().st_size, base.model.digest
    return MergeReport(out, size, seconds, digest, own, parents, store, tensors, probe)


def planned_bytes(base: BaseFiles, adapter: LoraAdapter, store: str) -> int:
    """Size of the build if every changed tensor gets the first type tried: no less, seldom much more."""
    changed = {base.model.tensor(path).name for path in adapter.deltas}
    total = base.model.header.data_offset
    for name, info in base.model.tensors.items():
        kind = ggml.type_by_name(info.type.lower())
        if name in changed:
            kind = candidates(store, kind, info.shape[-1])[0]
        total += _slot(info, kind, 0).size_bytes
    return total


class _Work:
    """One merge in progress: the threads, and where in the new file the next tensor goes.

    The pool's threads compute chunks and write them; each has buffers of its own. This thread alone decides.
    """

    def __init__(
        self,
        base: BaseFiles,
        sources: Mapping[Path, int],
        file: PartialFile,
        store: str,
        threads: int,
    ) -> None:
        self.base, self.sources, self.file, self.store = base, sources, file, store
        self.threads = threads
        self.local = threading.local()

    def run(
        self,
        adapter: LoraAdapter,
        changed: Mapping[str, str],
        added: Mapping[str, Value],
        progress: Callable[[int, int], None] | None,
    ) -> tuple[tuple[TensorGain, ...], list[Slot]]:
        """Write the whole file, the header with its magic last: until then nothing can load it."""
        header, path = self.base.model.header, self.base.model.path
        infos = self.base.model.tensors
        blank = [_slot(info, ggml.type_by_name(info.type.lower()), 0) for info in infos.values()]
        start = len(header_bytes(header, path, blank, added, SPLIT_KEYS))
        slots: list[Slot] = []
        gains: list[TensorGain] = []
        end = 0
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="merge")
        try:
            copies: list[Future[None]] = []
            for done, info in enumerate(infos.values()):
                module_path = changed.get(info.name)
                if module_path is None:
                    slot = _slot(info, ggml.type_by_name(info.type.lower()), end)
                    copies += self._copy(pool, info, start + end)
                else:
                    target = _target(self.base, module_path, adapter.deltas[module_path], self.sources)
                    slot, sums = self._change(pool, target, start, end)
                    gains.append(_tensor_gain(target, slot, sums))
                slots.append(slot)
                end = slot.end(header.alignment)
                if progress:
                    progress(done + 1, len(infos))
            for copy in copies:
                copy.result()
        finally:
            pool.shutdown(cancel_futures=True)
        os.ftruncate(self.file.fd, start + end)  # the padding after the last tensor
        self.file.write(header_bytes(header, path, slots, added, SPLIT_KEYS), 0)
        return tuple(gains), slots

    def _copy(self, pool: ThreadPoolExecutor, info: TensorInfo, at: int) -> Iterator[Future[None]]:
        source = self.sources[self.base.file_of[info.name]]
        for done in range(0, info.size_bytes, COPY_BYTES):
            size = min(COPY_BYTES, info.size_bytes - done)
            yield pool.submit(copy_range, source, self.file.fd, info.offset + done, at + done, size)

    def _change(self, pool: ThreadPoolExecutor, target: _Target, start: int, end: int) -> tuple[Slot, _Sums]:
        """Store one changed tensor at `end`, in the first candidate type that keeps it, or else the last."""
        *tries, last = candidates(self.store, target.kind, target.info.shape[1])
        chunks = target.chunks()
        for kind in tries:
            if self.store == "auto":  # most tries fail, and the K types are slow to write
                sample = chunks[:: max(1, len(chunks) // SAMPLE_CHUNKS)]
                if not self._keeps(self._sums(pool, target, kind, sample, None)):
                    continue
            sums = self._sums(pool, target, kind, chunks, start + end)
            if self._keeps(sums):
                return _slot(target.info, kind, end), sums
        return _slot(target.info, last, end), self._sums(pool, target, last, chunks, start + end)

    def _keeps(self, sums: _Sums) -> bool:
        if self.store == "auto":
            return sums.gain >= AUTO_GAIN and sums.cosine >= AUTO_COSINE
        return sums.gain >= MIN_GAIN

    def _sums(
        self,
        pool: ThreadPoolExecutor,
        target: _Target,
        kind: GgmlType,
        chunks: Sequence[slice],
        at: int | None,
    ) -> _Sums:
        """Merge these rows in one type; write them to a tensor that begins at byte `at`, if given."""
        total = _Sums()
        for sums in pool.map(lambda rows: self._chunk(target, kind, rows, at), chunks):
            total.add(sums)
        return total

    def _chunk(self, target: _Target, kind: GgmlType, rows: slice, at: int | None) -> _Sums:
        columns = target.info.shape[1]
        count = rows.stop - rows.start
        before, after = target.kind.row_bytes(columns), kind.row_bytes(columns)
        buffers = self._buffers(count * columns, count * max(before, after))
        weight, delta, merged = (buffer[: count * columns].reshape(count, columns) for buffer in buffers[:3])
        raw = buffers[3][: count * before]
        if os.preadv(target.source, [raw], target.info.offset + rows.start * before) != raw.size:
            raise BaseModelCorrupt(f"the base model ends inside {target.info.name}: was it replaced?")
        ggml.dequantize(raw, target.kind, weight)
        np.matmul(target.b[rows], target.a, out=delta)
        np.add(weight, delta, out=merged)
        raw = buffers[3][: count * after]
        ggml.quantize(merged, kind, raw)
        if at is not None:
            self.file.write(raw, at + rows.start * after)
        ggml.dequantize(raw, kind, merged)
        np.subtract(merged, weight, out=merged)
        return _Sums(_dot(merged, delta), _dot(delta, delta), _dot(merged, merged), _dot(weight, weight))

    def _buffers(self, elements: int, size_bytes: int) -> tuple[np.ndarray, ...]:
        """This thread's three float32 buffers and one of bytes, at least that large."""
        have = getattr(self.local, "buffers", None)
        if have is None or have[0].size < elements or have[3].size < size_bytes:
            have = (*(np.empty(elements, np.float32) for _ in range(3)), np.empty(size_bytes, np.uint8))
            self.local.buffers = have
        return have


def _opened(path: Path, stack: ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY)
    stack.callback(os.close, fd)
    return fd


def _changed(base: BaseFiles, adapter: LoraAdapter) -> dict[str, str]:
    """Module path by tensor name. A delta of zeros changes nothing: its tensor stays byte for byte."""
    return {
        base.model.tensor(path).name: path
        for path, delta in adapter.deltas.items()
        if delta.scaling and delta.a.any() and delta.b.any()
    }


def _target(base: BaseFiles, path: str, delta: LoraDelta, sources: Mapping[Path, int]) -> _Target:
    info = base.model.tensor(path)
    b = base.model.rows_to_gguf(path, delta.b.float() * delta.scaling).contiguous().numpy()
    a = delta.a.float().contiguous().numpy()
    return _Target(info, sources[base.file_of[info.name]], ggml.type_by_name(info.type.lower()), a, b)


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


def _slot(info: TensorInfo, kind: GgmlType, offset: int) -> Slot:
    return Slot(info.name, info.shape, kind, offset)


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a.reshape(-1), b.reshape(-1)))


def _tensor_gain(target: _Target, slot: Slot, sums: _Sums) -> TensorGain:
    match = re.fullmatch(r"blk\.(\d+)\.(.+)\.weight", slot.name)
    weight = math.sqrt(sums.w_w) or math.nan
    return TensorGain(
        name=slot.name,
        layer=int(match[1]),
        module=match[2],
        type_before=target.kind.name,
        type_after=slot.kind.name,
        bytes_before=target.info.size_bytes,
        bytes_after=slot.size_bytes,
        gain=sums.gain,
        cosine=sums.cosine,
        delta_ratio=math.sqrt(sums.d_d) / weight,
        noise_ratio=sums.noise / weight,
    )


def _refuse_below(bound: float, tensors: Sequence[TensorGain], store: str) -> None:
    lost = [tensor for tensor in tensors if not tensor.gain >= bound]  # a NaN is lost too
    if not lost:
        return
    worst = min(lost, key=lambda tensor: tensor.gain)
    raise BuildRefused(
        f"{len(lost)} of {len(tensors)} changed tensors keep less than {bound:.0%} of the adapter; the worst,"
        f" {worst.name}, keeps {worst.gain:.1%} as {worst.type_after} (|dW|/|W| = {worst.delta_ratio:.3%}). "
        + ("Values of the adapter are not finite." if store == "auto" else "Store it wider: auto or f16."),
        table(tensors),
    )


def _metadata(
    base: BaseFiles, digest: str, store: str, parents: Mapping[str, float], probe: Probe | None
) -> dict[str, Value]:
    """What the file says of its making. The probe's numbers have a fixed size: they are filled in later."""
    # absent from files that were never quantised; ours may hold Q8_0 tensors now
    quantised = {} if "general.quantization_version" in base.model.header.metadata else QUANTISATION_VERSION
    return {
        **quantised,
        "et2l.version": VERSION,
        "et2l.adapter.digest": digest,
        "et2l.base.digest": base.model.digest,
        "et2l.parents": list(parents),
        "et2l.weights": [float(weight) for weight in parents.values()],
        "et2l.store": store,
        "et2l.probe.kl": probe.kl if probe else math.nan,
        "et2l.probe.top1": probe.top1 if probe else math.nan,
    }
