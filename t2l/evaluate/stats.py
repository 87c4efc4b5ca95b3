"""Paired bootstrap over items: how sure a difference between two arms is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the central 95 % of its bootstrap distribution."""

    value: float
    low: float
    high: float


def bootstrap_macro(
    tables: Sequence[np.ndarray],
    weights: Sequence[np.ndarray] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """Bootstrap distribution of every arm's macro mean over tasks, (resamples, arms).

    tables: one (items, arms) array of values a task; weights: the same shapes, for ratios such as nats per
    token (None = all 1). A task's value is sum(values) / sum(weights). Items are drawn with replacement
    within each task, the same items for every arm, so differences between columns are paired (Efron and
    Tibshirani 1993, chapter 8). The variance of resampled means of n items is too small by (n - 1) / n, which is much
    where a task has few, so their deviations are stretched. Tasks are fixed: the intervals speak of these tasks, not of
    tasks in general.
    """
    if not tables or any(len(table) == 0 for table in tables):
        raise ValueError("every task needs at least one item")
    weights = [np.ones_like(table) for table in tables] if weights is None else weights
    rng = np.random.default_rng(seed)
    total = np.zeros((resamples, tables[0].shape[1]))
    for table, weight in zip(tables, weights, strict=True):
        items = len(table)
        exact, stretch = table.sum(0) / weight.sum(0), np.sqrt(items / max(1, items - 1))
        for start in range(0, resamples, CHUNK):
            rows = min(CHUNK, resamples - start)
            # How often each item is drawn says all about a resample, and makes its sums one matrix product.
            counts = rng.multinomial(items, np.full(items, 1 / items), size=rows)  # (rows, items)
            drawn = (counts @ table) / (counts @ weight)
            total[start : start + rows] += exact + stretch * (drawn - exact)
    return total / len(tables)


def interval(value: float, distribution: np.ndarray) -> Interval:
    """distribution: (resamples,)."""
    low, high = np.quantile(distribution, [0.025, 0.975])
    return Interval(value, float(low), float(high))
