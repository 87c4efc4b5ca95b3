"""`et2l cache stats|check|rebuild|clear`: rows, files and index of the adapter cache."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proxy.config import ConfigError, load_config


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("cache", help="look at the adapter cache, check it, rebuild it, clear it")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("stats", help="entries, bytes, hits, misses")
    actions.add_parser("check", help="compare rows, files and index; exit status 1 if they do not fit together")
    actions.add_parser("rebuild", help="remove what is damaged or left over, make the index anew from the rows")
    clear = actions.add_parser("clear", help="remove every adapter; feedback and counters stay")
    clear.add_argument("--yes", action="store_true", help="do not ask")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print the result as JSON")
        action.add_argument("--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from adapters.errors import AdapterError
    from proxy.wiring import StartFailed, open_configured_cache

    try:
        cache = open_configured_cache(load_config(args.config))
    except (ConfigError, StartFailed) as exc:
        return fail(str(exc))
    try:
        if args.action == "stats":
            show(asdict(cache.stats()), args.json)
        elif args.action == "check":
            report = cache.check()
            show({"ok": report.ok, **asdict(report)}, args.json)
            return 0 if report.ok else 1
        elif args.action == "rebuild":
            show({"found": asdict(cache.rebuild())}, args.json)
        else:
            if not args.yes and (args.json or not sys.stdin.isatty()):
                return fail(f"this would remove {cache.stats().adapters} adapters: say so with --yes")
            if not args.yes and input(f"Remove {cache.stats().adapters} adapters? [y/N] ").lower() != "y":
                return 1
            show({"removed": cache.clear()}, args.json)
    except (AdapterError, OSError) as exc:
        return fail(str(exc))
    finally:
        cache.close()
    return 0


def show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:14} {', '.join(map(str, value)) or 'none' if isinstance(value, list | tuple) else value}")


def fail(problem: str) -> int:
    print(f"et2l cache: {problem}", file=sys.stderr)
    return 1
