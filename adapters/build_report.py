"""What a merge did: one line per changed tensor, and the whole. Values and their text; reads no files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorGain:
    """How much of the adapter's change one stored tensor holds.

    With W the base tensor, dW the adapter's change and E = stored - W, all dequantised:
    gain = <E, dW> / <dW, dW>, 1 where the change is all there, 0 where it rounded away;
    cosine = <E, dW> / (|E| |dW|), small where rounding added more noise than the change is large;
    delta_ratio = |dW| / |W|; noise_ratio = |E - dW| / |W|.
    """

    name: str
    layer: int
    module: str
    type_before: str
    type_after: str
    bytes_before: int
    bytes_after: int
    gain: float
    cosine: float
    delta_ratio: float
    noise_ratio: float


@dataclass(frozen=True, slots=True)
class Probe:
    """Merged build against base with the adapter attached, on a probe text.

    kl: mean over tokens of KL(attached || merged), nats. top1: share of tokens where both have the same most
    likely next token. base_kl: mean KL(attached || base), what losing the adapter altogether would cost.
    """

    kl: float
    top1: float
    base_kl: float
    tokens: int

    def to_json(self) -> dict[str, Any]:
        return {"kl": self.kl, "top1": self.top1, "base_kl": self.base_kl, "tokens": self.tokens}


@dataclass(frozen=True, slots=True)
class MergeReport:
    """A finished build. seconds: the merge alone, without the probe."""

    path: Path
    bytes: int
    seconds: float
    adapter_digest: str
    base_digest: str
    parents: Mapping[str, float]
    store: str
    tensors: tuple[TensorGain, ...]
    probe: Probe | None

    def to_json(self) -> dict[str, Any]:
        """As `et2l merge --json` prints it and the build's record keeps it."""
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "gain": spread([tensor.gain for tensor in self.tensors]),
            "cosine": spread([tensor.cosine for tensor in self.tensors]),
            "kl": self.probe.kl if self.probe else None,
            "top1": self.probe.top1 if self.probe else None,
            "probe": self.probe.to_json() if self.probe else None,
            "adapter": self.adapter_digest,
            "base": self.base_digest,
            "parents": dict(self.parents),
            "store": self.store,
            "tensors": [{name: getattr(tensor, name) for name in TensorGain.__slots__} for tensor in self.tensors],
        }


def spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "mean": math.fsum(values) / len(values)}


def table(tensors: tuple[TensorGain, ...]) -> str:
    """The changed tensors as text, one line each and a last one for all."""
    lines = [f"{'tensor':<28} {'type':<14} {'size':>16} {'|dW|/|W|':>9} {'gain':>7} {'cosine':>7}"]
    for t in tensors:
        kinds = f"{t.type_before} > {t.type_after}"
        size = f"{_mib(t.bytes_before)} > {_mib(t.bytes_after)}"
        numbers = f"{t.delta_ratio:>9.3%} {t.gain:>7.3f} {t.cosine:>7.3f}"
        lines.append(f"{t.name:<28} {kinds:<14} {size:>16} {numbers}")
    before, after = sum(t.bytes_before for t in tensors), sum(t.bytes_after for t in tensors)
    gain, cosine = spread([t.gain for t in tensors]), spread([t.cosine for t in tensors])
    size = f"{_mib(before)} > {_mib(after)}"
    for label, which, text in ((f"least of {len(tensors)}", "min", size), ("mean", "mean", "MiB")):
        lines.append(f"{label:<28} {'':<14} {text:>16} {'':>9} {gain[which]:>7.3f} {cosine[which]:>7.3f}")
    return "\n".join(lines)


def _mib(size: int) -> str:
    return f"{size / 2**20:.2f}"
