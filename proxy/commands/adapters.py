"""`et2l adapters list|show|export|delete`: what is in the adapter store."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.config import ConfigError, load_config

if TYPE_CHECKING:
    from adapters.store import StoredAdapter


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("adapters", help="list, show, export and delete adapters")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="the adapters in the store, the most recently used first")
    show = actions.add_parser("show", help="one adapter's card: task, skills, weights, quality, timings")
    export = actions.add_parser(
        "export",
        help="copy an adapter to where other programs can use it",
        description="A PEFT folder loads in peft and vLLM, a GGUF file in llama.cpp and Ollama.",
    )
    export.add_argument("--format", choices=("peft", "gguf"), default="peft", help="default: peft")
    export.add_argument("-o", "--output", type=Path, required=True, help="folder (peft) or file (gguf) to write")
    delete = actions.add_parser("delete", help="remove an adapter and the tasks that lead to it")
    for action in (show, export, delete):
        action.add_argument("digest", help="the adapter's digest, or a beginning of it that is unique")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print the result as JSON")
        action.add_argument("--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from adapters.errors import AdapterCorrupt, AdapterError, AdapterNotFound
    from proxy.wiring import StartFailed, open_configured_cache

    try:
        cache = open_configured_cache(load_config(args.config))
    except (ConfigError, StartFailed) as exc:
        return fail(str(exc))
    try:
        if args.action == "list":
            found = []
            for row in cache.adapters():
                try:
                    found.append(cache.get(row.digest))
                except AdapterNotFound:  # deleted meanwhile
                    continue
                except AdapterCorrupt as exc:
                    fail(f"{row.digest} is left out: {exc}")
            print(json.dumps({"adapters": [describe(one) for one in found]}) if args.json else table(found))
            return 0
        digest = unique([row.digest for row in cache.adapters()], args.digest)
        if args.action == "delete":  # also of one that cannot be read
            cache.delete(digest)
            print(json.dumps({"digest": digest, "deleted": True}) if args.json else f"deleted {digest}")
            return 0
        stored = cache.get(digest)
        if args.action == "show":
            print(json.dumps(describe(stored), ensure_ascii=False, indent=None if args.json else 2))
        else:
            place = export(stored, args.format, args.output)
            print(json.dumps({"digest": digest, "path": str(place)}) if args.json else place)
    except (AdapterError, LookupError, OSError) as exc:
        return fail(str(exc))
    finally:
        cache.close()
    return 0


def unique(digests: list[str], beginning: str) -> str:
    """Raises LookupError."""
    found = [digest for digest in digests if digest.startswith(beginning)]
    if len(found) != 1:
        raise LookupError(f"{len(found) or 'no'} adapters begin with {beginning!r}")
    return found[0]


def export(stored: StoredAdapter, form: str, output: Path) -> Path:
    """Raises OSError (FileExistsError where something is there already)."""
    if output.exists():
        raise FileExistsError(f"{output} exists already")
    if form == "gguf":
        shutil.copyfile(stored.gguf_path, output)
    else:
        shutil.copytree(stored.folder, output, ignore=shutil.ignore_patterns("*.gguf"))
    return output


def describe(stored: StoredAdapter) -> dict[str, Any]:
    from proxy.adaptation import adapter_json

    return {**adapter_json(stored), "folder": str(stored.folder)}


def table(found: list[StoredAdapter]) -> str:
    lines = []
    for one in found:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.card.created))
        weights = " ".join(f"{name}={share:.2f}" for name, share in one.card.weights.items())
        lines.append(f"{one.digest}  {made}  {one.size_bytes / 1e6:6.1f} MB  {one.card.hint[:60]!r}  {weights}")
    return "\n".join(lines) or "no adapters yet"


def fail(problem: str) -> int:
    print(f"et2l adapters: {problem}", file=sys.stderr)
    return 1
