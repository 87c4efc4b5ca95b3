"""Adapters made of adapters, always on the product b @ a: averaging A and B separately gives cross terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.errors import AdapterMismatch
from adapters.lora import LoraAdapter, LoraDelta, to_float, to_half


def concat(parts: Sequence[LoraAdapter], weights: Sequence[float]) -> LoraAdapter:
    """The adapter whose update of every layer is sum_i weights[i] * parts[i]'s, exactly but for rounding.

    Deltas of different A are stacked, A = [A_1; A_2; ...], B = [w_1 s_1 B_1, w_2 s_2 B_2, ...], so that ranks
    add up. Deltas of equal A (our hypernetwork's, t2l/gated.py) add their B and keep the rank. A part without
    a layer, or of weight 0, adds nothing. float16 stays float16 where it holds the result.
    Source: Prabhakar et al. 2024 (LoRA Soups, arXiv 2410.13025), section 3: CAT.
    Raises AdapterMismatch if the parts are for different base models.
    """
    if len(parts) != len(weights):
        raise ValueError(f"{len(parts)} adapters and {len(weights)} weights")
    used = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight != 0]
    if not used:
        raise ValueError("no adapter has a weight other than 0")
    bases = {part.base_digest for part, _ in used}
    if len(bases) > 1:
        raise AdapterMismatch(f"adapters of different base models cannot be composed: {sorted(bases)}")
    if len(used) == 1:
        (part, weight), *_ = used
        return LoraAdapter(part.base_digest, {path: _rescaled(d, weight) for path, d in part.deltas.items()})
    terms: dict[str, list[tuple[LoraDelta, float]]] = {}
    for part, weight in used:
        for path, delta in part.deltas.items():
            terms.setdefault(path, []).append((delta, weight * delta.scaling))
    return LoraAdapter(bases.pop(), {path: _sum(path, deltas) for path, deltas in terms.items()})


def _rescaled(delta: LoraDelta, weight: float) -> LoraDelta:
    return LoraDelta(delta.a, delta.b, weight * delta.scaling)


def _sum(path: str, terms: list[tuple[LoraDelta, float]]) -> LoraDelta:
    """One delta of scaling 1 for the sum of factor * b @ a over the terms."""
    shapes = {(delta.b.shape[0], delta.a.shape[1]) for delta, _ in terms}
    if len(shapes) > 1:
        raise AdapterMismatch(f"{path} has different shapes in the adapters: {sorted(shapes)}")
    groups: list[tuple[np.ndarray, np.ndarray]] = []  # each A with its B, in float32
    for delta, factor in terms:
        scaled = to_float(delta.b) * factor
        for i, (a, b) in enumerate(groups):
            if _same(a, delta.a):
                groups[i] = (a, b + scaled)
                break
        else:
            groups.append((delta.a, scaled))
    a = groups[0][0] if len(groups) == 1 else np.concatenate([to_float(a) for a, _ in groups])  # (sum of ranks, in)
    b = np.concatenate([b for _, b in groups], axis=1)  # (out, sum of ranks)
    half = all(delta.a.dtype == np.float16 for delta, _ in terms)
    return _delta(a, b) if half else LoraDelta(to_float(a), b, 1.0)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a is b or (a.dtype == b.dtype and np.array_equal(a, b))


def _delta(a: np.ndarray, b: np.ndarray) -> LoraDelta:
    """A delta of scaling 1, in float16 if that holds both sides."""
    half_a = a if a.dtype == np.float16 else to_half(a)
    half_b = to_half(b)
    if half_a is None or half_b is None:
        return LoraDelta(to_float(a), b, 1.0)
    return LoraDelta(half_a, half_b, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Recompressed:
    """An adapter of lower rank, and how much of the first one's energy (squared Frobenius norm) it kept.

    retained_energy: over all layers, in [0, 1]; by_layer: of each, by module path.
    """

    adapter: LoraAdapter
    retained_energy: float
    by_layer: Mapping[str, float]


def recompress(adapter: LoraAdapter, rank: int) -> Recompressed:
    """The best approximation of every update by one of at most the given rank (Eckart-Young), by QR and SVD.

    b @ a = Q_b (R_b R_a^T) Q_a^T with b = Q_b R_b and a^T = Q_a R_a, so the SVD is of a small core only.
    A layer that is of that rank already is left as it is.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}, want at least 1")
    deltas: dict[str, LoraDelta] = {}
    by_layer: dict[str, float] = {}
    kept = total = 0.0
    for path, delta in adapter.deltas.items():
        q_b, r_b = np.linalg.qr(to_float(delta.b))  # (out, r), (r, r); r = min(out, rank)
        q_a, r_a = np.linalg.qr(to_float(delta.a).T)  # (in, r), (r, r)
        u, s, vh = np.linalg.svd(delta.scaling * (r_b @ r_a.T), full_matrices=False)
        energy = np.square(s, dtype=np.float64)
        whole, part = float(energy.sum()), float(energy[:rank].sum())
        by_layer[path] = part / whole if whole > 0 else 1.0
        kept, total = kept + part, total + whole
        if delta.rank <= rank:
            deltas[path] = delta
            continue
        root = np.sqrt(s[:rank])  # shared evenly, which keeps both sides within float16
        b = (q_b @ u[:, :rank]) * root  # (out, rank)
        a = root[:, None] * (vh[:rank] @ q_a.T)  # (rank, in)
        deltas[path] = _delta(a, b) if delta.a.dtype == np.float16 else LoraDelta(a, b, 1.0)
    overall = kept / total if total > 0 else 1.0
    return Recompressed(LoraAdapter(adapter.base_digest, deltas), overall, by_layer)


def pad(adapter: LoraAdapter, rank: int) -> LoraAdapter:
    """The same updates at a larger rank, by zeros, for servers that allow certain ranks only (vLLM)."""
    if rank < adapter.rank:
        raise ValueError(f"an adapter of rank {adapter.rank} cannot be padded to {rank}: recompress it")
    deltas = {}
    for path, delta in adapter.deltas.items():
        more = rank - delta.rank
        a = np.pad(delta.a, ((0, more), (0, 0)))  # (rank, in)
        b = np.pad(delta.b, ((0, 0), (0, more)))  # (out, rank)
        deltas[path] = LoraDelta(a, b, delta.scaling)
    return LoraAdapter(adapter.base_digest, deltas)
