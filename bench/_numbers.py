"""Medians and ratios with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def percentile(values: Sequence[float], percent: float) -> Estimate:
    """Raises ValueError for no values."""
    if not len(values):
        raise ValueError("no values")
    sample = np.asarray(values, float)
    drawn = np.percentile(sample[_draws(len(sample))], percent, axis=1)
    return _estimate(float(np.percentile(sample, percent)), drawn)


def median(values: Sequence[float]) -> Estimate:
    return percentile(values, 50)


def ratio_of_percentiles(ours: Sequence[float], theirs: Sequence[float], percent: float) -> Estimate:
    """Of two series measured in pairs (same round or same prompt): both are resampled alike."""
    if len(ours) != len(theirs):
        raise ValueError(f"pairs wanted, got {len(ours)} and {len(theirs)} values")
    one, other = np.asarray(ours, float), np.asarray(theirs, float)
    draws = _draws(len(one))
    drawn = np.percentile(one[draws], percent, axis=1) / np.percentile(other[draws], percent, axis=1)
    return _estimate(float(np.percentile(one, percent) / np.percentile(other, percent)), drawn)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Mean of ours minus theirs, in pairs."""
    if len(ours) != len(theirs):
        raise ValueError(f"pairs wanted, got {len(ours)} and {len(theirs)} values")
    gaps = np.asarray(ours, float) - np.asarray(theirs, float)
    return _estimate(float(gaps.mean()), gaps[_draws(len(gaps))].mean(axis=1))


def mean(values: Sequence[float]) -> Estimate:
    return difference(values, [0.0] * len(values))


def _draws(count: int) -> np.ndarray:
    """(RESAMPLES, count) indices; the same every time, so that a report can be repeated from its numbers."""
    return np.random.default_rng(0).integers(0, count, (RESAMPLES, count))


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    low, high = np.percentile(drawn, INTERVAL)
    return Estimate(value, float(low), float(high))
