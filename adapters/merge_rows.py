"""Rows of one tensor merged in a single pass by merge_rows.c; without a C compiler in six, by NumPy: the same numbers
up to rounding, in about twice the time.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from functools import cache
from pathlib import Path

import numpy as np

from adapters import ggml
from adapters.ggml import GgmlType
from adapters.native import NativeUnavailable, built

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("merge_rows.c")
_ROWS_AT_ONCE = 4
"""ROWS of merge_rows.c."""
_LINE = 64
"""Bytes."""


class _Job(ctypes.Structure):
    """struct job."""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("quantize", ctypes.c_void_p),
        ("read_back", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("before", ctypes.c_int64),
        ("after", ctypes.c_int64),
        ("source", ctypes.c_void_p),
        ("target", ctypes.c_void_p),
        ("a", ctypes.c_void_p),
        ("b", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
    )


_local = threading.local()
"""Each thread's scratch memory."""


def merge_rows(
    source: np.ndarray, kind: GgmlType, a: np.ndarray, b: np.ndarray, stored: GgmlType, target: np.ndarray
) -> tuple[float, float, float, float]:
    """target = stored(W + B A) for some rows of a tensor; what it kept: <E, D>, <D, D>, <E, E>, <W, W>.

    W is `source` as float32, D = B A, E = target as float32 - W. source, target: uint8, the rows' blocks in types
    `kind` and `stored`. a: (rank, columns) and b: (rows, rank), float32. All contiguous. Any number of threads.
    Raises GgmlUnavailable.
    """
    rows, rank, columns = len(b), len(a), a.shape[1]
    want = {"a": (a, np.float32, rank * columns), "b": (b, np.float32, rows * rank),
            "source": (source, np.uint8, rows * kind.row_bytes(columns)),
            "target": (target, np.uint8, rows * stored.row_bytes(columns))}  # fmt: skip
    for name, (array, dtype, size) in want.items():  # C gets bare pointers
        if array.dtype != dtype or array.size != size or not array.flags.c_contiguous:
            raise ValueError(f"{name} is {array.dtype} {array.shape}: want {size} contiguous {np.dtype(dtype)}")
    library = _library()
    if library is None:
        return _by_steps(source, kind, a, b, stored, target)
    scratch, sums = _scratch((rank + _ROWS_AT_ONCE + 2) * columns), (ctypes.c_double * 4)()
    job = _Job(
        ggml.reader(kind), ggml.writer(stored), ggml.chunk_writer(), ggml.reader(stored), stored.id, rank, rows,
        columns, kind.row_bytes(columns), stored.row_bytes(columns), source.ctypes.data, target.ctypes.data,
        a.ctypes.data, b.ctypes.data, scratch.ctypes.data,
    )  # fmt: skip
    library.merge_rows(ctypes.byref(job), sums)
    return tuple(sums)


def _by_steps(
    source: np.ndarray, kind: GgmlType, a: np.ndarray, b: np.ndarray, stored: GgmlType, target: np.ndarray
) -> tuple[float, float, float, float]:
    size = len(b) * a.shape[1]
    scratch = _scratch(3 * size)
    weight, change, merged = (scratch[i * size : (i + 1) * size].reshape(len(b), -1) for i in range(3))
    ggml.dequantize(source, kind, weight)
    np.matmul(b, a, out=change)
    np.add(weight, change, out=merged)
    ggml.quantize(merged, stored, target)
    ggml.dequantize(target, stored, merged)
    np.subtract(merged, weight, out=merged)
    return _dot(merged, change), _dot(change, change), _dot(merged, merged), _dot(weight, weight)


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a.reshape(-1), b.reshape(-1)))


def _scratch(size: int) -> np.ndarray:
    """(size,) float32 of this thread's own, from a cache line's border."""
    have = getattr(_local, "scratch", None)
    if have is None or have.size < size:
        room = np.empty(size + _LINE // 4, np.float32)
        have = _local.scratch = room[-room.ctypes.data % _LINE // 4 :]
    return have[:size]


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(built(SOURCE)))
    except (NativeUnavailable, OSError) as exc:
        log.warning("merging takes twice as long: %s", exc)
        return None
    library.merge_rows.argtypes, library.merge_rows.restype = [ctypes.c_void_p, ctypes.c_void_p], None
    return library
