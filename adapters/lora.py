"""What a LoRA adapter is: immutable values and their identity. Knows no file format."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adapters import ggml

DIGEST_HEX = 16
"""Digits of an adapter's digest used in names, rows and headers."""


HALF_MIN_RMS = 2.0**-14
"""Root mean square below which a tensor is not kept in float16: its smallest normal number. Rounding to half
errs by 2**-11 of a normal number, or by 2**-25 absolutely, which at this size is as little."""


def to_float(tensor: np.ndarray) -> np.ndarray:
    """A tensor as float32; itself, if it is that already. ggml widens float16 ten times as fast as NumPy does."""
    if tensor.dtype != np.float16:
        return tensor.astype(np.float32, copy=False)
    wide = np.empty(tensor.shape, np.float32)
    ggml.dequantize(np.ascontiguousarray(tensor).view(np.uint8), ggml.type_by_name("f16"), wide)
    return wide


def to_half(tensor: np.ndarray) -> np.ndarray | None:
    """A float32 tensor as float16, or None where that would lose it: it overflows, or is too small."""
    half = np.empty(tensor.shape, np.float16)
    rows = np.ascontiguousarray(tensor).reshape(1, -1)
    ggml.quantize(rows, ggml.type_by_name("f16"), half.reshape(-1).view(np.uint8))  # to the nearest, ties to even
    norm = math.sqrt(np.vdot(rows, rows))
    large_enough = norm == 0 or norm >= HALF_MIN_RMS * math.sqrt(tensor.size)
    return half if large_enough and is_finite(half) else None


def is_zero(array: np.ndarray) -> bool:
    """Whether all values are 0 or -0. float16 is looked at as bits: NumPy would convert every value first."""
    if array.dtype == np.float16:
        return not (np.ascontiguousarray(array).view(np.uint16) & 0x7FFF).any()
    return not array.any()


def is_finite(tensor: np.ndarray) -> bool:
    """Whether a tensor holds neither inf nor nan."""
    if tensor.dtype == np.float16:  # NumPy compares these one by one; as bits, all of the exponent's are set
        return not ((tensor.view(np.uint16) & 0x7C00) == 0x7C00).any()
    return math.isfinite(tensor.min()) and math.isfinite(tensor.max())  # both pass nan on


@dataclass(frozen=True, slots=True, eq=False)
class LoraDelta:
    """Low-rank update of one linear layer: delta_w = scaling * b @ a.

    a: (rank, in_features); b: (out_features, rank); both of one floating dtype. NumPy arrays rather than torch's:
    what only reads, merges or writes adapters need not wait for torch, whose import takes longer than a merge.
    Source: Hu et al. 2021 (LoRA), section 4.1.
    """

    a: np.ndarray
    b: np.ndarray
    scaling: float

    def __post_init__(self) -> None:
        if self.a.ndim != 2 or self.b.ndim != 2 or self.a.shape[0] != self.b.shape[1]:
            raise ValueError(f"lora_a {self.a.shape} and lora_b {self.b.shape} share no rank")
        if self.a.dtype != self.b.dtype or not np.issubdtype(self.a.dtype, np.floating):
            raise ValueError(f"lora_a is {self.a.dtype}, lora_b is {self.b.dtype}: want one floating dtype")

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def weight(self) -> np.ndarray:
        """The dense update, (out_features, in_features), float32."""
        return self.scaling * (to_float(self.b) @ to_float(self.a))


@dataclass(frozen=True, eq=False)
class LoraAdapter:
    """One adapter of one base model: a delta per linear layer.

    base_digest: sha256 (hex) of the base GGUF file the adapter was made for.
    deltas: by module path as transformers names it, without a `.weight` suffix, e.g.
    `model.layers.0.self_attn.q_proj`. Iteration order is canonical (sorted by path).
    """

    base_digest: str
    deltas: Mapping[str, LoraDelta]

    def __post_init__(self) -> None:
        if not self.deltas:
            raise ValueError("an adapter needs at least one delta")
        object.__setattr__(self, "deltas", dict(sorted(self.deltas.items())))

    @property
    def rank(self) -> int:
        """Largest rank of any delta."""
        return max(delta.rank for delta in self.deltas.values())

    @cached_property
    def digest(self) -> str:
        """sha256 over base digest, tensors and scale, shortened to DIGEST_HEX digits.

        Dtypes are named as torch names them ("torch.float16"): so the adapters already stored keep their names.
        """
        sha = hashlib.sha256(self.base_digest.encode())
        for path, delta in self.deltas.items():
            header = [path, f"torch.{delta.a.dtype.name}", list(delta.a.shape), list(delta.b.shape), delta.scaling]
            sha.update(json.dumps(header).encode())
            sha.update(np.ascontiguousarray(delta.a))
            sha.update(np.ascontiguousarray(delta.b))
        return sha.hexdigest()[:DIGEST_HEX]
