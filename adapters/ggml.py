"""The door to the ggml library inside llama-cpp-python: tensor types, quantising and dequantising rows.

The shared library is loaded by itself, without importing `llama_cpp` (which takes longer and sets up a
backend). It knows blocks of numbers, not files. Source: ggml/include/ggml.h and ggml-cpu.h of llama.cpp.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from adapters.errors import GgmlUnavailable

_CONVERT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
"""ggml_to_float_t and ggml_from_float_t: (source, destination, number of elements). Releases the GIL."""

_TYPE_COUNT = 42
"""Type numbers looked at: those of the pinned library that GGUF files of today use. The library tells its
own count nowhere and checks no number, so one must not ask past its end."""

_FAST = ("f32", "f16", "q8_0")
"""Types written (and f16 read) by the CPU backend's vectorised routine, 5-20 times faster than the reference one of
ggml_quantize_chunk. Q8_0 differs from the reference in exact ties only; the other types not at all."""


class _Traits(ctypes.Structure):
    """struct ggml_type_traits."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", _CONVERT),
        ("from_float_ref", _CONVERT),
    )


class _CpuTraits(ctypes.Structure):
    """struct ggml_type_traits_cpu."""

    _fields_ = (
        ("from_float", _CONVERT),
        ("vec_dot", ctypes.c_void_p),
        ("vec_dot_type", ctypes.c_int),
        ("nrows", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One storage type of tensor rows, e.g. q5_0: `block` elements take `block_bytes` bytes."""

    id: int
    name: str
    block: int
    block_bytes: int
    needs_imatrix: bool

    def fits(self, columns: int) -> bool:
        """Whether rows of that many elements are whole blocks."""
        return columns % self.block == 0

    def row_bytes(self, columns: int) -> int:
        if not self.fits(columns):
            raise ValueError(f"rows of {columns} elements are not whole blocks of {self.block} ({self.name})")
        return columns // self.block * self.block_bytes


@cache
def _base() -> ctypes.CDLL:
    library = _load("ggml-base")
    library.ggml_get_type_traits.argtypes = [ctypes.c_int]
    library.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
    library.ggml_quantize_requires_imatrix.argtypes = [ctypes.c_int]
    library.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,  # type
        ctypes.c_void_p,  # const float * src
        ctypes.c_void_p,  # void * dst
        ctypes.c_int64,  # start
        ctypes.c_int64,  # nrows
        ctypes.c_int64,  # n_per_row
        ctypes.c_void_p,  # const float * imatrix
    ]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


@cache
def _cpu() -> ctypes.CDLL:
    library = _load("ggml-cpu")
    library.ggml_get_type_traits_cpu.argtypes = [ctypes.c_int]
    library.ggml_get_type_traits_cpu.restype = ctypes.POINTER(_CpuTraits)
    library.ggml_cpu_fp16_to_fp32.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    library.ggml_cpu_fp16_to_fp32.restype = None
    library.ggml_cpu_init()  # fills the tables the CPU routines read
    return library


def _load(name: str) -> ctypes.CDLL:
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise GgmlUnavailable("llama-cpp-python is not installed: run `make setup`")
    folder = Path(spec.submodule_search_locations[0]) / "lib"
    prefix, suffix = {"win32": ("", ".dll"), "darwin": ("lib", ".dylib")}.get(sys.platform, ("lib", ".so"))
    path = folder / f"{prefix}{name}{suffix}"
    try:
        return ctypes.CDLL(str(path))
    except OSError as exc:
        raise GgmlUnavailable(f"cannot load {path.name} of llama-cpp-python: {exc}") from exc


@cache
def types() -> dict[int, GgmlType]:
    """Every type whose rows this library can read back to float32, by its number in GGUF files."""
    readable = {}
    for number in range(_TYPE_COUNT):
        traits = _base().ggml_get_type_traits(number).contents
        if traits.blck_size and (traits.to_float or traits.type_name == b"f32"):
            readable[number] = GgmlType(
                id=number,
                name=traits.type_name.decode().lower(),
                block=traits.blck_size,
                block_bytes=traits.type_size,
                needs_imatrix=_base().ggml_quantize_requires_imatrix(number),
            )
    return readable


def type_by_id(number: int) -> GgmlType:
    try:
        return types()[number]
    except KeyError:
        raise GgmlUnavailable(f"the installed ggml cannot read tensor type {number}") from None


def type_by_name(name: str) -> GgmlType:
    """By ggml's own lower-case name: q8_0, f16, bf16, q6_k, ..."""
    for candidate in types().values():
        if candidate.name == name:
            return candidate
    raise GgmlUnavailable(f"no tensor type {name!r}; there are {', '.join(t.name for t in types().values())}")


def dequantize(blocks: np.ndarray, kind: GgmlType, out: np.ndarray) -> None:
    """Blocks of one type to float32.

    blocks: uint8, contiguous, whole blocks. out: float32, contiguous, as many elements as the blocks hold.
    """
    _check(blocks, np.uint8)
    _check(out, np.float32)
    if blocks.size * kind.block != out.size * kind.block_bytes:
        raise ValueError(f"{blocks.size} bytes of {kind.name} do not hold {out.size} elements")
    if kind.name == "f32":
        out.reshape(-1)[:] = blocks.reshape(-1).view(np.float32)
        return
    _CONVERT(reader(kind))(blocks.ctypes.data, out.ctypes.data, out.size)


def quantize(values: np.ndarray, kind: GgmlType, out: np.ndarray) -> None:
    """Rows to blocks of one type.

    values: (rows, columns) float32, contiguous. out: uint8, contiguous, rows * row_bytes(columns) bytes.
    """
    _check(values, np.float32)
    _check(out, np.uint8)
    rows, columns = values.shape
    if out.size != rows * kind.row_bytes(columns):
        raise ValueError(f"{out.size} bytes do not take {rows} rows of {columns} elements in {kind.name}")
    if convert := writer(kind):
        _CONVERT(convert)(values.ctypes.data, out.ctypes.data, values.size)
        return
    _base().ggml_quantize_chunk(kind.id, values.ctypes.data, out.ctypes.data, 0, rows, columns, None)


def reader(kind: GgmlType) -> int:
    """Address of the C function (blocks, float32, elements) that `dequantize` calls; 0 for f32, which needs none."""
    if kind.name == "f32":
        return 0
    if kind.name == "f16":
        return _address(_cpu().ggml_cpu_fp16_to_fp32)
    return _address(_base().ggml_get_type_traits(kind.id).contents.to_float)


def writer(kind: GgmlType) -> int:
    """Address of the C function (float32, blocks, elements) that `quantize` calls for a type; 0 where it calls that of
    `chunk_writer`. Raises GgmlUnavailable.
    """
    if kind.needs_imatrix:
        raise GgmlUnavailable(f"{kind.name} can only be quantised with an importance matrix")
    return _address(_cpu().ggml_get_type_traits_cpu(kind.id).contents.from_float) if kind.name in _FAST else 0


def chunk_writer() -> int:
    """Address of ggml_quantize_chunk."""
    return _address(_base().ggml_quantize_chunk)


def _address(function) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value


def _check(array: np.ndarray, dtype: type) -> None:
    """ggml gets bare pointers: a wrong dtype or a strided view would read or write foreign memory."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(f"want contiguous {np.dtype(dtype)}, got {array.dtype}, strides {array.strides}")
