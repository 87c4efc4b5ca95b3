"""Roundings onto a base tensor's own grid: they agree with ggml's reading of the blocks, and keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from adapters import ggml
from bench._on_grid import RANGES, error_feedback, nearest, stochastic, store

ROWS, COLUMNS = 64, 512


def base(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of random weights, and the weights they stand for."""
    values = np.random.default_rng(0).standard_normal((ROWS, COLUMNS), dtype=np.float32)
    stored = ggml.type_by_name(kind)
    blocks = np.empty(ROWS * stored.row_bytes(COLUMNS), np.uint8)
    ggml.quantize(values, stored, blocks)
    return blocks, read(blocks, kind)


def read(blocks: np.ndarray, kind: str) -> np.ndarray:
    out = np.empty((ROWS, COLUMNS), np.float32)
    ggml.dequantize(blocks, ggml.type_by_name(kind), out)
    return out


def change(ratio: float) -> np.ndarray:
    random = np.random.default_rng(1)
    low_rank = random.standard_normal((ROWS, 4)) @ random.standard_normal((4, COLUMNS))
    return (ratio * low_rank / low_rank.std()).astype(np.float32)


def gain(e: np.ndarray, d: np.ndarray) -> float:
    return float(np.sum(e * d) / np.sum(d * d))


@pytest.mark.parametrize("kind", RANGES)
def test_no_change_gives_the_same_bytes(kind):
    blocks, weights = base(kind)
    again = store(blocks, kind, weights, nearest, np.random.default_rng(0))
    assert (again == blocks).all()


@pytest.mark.parametrize("kind", RANGES)
def test_the_nearest_code_is_within_half_a_step(kind):
    blocks, weights = base(kind)
    merged = weights * 0.9  # stays inside the range of codes
    stored = read(store(blocks, kind, merged, nearest, np.random.default_rng(0)), kind)
    steps = np.abs(weights).reshape(-1, 32).max(axis=1) / (-RANGES[kind][0] - (kind == "q8_0"))
    error = np.abs(stored - merged).reshape(-1, 32).max(axis=1)
    assert (error <= 0.51 * steps + 1e-6).all()


@pytest.mark.parametrize("rounding", [stochastic, error_feedback])
@pytest.mark.parametrize("kind", ["q4_0", "q5_0"])
def test_a_small_change_that_the_nearest_code_loses_is_kept_on_average(kind, rounding):
    blocks, weights = base(kind)
    delta = change(0.02)
    lost = read(store(blocks, kind, weights + delta, nearest, np.random.default_rng(0)), kind) - weights
    kept = [
        gain(read(store(blocks, kind, weights + delta, rounding, np.random.default_rng(seed)), kind) - weights, delta)
        for seed in range(20)
    ]
    assert gain(lost, delta) < 0.3
    assert np.mean(kept) == pytest.approx(1.0, abs=0.12)  # the outermost codes cannot move outwards
