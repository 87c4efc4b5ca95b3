"""Rounding a merged tensor onto the very grid the base tensor is stored on, so that the file does not grow.

Each block keeps its scale; only the codes move. To the nearest code most of a small change is lost: most weights do
not move at all. Two other roundings keep it, at the price of noise, and docs/results-builds.md says what they are
worth. Knows the blocks of Q4_0, Q5_0 and Q8_0: weight = scale * code, 32 weights to a block.
Layouts: ggml/src/ggml-common.h (block_q4_0, block_q5_0, block_q8_0).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BLOCK = 32
RANGES = {"q4_0": (-8, 7), "q5_0": (-16, 15), "q8_0": (-128, 127)}
"""Least and largest code by type."""

Rounding = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Exact positions on the grid (blocks, 32), in steps from code 0 -> whole ones."""


def nearest(exact: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each weight to the nearest code."""
    return np.rint(exact)


def stochastic(exact: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Up with the probability that makes the expected weight exact.

    Source: Gupta et al. 2015 (Deep Learning with Limited Numerical Precision), section 3.
    """
    return np.floor(exact + generator.random(exact.shape, dtype=np.float32))


def error_feedback(exact: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each weight takes over what rounding the one before it left over, within a block.

    Sums over neighbouring inputs are then right to half a step. The first weight of a block starts at a random
    half step: started at none, changes that sum to less than half a step would never show.
    Source: Floyd and Steinberg 1976 (error diffusion), in one dimension.
    """
    out = np.empty_like(exact)
    carried = generator.random(len(exact), dtype=np.float32) - 0.5  # (blocks,)
    for i in range(exact.shape[1]):
        wanted = exact[:, i] + carried
        out[:, i] = np.rint(wanted)
        carried = wanted - out[:, i]
    return out


def store(
    blocks: np.ndarray, kind: str, merged: np.ndarray, rounding: Rounding, generator: np.random.Generator
) -> np.ndarray:
    """The base tensor's blocks with codes for `merged`.

    blocks: uint8, the base tensor as stored. merged: float32, as many weights. Returns new blocks.
    """
    raw = blocks.reshape(-1, {"q4_0": 18, "q5_0": 22, "q8_0": 34}[kind]).copy()
    scale = raw[:, :2].copy().view(np.float16).astype(np.float32)  # (blocks, 1)
    low, high = RANGES[kind]
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.where(scale == 0, 0, merged.reshape(-1, BLOCK) / scale).astype(np.float32)
    codes = np.clip(rounding(exact, generator), low, high).astype(np.int32) - (0 if kind == "q8_0" else low)
    if kind == "q8_0":
        raw[:, 2:] = codes.astype(np.int8).view(np.uint8)
        return raw.reshape(-1)
    nibbles = codes & 15
    raw[:, -16:] = nibbles[:, :16] | nibbles[:, 16:] << 4
    if kind == "q5_0":  # the fifth bits of all 32 codes, one 32-bit word
        raw[:, 2:6] = np.packbits((codes >> 4).astype(np.uint8), axis=1, bitorder="little")
    return raw.reshape(-1)
