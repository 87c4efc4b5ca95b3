"""From results to numbers people can judge: per task, macro, paired intervals, a table and a plot."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from t2l.evaluate.run import Evaluation, Result
from t2l.evaluate.stats import bootstrap_macro, interval
from t2l.plots import open_pyplot

BASELINES = ("base", "base-desc", "mt-lora", "mt-lora-desc", "t2l")
"""Arms that every other arm is compared with, where they were run."""
LEAST_FOR_A_MARK = 10
"""Items below which no difference is marked as sure: resampling a handful shows no spread."""


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """`arms`: per arm and task `score` and `loss` (nats per answer token) and what explains them; `macro`:
    means over tasks; `intervals`: 95 % of the paired bootstrap, of each arm and of its difference from the
    baselines."""
    settings = evaluation.settings
    by_arm: dict[str, dict[str, list[Result]]] = {arm: defaultdict(list) for arm in settings.arms}
    for result in evaluation.results:
        by_arm[result.arm][result.task].append(result)
    arms = {arm: {task: _task_row(rows) for task, rows in tasks.items()} for arm, tasks in by_arm.items()}
    return {
        "arms": arms,
        "macro": {arm: {key: _mean(tasks, key) for key in ("score", "loss")} for arm, tasks in arms.items()},
        "intervals": _intervals(evaluation, by_arm),
        "settings": asdict(settings),
        "notes": list(evaluation.notes),
        "descriptions": evaluation.descriptions,
    }


def _task_row(results: list[Result]) -> dict[str, Any]:
    with_loss = [one for one in results if one.nats is not None]
    tokens = sum(one.tokens for one in with_loss)
    row: dict[str, Any] = {
        "score": float(np.mean([one.score for one in results])),
        "loss": sum(one.nats for one in with_loss) / tokens if tokens else None,
        "n": len(results),
        "parse_failures": sum(not one.parsed for one in results if one.error is None),
        "unfinished": sum(not one.finished for one in results if one.error is None),
        "errors": sum(one.error is not None for one in results),
    }
    likelihoods = [one.likelihood for one in results if one.likelihood is not None]
    if likelihoods:
        row["likelihood_score"] = float(np.mean(likelihoods))
    return row


def _mean(tasks: Mapping[str, Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in tasks.values()]
    return None if any(value is None for value in values) else float(np.mean(values))


def _intervals(evaluation: Evaluation, by_arm: Mapping[str, Mapping[str, list[Result]]]) -> dict[str, Any]:
    """By arm: `score`, `loss` and, where every task has options, `likelihood`, with low and high; and `minus <arm>`
    for those of BASELINES that were run."""
    arms, seed = evaluation.settings.arms, evaluation.settings.seed
    scores, nats, tokens, likelihoods = [], [], [], []
    for task in evaluation.settings.tasks:
        columns = [{one.id: one for one in by_arm[arm][task]} for arm in arms]
        ids = [name for name in columns[0] if all(name in column for column in columns)]
        scores.append(np.array([[column[name].score for column in columns] for name in ids]))
        picked = [[column[name].likelihood for column in columns] for name in ids]
        likelihoods.append(np.array([row for row in picked if None not in row], dtype=float))
        # An item without a loss under one arm (it did not fit the context) is compared under none.
        ids = [name for name in ids if all(column[name].nats is not None for column in columns)]
        nats.append(np.array([[column[name].nats for column in columns] for name in ids]))
        tokens.append(np.array([[column[name].tokens for column in columns] for name in ids], dtype=float))
    found: dict[str, Any] = {arm: {} for arm in arms}
    kinds = {"score": (scores, None)}
    if all(len(table) for table in nats):
        kinds["loss"] = (nats, tokens)
    if all(len(table) for table in likelihoods):  # every task has options
        kinds["likelihood"] = (likelihoods, None)
    for kind, (tables, weights) in kinds.items():
        divisors = [np.ones_like(table) for table in tables] if weights is None else weights
        exact = np.mean(
            [table.sum(0) / weight.sum(0) for table, weight in zip(tables, divisors, strict=True)], axis=0
        )
        drawn = bootstrap_macro(tables, weights, seed)
        for column, arm in enumerate(arms):
            found[arm][kind] = asdict(interval(exact[column], drawn[:, column]))
            for base in BASELINES:
                if base in arms and base != arm:
                    other = arms.index(base)
                    difference = interval(exact[column] - exact[other], drawn[:, column] - drawn[:, other])
                    found[arm].setdefault(f"minus {base}", {})[kind] = asdict(difference)
    return found


def table(report: Mapping[str, Any]) -> str:
    """A Markdown table: one row an arm, macro values with intervals, differences marked * where 0 lies
    outside."""
    baselines = [base for base in BASELINES if base in report["arms"]]
    tasks = next(iter(report["arms"].values()))
    items = sum(row["n"] for row in tasks.values())
    # One item of a task says nothing of how its items differ.
    marked = items >= LEAST_FOR_A_MARK and min(row["n"] for row in tasks.values()) > 1
    kinds = ["score", *(["likelihood"] if "likelihood" in report["intervals"][next(iter(report["arms"]))] else [])]
    head = ["arm", *(f"{kind} %" for kind in kinds), "loss"]
    head += [*(f"{kind} - {base}" for kind in kinds for base in baselines), "unread", "errors"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for arm, tasks in report["arms"].items():
        spans = report["intervals"][arm]
        cells = [arm, *(_percent(spans[kind], signed=False, marked=False) for kind in kinds), _loss(spans.get("loss"))]
        against = [(kind, spans.get(f"minus {base}", {})) for kind in kinds for base in baselines]
        cells += [_percent(found.get(kind), True, marked) for kind, found in against]
        cells += [str(sum(row[key] for row in tasks.values())) for key in ("parse_failures", "errors")]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append(
        f"\n{len(tasks)} tasks, {items} items, macro means over tasks, 95 % paired bootstrap over items."
    )
    return "\n".join(lines + [f"- {note}" for note in report["notes"]])


def task_table(report: Mapping[str, Any]) -> str:
    """A Markdown table: one row a task, score in percent and loss under every arm."""
    arms = list(report["arms"])
    lines = ["| task | n | " + " | ".join(arms) + " |", "|" + "---|" * (len(arms) + 2)]
    for task, first in report["arms"][arms[0]].items():
        cells = []
        for arm in arms:
            row = report["arms"][arm][task]
            cells.append(
                f"{100 * row['score']:.1f}" + (f" ({row['loss']:.2f})" if row["loss"] is not None else "")
            )
        lines.append(f"| {task} | {first['n']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(span: Mapping[str, float] | None, signed: bool, marked: bool) -> str:
    if span is None:
        return ""
    sign = "+" if signed else ""
    sure = " *" if marked and (span["low"] > 0 or span["high"] < 0) else ""
    value, low, high = (100 * span[key] for key in ("value", "low", "high"))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]{sure}"


def _loss(span: Mapping[str, float] | None) -> str:
    return "" if span is None else f"{span['value']:.3f} [{span['low']:.3f}, {span['high']:.3f}]"


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Macro score and loss of every arm with intervals, and every task as a dot; nothing without matplotlib."""
    if (pyplot := open_pyplot()) is None:
        return
    arms = list(report["arms"])
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 1.2 + 0.45 * len(arms)), sharey=True)
    for axis, kind, title in zip(
        axes, ("score", "loss"), ("score", "loss, nats per answer token"), strict=True
    ):
        for row, arm in enumerate(arms):
            span = report["intervals"][arm].get(kind)
            if span is None:
                continue
            errors = [[max(0.0, span["value"] - span["low"])], [max(0.0, span["high"] - span["value"])]]
            axis.barh(row, span["value"], xerr=errors, color="#9db8d2", ecolor="#333333", capsize=3)
            dots = [one[kind] for one in report["arms"][arm].values() if one[kind] is not None]
            axis.plot(dots, [row] * len(dots), ".", color="#333333", alpha=0.35, markersize=4)
        axis.set_title(title)
        axis.set_yticks(range(len(arms)), arms)
    axes[0].set_xlim(0, 1)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def write(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """summary.json, summary.md and summary.png beside items.jsonl; returns the summary."""
    report = summary(evaluation)
    (folder / "summary.json").write_text(
        json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    text = f"{table(report)}\n\nScore in percent (loss) by task:\n\n{task_table(report)}\n"
    (folder / "summary.md").write_text(text, encoding="utf-8")
    plot(report, folder / "summary.png")
    return report
