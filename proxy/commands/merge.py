"""`et2l merge`: one or several adapters merged into a quantised GGUF file, with proof that they are in it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.commands.adapt import parse_weights
from proxy.config import Config, ConfigError, load_config

if TYPE_CHECKING:
    from adapters.base_files import BaseFiles
    from adapters.build_report import MergeReport
    from proxy.adapter_source import Weighted


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "merge",
        help="merge an adapter into a quantised GGUF file",
        description="Add an adapter's change to the weights of a GGUF model, in a file any llama.cpp program loads. "
        "The changed tensors are stored wide enough to hold the change; every other byte is the base model's. "
        "The build is compared with the attached adapter before it gets its name, and refused if it lost it.",
    )
    parser.add_argument(
        "adapters",
        nargs="+",
        metavar="ADAPTER",
        help="digest in the store (or a unique beginning of it), PEFT folder, or GGUF LoRA file",
    )
    parser.add_argument("--base", type=Path, help="GGUF model to merge into (default: model.path)")
    parser.add_argument("--weights", help="a=0.6,b=0.4: share of each adapter, by the name given (default: equal)")
    parser.add_argument(
        "--store",
        choices=("q8_0", "same", "f16", "auto"),
        help="type of the changed tensors; same: their own; auto: per tensor the smallest that keeps the change "
        "(default: builds.store)",
    )
    parser.add_argument("-o", "--output", type=Path, help="file to write (default: in the folder builds.path)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        config = load_config(args.config)
        weights = parse_weights(args.weights) if args.weights else {}
    except (ConfigError, ValueError) as exc:
        return fail(str(exc))
    from adapters.base_files import BaseFiles
    from adapters.build_report import table
    from adapters.builds import plot_path, record_path
    from adapters.errors import AdapterError, BuildRefused
    from proxy.adapter_source import find_adapter, weighted

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as after Ctrl-C, nothing half-written is left
    store = args.store or config.builds.store
    try:
        base = BaseFiles.read(args.base or config.model.path)
        named = [find_adapter(name, base.model, config.cache.store_path) for name in args.adapters]
        report = build(base, weighted(named, weights), store, args.output, config)
    except BuildRefused as exc:
        return fail(f"{exc.details}\nrefused: {exc}" if exc.details else f"refused: {exc}", exc, args.json)
    except (AdapterError, OSError, ValueError) as exc:
        return fail(str(exc), exc, args.json)
    if args.json:
        told = {name: value for name, value in report.to_json().items() if name != "tensors"}
        print(json.dumps({**told, "record": str(record_path(report.path)), "plot": str(plot_path(report.path))}))
        return 0
    print(table(report.tensors))
    print(
        f"\nKL {report.probe.kl:.4f} nats per token against the attached adapter (leaving it out: "
        f"{report.probe.base_kl:.4f}), same most likely token {report.probe.top1:.1%} of {report.probe.tokens}"
    )
    print(f"{report.path}: {report.bytes / 1e6:.1f} MB in {report.seconds:.1f} s")
    print(f"{record_path(report.path)}, {plot_path(report.path)}: the numbers above and their plot over the layers")
    return 0


def build(base: BaseFiles, made: Weighted, store: str, output: Path | None, config: Config) -> MergeReport:
    """Merge, verify and write the record: to `output`, or into the builds folder and its budget."""
    from adapters.builds import Builds, write_record
    from adapters.gguf_file import write_gguf
    from adapters.merge import merge, planned_bytes
    from proxy.probe import verify

    if output is None:
        builds = Builds(config.builds.path, config.builds.max_bytes)
        output = builds.path(made.digest, store)
        builds.make_room(planned_bytes(base, made.adapter, store))
    with tempfile.TemporaryDirectory(prefix="et2l-merge-") as folder:
        attached = Path(folder) / "adapter.gguf"
        write_gguf(made.adapter, attached, base.model)
        report = merge(
            base,
            made.adapter,
            output,
            store=store,
            digest=made.digest,
            parents=made.parents,
            verify=lambda file: verify(base.model.path, attached, file),
            progress=progress_line() if sys.stderr.isatty() else None,
        )
    report = replace(report, path=report.path.absolute())
    write_record(report)
    return report


def progress_line() -> Callable[[int, int], None]:
    """Redraws one line on the terminal; leaves it empty at the end."""

    def show(done: int, total: int) -> None:
        text = f"merging {done}/{total} tensors" if done < total else "comparing with the attached adapter"
        print(f"\r{text:<40}", end="", file=sys.stderr, flush=True)

    return show


def fail(problem: str, exc: Exception | None = None, as_json: bool = False) -> int:
    """1, having said why; with --json also as {"error": {"type", "message"}}, for programs."""
    print(f"et2l merge: {problem}", file=sys.stderr)
    if as_json and exc is not None:
        print(json.dumps({"error": {"type": type(exc).__name__, "message": str(exc)}}))
    return 1
