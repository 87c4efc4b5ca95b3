"""`et2l export`: take an adapter elsewhere, as a PEFT folder, a GGUF LoRA or a merged GGUF."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from proxy.config import ConfigError, load_config


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "export",
        help="take an adapter elsewhere: PEFT folder, GGUF LoRA or merged GGUF",
        description="Write a folder with the adapter and a README: peft loads in peft and vLLM, gguf in llama.cpp "
        "and Ollama beside the base model, merged in both without it.",
    )
    parser.add_argument("adapter", help="digest in the store (or a unique beginning of one), PEFT folder, GGUF LoRA")
    parser.add_argument("--format", choices=("peft", "gguf", "merged"), default="peft", help="default: peft")
    parser.add_argument(
        "--rank",
        type=int,
        help="recompress (or pad) to this rank (default: for peft the next of 8, 16, 32, 64 ..., which vLLM wants)",
    )
    parser.add_argument("--base", type=Path, help="GGUF model the adapter is for (default: model.path)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write; must not exist")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        config = load_config(args.config)
    except ConfigError as exc:
        return fail(str(exc))
    from adapters.base_files import BaseFiles
    from adapters.errors import AdapterError
    from proxy.adapter_source import Weighted, find_adapter
    from proxy.commands.merge import build
    from proxy.take_away import export

    try:
        base = BaseFiles.read(args.base or config.model.path)
        named = find_adapter(args.adapter, base.model, config.cache.store_path)

        def merge(adapter, path):
            made = Weighted(adapter, named.digest, {named.digest: 1.0})
            return build(base, made, config.builds.store, path, config)

        done = export(named, base, args.output, args.format, args.rank, merge)
    except (AdapterError, OSError, ValueError) as exc:
        return fail(str(exc))
    if args.json:
        print(json.dumps({**asdict(done), "folder": str(done.folder), "digest": named.digest}))
    else:
        kept = f", {done.retained_energy:.1%} of the change kept" if done.retained_energy < 1 else ""
        print(f"{done.folder}: {', '.join(done.files)} (rank {done.rank}{kept})")
    return 0


def fail(problem: str) -> int:
    print(f"et2l export: {problem}", file=sys.stderr)
    return 1
