"""`et2l adapt "task"`: run the pipeline on one task and show every step of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.commands.eval import names
from proxy.config import ConfigError, load_config

if TYPE_CHECKING:
    from proxy.adaptation import Resolution


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "adapt",
        help="make the adapter of a task and show how it came to be",
        description="Enhance the task, find its skills, generate and compose their adapters, store the result. "
        "A task that the cache knows, or one close enough to it, gets the stored adapter.",
    )
    parser.add_argument("task", help="what the model should be good at")
    parser.add_argument("--skills", help="use these instead of what the decomposer finds: a,b")
    parser.add_argument("--weights", help="use these instead of the composer's: a=0.6,b=0.4")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not args.task.strip():
        return fail("the task is empty")
    try:
        config = load_config(args.config)
        skills = None if args.skills is None else names(args.skills)
        weights = None if args.weights is None else parse_weights(args.weights)
    except (ConfigError, ValueError, argparse.ArgumentTypeError) as exc:
        return fail(str(exc))
    from adapters.errors import AdapterError
    from proxy.adaptation import Adapters
    from proxy.errors import ProxyError
    from proxy.hint import longest_hint
    from proxy.pipeline import LOCAL_TENANT
    from proxy.wiring import StartFailed, open_specialiser

    try:
        adapters = Adapters(open_specialiser(config).shelf, config.adapt, longest_hint(config.hint))
    except (StartFailed, ConfigError) as exc:
        return fail(str(exc))
    try:
        if skills or weights:
            resolution = adapters.create(args.task, LOCAL_TENANT, skills, weights)
        else:
            resolution = adapters.resolve(args.task, LOCAL_TENANT, "require")
    except (ProxyError, AdapterError, OSError) as exc:
        return fail(str(exc))
    finally:
        adapters.close()
    report = report_of(resolution)
    print(json.dumps(report, ensure_ascii=False) if args.json else as_text(report))
    return 0


def parse_weights(text: str) -> dict[str, float]:
    """`a=0.6,b=0.4`. Raises ValueError."""
    weights = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            weights[name.strip()] = float(share)
        except ValueError:
            raise ValueError(f"--weights: want name=number, got {part!r}") from None
    return weights


def report_of(resolution: Resolution) -> dict[str, Any]:
    stored = resolution.stored
    assert stored is not None  # "require" and create() give one or raise
    card = stored.card.to_json()
    report = {"digest": stored.digest, "source": resolution.source, "folder": str(stored.folder)}
    report |= {name: card[name] for name in ("hint", "enhanced", "q_before", "q_after", "skills", "weights")}
    if resolution.similarity is not None:
        report["similarity"] = resolution.similarity
    return report | {"timings_ms": {**card["timings_ms"], "total": resolution.adapt_ms}}


def as_text(report: dict[str, Any]) -> str:
    lines = [f"adapter   {report['digest']}  ({report['source']}, {report['timings_ms']['total']:.0f} ms)"]
    if "similarity" in report:
        lines.append(f"made for  {report['hint']}  (similarity {report['similarity']:.3f})")
    lines.append(f"enhanced  {report['enhanced']}")
    if report["q_before"] and report["q_after"]:
        lines.append(f"quality   {report['q_before']['total']:.2f} -> {report['q_after']['total']:.2f}")
    for name, share in sorted(report["weights"].items(), key=lambda item: -item[1]):
        score = report["skills"].get(name)
        lines.append(f"  {share:5.2f}  {name}" + (f"  (score {score:.2f})" if score is not None else ""))
    steps = ", ".join(f"{name} {ms:.0f}" for name, ms in report["timings_ms"].items())
    return "\n".join([*lines, f"steps     {steps} ms", f"folder    {report['folder']}"])


def fail(problem: str) -> int:
    print(f"et2l adapt: {problem}", file=sys.stderr)
    return 1
