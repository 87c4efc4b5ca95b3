"""A GGUF file made from another one: the same metadata and tensors, some of them stored in other types.

Lays out the new file, writes its header, copies byte ranges inside the kernel, and owns the temporary file
the whole is written to. Knows nothing of LoRA.
Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from adapters.errors import BuildBusy, DiskFull
from adapters.ggml import GgmlType
from adapters.gguf_io import MAGIC, GgufHeader

BLOCK_BYTES = 4096
"""File systems that share extents do it in whole blocks of this size."""

_U32, _F32, _STRING, _ARRAY = 4, 6, 8, 9
_PADDING_KEY = "et2l.padding"

Value = str | float | int | Sequence[str] | Sequence[float]
"""A metadata value: string, float32, uint32, or an array of strings or of float32."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a tensor lies in the new file. shape: slowest axis first. offset: from the start of the data."""

    name: str
    shape: tuple[int, ...]
    kind: GgmlType
    offset: int

    @property
    def size_bytes(self) -> int:
        rows = 1
        for length in self.shape[:-1]:
            rows *= length
        return rows * self.kind.row_bytes(self.shape[-1])

    def end(self, alignment: int) -> int:
        """Offset of the tensor that follows."""
        return aligned(self.offset + self.size_bytes, alignment)


def header_bytes(
    old: GgufHeader, path: Path, slots: Sequence[Slot], added: Mapping[str, Value], dropped: Sequence[str]
) -> bytes:
    """The new file's header, up to the first byte of tensor data.

    old, path: the file whose metadata is kept, byte for byte and in order, less `dropped`; `added` follows.
    Its length does not depend on the types and offsets in `slots`. A string of padding moves the tensor data
    to the same place within a file system block as in the old file, so that what keeps its place there can
    share the old file's extents.
    """
    replaced = {*dropped, *added, _PADDING_KEY}
    kept = [span for key, span in old.key_spans.items() if key not in replaced]
    with open(path, "rb") as file:
        values = [os.pread(file.fileno(), end - start, start) for start, end in kept]  # vocabularies: megabytes
    values += [_key_value(key, value) for key, value in added.items()]
    infos = b"".join(_tensor_info(slot) for slot in slots)
    head = MAGIC + struct.pack("<IQQ", old.version, len(slots), len(kept) + len(added) + 1)
    unpadded = len(head) + sum(map(len, values)) + len(_key_value(_PADDING_KEY, "")) + len(infos)
    padding = _key_value(_PADDING_KEY, " " * ((old.data_offset - unpadded) % BLOCK_BYTES))
    return b"".join((head, *values, padding, infos))


def _tensor_info(slot: Slot) -> bytes:
    dims = struct.pack(f"<I{len(slot.shape)}Q", len(slot.shape), *reversed(slot.shape))  # fastest axis first
    return _string(slot.name) + dims + struct.pack("<IQ", slot.kind.id, slot.offset)


def _key_value(key: str, value: Value) -> bytes:
    if isinstance(value, str | float | int):
        kind, data = _scalar(value)
        return _string(key) + struct.pack("<I", kind) + data
    items = [_scalar(item) for item in value]
    kind = items[0][0] if items else _STRING
    data = b"".join(data for _, data in items)
    return _string(key) + struct.pack("<IIQ", _ARRAY, kind, len(items)) + data


def _scalar(value: str | float | int) -> tuple[int, bytes]:
    if isinstance(value, str):
        return _STRING, _string(value)
    return (_F32, struct.pack("<f", value)) if isinstance(value, float) else (_U32, struct.pack("<I", value))


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def copy_range(source: int, target: int, source_offset: int, target_offset: int, size: int) -> None:
    """Copy bytes between two open files without passing them through this process.

    Where both offsets lie equally within a block, file systems that can (btrfs, XFS) share the extents and
    copy nothing. Raises OSError; EOFError if the source is too short.
    """
    shift = (source_offset - target_offset) % BLOCK_BYTES
    while size:
        # up to a block's border first: extents are shared from there on
        piece = min(size, -source_offset % BLOCK_BYTES or size) if shift == 0 else size
        try:
            copied = os.copy_file_range(source, target, piece, source_offset, target_offset)
        except (AttributeError, OSError) as exc:  # not Linux; or two file systems, or one that cannot
            if isinstance(exc, OSError) and exc.errno not in _CANNOT_COPY:
                raise
            copied = os.pwrite(target, os.pread(source, min(piece, 1 << 20), source_offset), target_offset)
        if not copied:
            raise EOFError(f"the file ends at byte {source_offset}, {size} bytes early")
        source_offset, target_offset, size = source_offset + copied, target_offset + copied, size - copied


_SYNC_FILE_RANGE_WRITE = 2  # fcntl.h of Linux: start writing, wait for nothing

_CANNOT_COPY = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class PartialFile:
    """The temporary file a build is written to: `<name>.partial` beside its place, locked, then renamed.

    Left without `publish`, by an error or Ctrl-C, it removes the file. A killed process leaves one, whose
    lock the system releases; the next run of the same build takes it over, or `Builds.make_room` removes it.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".partial")
        self.fd = _open_locked(self.path)
        self._published = False

    def reserve(self, size_bytes: int) -> None:
        """Raise DiskFull unless the file system has room for that many bytes."""
        free = shutil.disk_usage(self.path.parent).free
        if free < size_bytes:
            raise DiskFull(self.target, size_bytes, free)

    def write(self, data: bytes | memoryview, offset: int) -> None:
        view = memoryview(data).cast("B")
        while view:
            written = os.pwrite(self.fd, view, offset)
            view, offset = view[written:], offset + written

    def start_writeback(self, offset: int, size: int) -> None:
        """Have the system begin to write these bytes to the disk, so that `publish` has less to wait for. Linux only;
        elsewhere, and where the file system cannot, `publish` writes them all.
        """
        if hasattr(_libc(), "sync_file_range"):
            _libc().sync_file_range(self.fd, offset, size, _SYNC_FILE_RANGE_WRITE)

    def publish(self) -> None:
        """Put the file in its place, on the disk: a power cut later cannot leave half of it there."""
        os.fsync(self.fd)
        self.path.replace(self.target)
        self._published = True
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._published:
            self.path.unlink(missing_ok=True)
        os.close(self.fd)


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    if hasattr(library, "sync_file_range"):
        library.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return library


def _open_locked(path: Path) -> int:
    """Open for writing, empty, under an exclusive lock. Raises BuildBusy."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == _inode(path):
                os.ftruncate(fd, 0)
                return fd
        except BlockingIOError:
            os.close(fd)
            raise BuildBusy(f"another process is writing {path}") from None
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # its owner renamed or removed it between our open and our lock: it is not ours to empty


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
