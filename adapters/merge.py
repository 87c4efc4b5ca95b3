"""Merging an adapter into a quantised GGUF file: delta W added to the dequantised target tensors.

One tensor at a time (adapters/tensor_merge.py); all other bytes are copied inside the kernel. Every tensor's gain is
measured on what was stored, and a build that lost the adapter is refused.
"""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
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
from adapters.lora import LoraAdapter, LoraDelta, is_zero, to_float
from adapters.tensor_merge import MIN_GAIN, STORES, Sums, Target, TensorMerger, candidates

COPY_BYTES = 1 << 24
"""Unchanged bytes are copied in pieces of this size, so that every thread has a share."""

WRITEBACK_BYTES = 1 << 23
"""The disk begins to write as soon as that many bytes are there; to wait for all at the end took as long as a third
of the merge."""

VERSION = "0.1.0"
"""Of this tool, as pyproject.toml has it, for the metadata of the files it makes."""

QUANTISATION_VERSION = {"general.quantization_version": 2}
"""GGML_QNT_VERSION of ggml.h."""

Verify = Callable[[Path], Probe]
"""Runs the finished, not yet published file against the attached adapter. Raises BuildRefused."""


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
        threads = threads or cores()
        file.reserve(planned := planned_bytes(base, adapter, store))
        writer = _Writer(base, sources, file, store, threads)
        try:
            metadata = _metadata(base, digest, store, parents, None)
            tensors, slots = writer.run(adapter, changed, metadata, progress)
            seconds = time.perf_counter() - started
            _refuse_below(MIN_GAIN, tensors, store)
            probe = verify(file.path) if verify else None
            if probe:
                added = _metadata(base, digest, store, parents, probe)
                file.write(header_bytes(base.model.header, base.model.path, slots, added, SPLIT_KEYS), 0)
            started = time.perf_counter()
            file.publish()
            seconds += time.perf_counter() - started
        except EOFError as exc:
            raise BaseModelCorrupt(f"the base model was changed while it was read: {exc}") from exc
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


class _Writer:
    """One merge in progress: which tensor goes where in the new file."""

    def __init__(
        self, base: BaseFiles, sources: Mapping[Path, int], file: PartialFile, store: str, threads: int
    ) -> None:
        self.base, self.sources, self.file, self.store, self.threads = base, sources, file, store, threads

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
        end = written = 0
        helpers = self.threads - 1  # beside this thread; with none, the pool's one still copies
        pool = ThreadPoolExecutor(max(helpers, 1), thread_name_prefix="merge")
        merger = TensorMerger(self.file, self.store, pool, helpers)
        try:
            copies: list[Future[None]] = []
            for done, info in enumerate(infos.values()):
                module_path = changed.get(info.name)
                if module_path is None:
                    slot = _slot(info, ggml.type_by_name(info.type.lower()), end)
                    copies += self._copy(pool, info, start + end)
                else:
                    target = self._target(module_path, adapter.deltas[module_path])
                    kind, sums = merger.change(target, start + end)
                    slot = _slot(info, kind, end)
                    gains.append(_tensor_gain(target, slot, sums))
                slots.append(slot)
                end = slot.end(header.alignment)
                if end - written >= WRITEBACK_BYTES:
                    pool.submit(self.file.start_writeback, start + written, end - written)
                    written = end
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
            yield pool.submit(self._copy_piece, source, info.offset + done, at + done, size)

    def _copy_piece(self, source: int, source_offset: int, at: int, size: int) -> None:
        copy_range(source, self.file.fd, source_offset, at, size)
        if size >= WRITEBACK_BYTES:
            self.file.start_writeback(at, size)

    def _target(self, path: str, delta: LoraDelta) -> Target:
        info = self.base.model.tensor(path)
        b = np.ascontiguousarray(self.base.model.rows_to_gguf(path, to_float(delta.b) * delta.scaling))
        a = np.ascontiguousarray(to_float(delta.a))
        return Target(info, self.sources[self.base.file_of[info.name]], ggml.type_by_name(info.type.lower()), a, b)


def _opened(path: Path, stack: ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY)
    stack.callback(os.close, fd)
    return fd


def _changed(base: BaseFiles, adapter: LoraAdapter) -> dict[str, str]:
    """Module path by tensor name. A delta of zeros changes nothing: its tensor stays byte for byte."""
    return {
        base.model.tensor(path).name: path
        for path, delta in adapter.deltas.items()
        if delta.scaling and not is_zero(delta.a) and not is_zero(delta.b)
    }


def _slot(info: TensorInfo, kind: GgmlType, offset: int) -> Slot:
    return Slot(info.name, info.shape, kind, offset)


def _tensor_gain(target: Target, slot: Slot, sums: Sums) -> TensorGain:
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


def cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _refuse_below(bound: float, tensors: Sequence[TensorGain], store: str) -> None:
    lost = [tensor for tensor in tensors if not tensor.gain >= bound]  # a NaN is lost too
    if not lost:
        return
    worst = min(lost, key=lambda tensor: tensor.gain)
    raise BuildRefused(
        f"{len(lost)} of {len(tensors)} changed tensors keep less than {bound:.0%} of the adapter; the worst,"
        f" {worst.name}, keeps {worst.gain:.1%} as {worst.type_after} (|dW|/|W| = {worst.delta_ratio:.3%}). "
        + ("Store it wider: auto or f16." if store == "same" else "Values of the adapter are not finite."),
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
