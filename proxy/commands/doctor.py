"""`et2l doctor`: what works on this machine, what does not, and what to do about it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from proxy.config import ConfigError, load_config
from proxy.doctor import Finding, examine

COLOURS = {"ok": "\033[32m{}\033[0m", "warn": "\033[33m{}\033[0m", "fail": "\033[31m{}\033[0m"}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine and say what to do about what does not work",
        description="Checks this machine, the packages, the model and the configuration. Decoding is tried "
        "in a process of its own. Exit status 1 if a check fails; warnings do not count.",
    )
    parser.add_argument(
        "--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    findings = []
    for found in diagnose(args.config):
        findings.append(found)
        if not args.json:
            show(found)
    ok = all(found.level != "fail" for found in findings)
    if args.json:
        print(json.dumps({"ok": ok, "checks": [asdict(found) for found in findings]}, ensure_ascii=False))
    return 0 if ok else 1


def diagnose(path: Path | None) -> Iterator[Finding]:
    """The configuration first: the other checks look at what it names."""
    try:
        config = load_config(path)
    except ConfigError as exc:
        yield Finding("config", "fail", str(exc), "correct it, then run this again: the other checks need it")
        return
    yield Finding("config", "ok", f"valid; the model is {config.model.name}")
    yield from examine(config)


def show(found: Finding) -> None:
    mark = COLOURS[found.level] if sys.stdout.isatty() else "{}"
    print(f"{mark.format(f'{found.level:4}')}  {found.name:13} {found.detail}", flush=True)
    if found.remedy:
        print(f"{'':6}{'':13}   -> {found.remedy}", flush=True)
