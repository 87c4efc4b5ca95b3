"""The GGUF container: reads a file's header, writes a small file. The one door to the `gguf` package.

Knows nothing of LoRA. `gguf.GGUFReader` is not used: it makes Python objects of every vocabulary entry
(seconds on a 150 000 token vocabulary), while a header is read here in some tens of milliseconds.
Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little endian.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

MAGIC = b"GGUF"
VERSIONS = (2, 3)

_SCALARS = {  # GGUF value type -> struct format
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One entry of a GGUF tensor table.

    shape: as torch has it, slowest axis first: (out_features, in_features) of a linear layer.
    type: ggml's name of the storage type, e.g. "Q5_0". offset: first byte, from the file's start.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class GgufHeader:
    """What a GGUF file says about itself.

    metadata: scalars, strings and numeric arrays by key; arrays of strings (vocabularies) are left out.
    key_spans: where each key with its value lies in the file (first byte, end), in the file's order, so that
    metadata, vocabularies included, can be copied verbatim.
    infos_offset: first byte of the tensor table; what lies before it can be copied verbatim.
    data_offset: first byte of tensor data.
    """

    version: int
    metadata: Mapping[str, object]
    key_spans: Mapping[str, tuple[int, int]]
    tensors: Mapping[str, TensorInfo]
    infos_offset: int
    data_offset: int
    alignment: int


class _Cursor:
    """Reads values one after another from the bytes of a file."""

    def __init__(self, data: mmap.mmap):
        self.data = data
        self.at = 0

    def value(self, format: str) -> int | float | bool:
        (value,) = struct.unpack_from(format, self.data, self.at)
        self.at += struct.calcsize(format)
        return value

    def string(self) -> str:
        length = self.value("<Q")
        self._need(length)
        raw = self.data[self.at : self.at + length]
        self.at += length
        return raw.decode("utf-8", errors="replace")

    def skip_strings(self, count: int) -> None:
        data, at, unpack = self.data, self.at, struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + unpack(data, at)[0]
        self.at = at
        self._need(0)

    def array(self) -> list[int | float | bool] | None:
        """A numeric array's values; None for an array of strings, which is skipped."""
        kind, count = self.value("<I"), self.value("<Q")
        if kind == _STRING:
            self.skip_strings(count)
            return None
        if kind not in _SCALARS:
            raise ValueError(f"arrays of value type {kind} are not known")
        format = _SCALARS[kind]
        size = count * struct.calcsize(format)
        self._need(size)
        values = np.frombuffer(self.data, dtype=np.dtype(format), count=count, offset=self.at).tolist()
        self.at += size
        return values

    def _need(self, size: int) -> None:
        if self.at + size > len(self.data):
            raise ValueError(f"ends at byte {len(self.data)}, inside a value that reaches {self.at + size}")


def read_header(path: Path) -> GgufHeader:
    """Read a GGUF file's metadata and tensor table, and check that every tensor lies inside the file.

    Raises ValueError saying what is wrong with the file's content, OSError if it cannot be opened.
    """
    with open(path, "rb") as file:
        if file.read(4) != MAGIC:
            raise ValueError(f"{path} is not a GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _read(_Cursor(data))
            except (struct.error, ValueError, KeyError) as exc:
                raise ValueError(f"{path} is damaged: {exc}") from exc


def _read(cursor: _Cursor) -> GgufHeader:
    cursor.at = len(MAGIC)
    version = cursor.value("<I")
    if version not in VERSIONS:
        raise ValueError(f"GGUF version {version}, want one of {VERSIONS}")
    tensor_count, value_count = cursor.value("<Q"), cursor.value("<Q")
    metadata: dict[str, object] = {}
    key_spans: dict[str, tuple[int, int]] = {}
    for _ in range(value_count):
        start = cursor.at
        key, kind = cursor.string(), cursor.value("<I")
        if kind == _STRING:
            metadata[key] = cursor.string()
        elif kind == _ARRAY:
            values = cursor.array()
            if values is not None:
                metadata[key] = values
        elif kind in _SCALARS:
            metadata[key] = cursor.value(_SCALARS[kind])
        else:
            raise ValueError(f"{key} has the unknown value type {kind}")
        key_spans[key] = (start, cursor.at)
    infos_offset = cursor.at
    entries = [_tensor_entry(cursor) for _ in range(tensor_count)]
    alignment = int(metadata.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT))
    if alignment < 1 or alignment % 8:
        raise ValueError(f"general.alignment is {alignment}, want a multiple of 8")
    data_offset = -(-cursor.at // alignment) * alignment
    tensors = {}
    for name, shape, type, offset in entries:
        block, block_bytes = gguf.GGML_QUANT_SIZES[type]
        if shape[-1] % block:
            raise ValueError(f"{name}: {shape[-1]} values a row, {type.name} has blocks of {block}")
        size = int(np.prod(shape, dtype=object)) // block * block_bytes
        if data_offset + offset + size > len(cursor.data):
            end = data_offset + offset + size
            raise ValueError(f"{name} ends at byte {end}, the file at {len(cursor.data)}: truncated?")
        tensors[name] = TensorInfo(name, shape, type.name, data_offset + offset, size)
    return GgufHeader(version, metadata, key_spans, tensors, infos_offset, data_offset, alignment)


def _tensor_entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], gguf.GGMLQuantizationType, int]:
    name, dims = cursor.string(), cursor.value("<I")
    if not 1 <= dims <= 4:
        raise ValueError(f"{name} has {dims} dimensions")
    shape = tuple(cursor.value("<Q") for _ in range(dims))[::-1]  # the file counts the fastest axis first
    return name, shape, gguf.GGMLQuantizationType(cursor.value("<I")), cursor.value("<Q")


def read_tensor(path: Path, info: TensorInfo) -> np.ndarray:
    """An F16 or F32 tensor's values, in its own shape. Raises ValueError for any other type."""
    dtypes = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
    if info.type not in dtypes:
        raise ValueError(f"{info.name} in {path} is {info.type}: want F16 or F32")
    count = int(np.prod(info.shape))
    return np.fromfile(path, dtypes[info.type], count, offset=info.offset).reshape(info.shape)


def write_file(
    path: Path, architecture: str, metadata: Mapping[str, str | float], tensors: Mapping[str, np.ndarray]
) -> None:
    """Write a GGUF file of float16 and float32 tensors. Strings and floats are the only metadata it takes.

    Not atomic and not synced: the caller owns the folder it writes to.
    """
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_float32(key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
