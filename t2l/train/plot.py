"""The picture of a training run: loss a step, and what the descriptions do on development sets."""

from __future__ import annotations

import json
from pathlib import Path

from t2l.plots import open_pyplot

SMOOTHING = 25
"""Steps averaged for the loss curve."""


def plot_log(log: Path, target: Path) -> None:
    """Draw `log.jsonl` as a PNG: training loss, then one panel a development set with a line an arm. Nothing without
    matplotlib.
    """
    if (pyplot := open_pyplot()) is None:
        return
    records = [json.loads(line) for line in log.read_text().splitlines()]
    measured = [record for record in records if "dev" in record]
    sets = list(measured[-1]["dev"]) if measured else []
    figure, axes = pyplot.subplots(1, 1 + len(sets), figsize=(5 * (1 + len(sets)), 4), squeeze=False)
    losses = [record["loss"] for record in records]
    windows = [losses[max(0, i - SMOOTHING) : i + 1] for i in range(len(losses))]
    smooth = [sum(window) / len(window) for window in windows]
    axes[0][0].plot([record["step"] for record in records], smooth)
    axes[0][0].set(title="training", xlabel="step", ylabel="loss (nats a token)", ylim=(0, None))
    for axis, name in zip(axes[0][1:], sets, strict=True):
        for arm in measured[-1]["dev"][name]:
            axis.plot([r["step"] for r in measured], [r["dev"][name][arm]["loss"] for r in measured], "o-", label=arm)
        axis.set(title=name.replace("_", " "), xlabel="step", ylim=(0, None))
        axis.legend()
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)
    pyplot.close(figure)
