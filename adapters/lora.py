"""What a LoRA adapter is: immutable values and their identity. Knows no file format."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

DIGEST_HEX = 16
"""Digits of an adapter's digest used in names, rows and headers (DESIGN 5.7)."""


HALF_MIN_RMS = 2.0**-14
"""Root mean square below which a tensor is not kept in float16: its smallest normal number. Rounding to half
errs by 2**-11 of a normal number, or by 2**-25 absolutely, which at this size is as little."""


def to_half(tensor: torch.Tensor) -> torch.Tensor | None:
    """A float32 tensor as float16, or None where that would lose it: it overflows, or is too small."""
    half = tensor.half()
    norm = torch.linalg.vector_norm(tensor).item()
    large_enough = norm == 0 or norm >= HALF_MIN_RMS * math.sqrt(tensor.numel())
    return half if large_enough and is_finite(half) else None


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds neither inf nor nan (`aminmax` passes nan on, and is fast)."""
    low, high = torch.aminmax(tensor)
    return math.isfinite(low) and math.isfinite(high)


@dataclass(frozen=True, slots=True, eq=False)
class LoraDelta:
    """Low-rank update of one linear layer: delta_w = scaling * b @ a.

    a: (rank, in_features); b: (out_features, rank); both of one floating dtype, on the CPU.
    Source: Hu et al. 2021 (LoRA), section 4.1.
    """

    a: torch.Tensor
    b: torch.Tensor
    scaling: float

    def __post_init__(self) -> None:
        if self.a.ndim != 2 or self.b.ndim != 2 or self.a.shape[0] != self.b.shape[1]:
            raise ValueError(f"lora_a {tuple(self.a.shape)} and lora_b {tuple(self.b.shape)} share no rank")
        if self.a.dtype != self.b.dtype or not self.a.is_floating_point():
            raise ValueError(f"lora_a is {self.a.dtype}, lora_b is {self.b.dtype}: want one floating dtype")

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def weight(self) -> torch.Tensor:
        """The dense update, (out_features, in_features), float32."""
        return self.scaling * (self.b.float() @ self.a.float())


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
        """sha256 over base digest, tensors and scale, shortened to DIGEST_HEX digits (DESIGN 5.7)."""
        sha = hashlib.sha256(self.base_digest.encode())
        for path, delta in self.deltas.items():
            header = [path, str(delta.a.dtype), list(delta.a.shape), list(delta.b.shape), delta.scaling]
            sha.update(json.dumps(header).encode())
            sha.update(delta.a.contiguous().numpy())
            sha.update(delta.b.contiguous().numpy())
        return sha.hexdigest()[:DIGEST_HEX]
