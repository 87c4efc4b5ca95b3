"""`et2l eval`: measure adapters against their baselines on a folder of tasks, through the engine that
serves."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.config import Config, ConfigError, load_config

if TYPE_CHECKING:
    from adapters.gguf_file import BaseModel
    from adapters.lora import LoraAdapter
    from proxy.engine.api import EngineApi
    from t2l.evaluate.arms import Sources
    from t2l.evaluate.backend import Backend

DEFAULT_ARMS = "base,base-desc,t2l"
DESCRIPTION = """\
Ask the tasks of a folder under several arms, score the answers by each task's metric, and compare the arms
with paired bootstrap intervals. DIR holds task_descriptions.jsonl[.gz] (task, descriptions, metric) and
instance files *.jsonl[.gz] (task, prompt, answer; split, choices, meta where there are any).
"""
EPILOG = """\
Results go to --out as they come (items.jsonl); a run that was stopped goes on when started again. At the end
it holds summary.json, summary.md and summary.png too. Programs that the model writes run in a locked child
process.

examples:
  et2l eval --data ../data --tasks gsm8k,mbpp --arms base,t2l --limit 50
  et2l eval --data ../data --tasks 'bbh_*' --arms base,base-desc,t2l,t2l-other --limit 20 --hint-only --json
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="measure adapters against their baselines",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the tasks")
    parser.add_argument(
        "--tasks", type=names, default=(), metavar="A,B", help="names or patterns (default: all)"
    )
    parser.add_argument(
        "--arms", type=names, default=names(DEFAULT_ARMS), metavar="A,B",
        help="of base, base-desc, 3-shot, mt-lora, mt-lora-desc, t2l, t2l-other, t2l-gibberish, oracle, et2l "
        f"(default: {DEFAULT_ARMS})",
    )  # fmt: skip
    parser.add_argument("--limit", type=positive, metavar="N", help="items a task (default: all)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of items, descriptions, examples (default: 0)"
    )
    parser.add_argument("--split", choices=("test", "dev", "train"), default="test")
    parser.add_argument(
        "--hint-only", action="store_true",
        help="leave the instruction out of the prompt, where the data says where it ends (meta.input_start)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("results/eval"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--backend", choices=("engine", "torch"), default="engine",
        help="engine: as served; torch: transformers on the dequantised file, slow, to cross-check",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", type=Path, metavar="DIR",
        help="hypernetwork checkpoint (default: hypernetwork.path of the configuration)",
    )  # fmt: skip
    parser.add_argument("--oracle", type=Path, metavar="DIR", help="a PEFT folder for each task, DIR/<task>")
    parser.add_argument(
        "--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=run)


def names(text: str) -> tuple[str, ...]:
    """Each once. Raises ArgumentTypeError where there is none."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"want names with commas between, got {text!r}")
    return found


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"want at least 1, got {number}")
    return number


def run(args: argparse.Namespace) -> int:
    heed_signals()
    try:
        report = measure(args, load_config(args.config))
    except told_errors() as exc:
        print(f"et2l eval: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from {args.out}", file=sys.stderr)
        return 130
    from t2l.evaluate.report import table

    if args.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        plot = ", summary.png the plot" if (args.out / "summary.png").exists() else ""
        print(f"{table(report)}\n\n{args.out}/summary.md has every task{plot}.")
    return 0


def heed_signals() -> None:
    """SIGINT and SIGTERM raise KeyboardInterrupt, also where a shell has set a background job to ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def told_errors() -> tuple[type[Exception], ...]:
    """What a command tells in a line: files, settings or models that are not as they must be."""
    # torch takes seconds to import; `et2l --help` should not wait for it.
    from adapters.errors import AdapterError
    from proxy.wiring import StartFailed
    from t2l.composer import ComposerError
    from t2l.embedder import EmbedderError
    from t2l.evaluate.arms import ArmUnavailable
    from t2l.evaluate.data import DataError
    from t2l.hypernetwork import CheckpointError
    from t2l.skills import SkillsError

    return (DataError, ArmUnavailable, CheckpointError, AdapterError, EmbedderError, SkillsError, ComposerError,
            StartFailed, ConfigError, OSError)  # fmt: skip


def measure(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    """The summary. Raises `told_errors`."""
    from t2l.evaluate import report
    from t2l.evaluate.arms import Arms
    from t2l.evaluate.data import EvalData
    from t2l.evaluate.progress import Progress
    from t2l.evaluate.run import Settings, evaluate

    data = EvalData(args.data)
    tasks = tuple(data.tasks(args.tasks, args.split))
    base = open_base(config)
    if args.checkpoint:  # its chat template counts, too
        config = replace(config, hypernetwork=replace(config.hypernetwork, path=args.checkpoint))
    # The rewriter's model is the one under test, loaded by the time a description is read.
    engine = (lambda: backend.engine) if args.backend == "engine" else None
    arms = Arms(data, tasks, sources(args, config, base, engine), args.seed)
    arms.check(args.arms)  # before the model is loaded
    settings = Settings(args.arms, tasks, args.split, args.limit, args.seed, args.hint_only)
    with ExitStack() as stack:
        backend = open_backend(args.backend, config, base, stack)
        found = evaluate(data, backend, arms, settings, args.out, Progress)
    return report.write(found, args.out)


def open_base(config: Config) -> BaseModel:
    """Raises StartFailed and BaseModelCorrupt."""
    from adapters.gguf_file import BaseModel
    from proxy.wiring import check_model

    check_model(config)
    return BaseModel.read(config.model.path)


def open_backend(kind: str, config: Config, base: BaseModel, stack: ExitStack) -> Backend:
    """What it opens is closed with `stack`."""
    from proxy.wiring import chat_template_of, chosen_device, open_engine

    if kind == "torch":
        from t2l.evaluate.torch_backend import TorchBackend

        return TorchBackend(config.model.path, chosen_device(config.adapt.device), chat_template_of(config))
    from proxy.eval_backend import EngineBackend

    engine = open_engine(config, lambda text: print(text, file=sys.stderr))
    stack.callback(engine.close)
    backend = EngineBackend(engine, base, config.engine.max_sequences)
    stack.callback(backend.close)
    return backend


def sources(
    args: argparse.Namespace, config: Config, base: BaseModel, engine: Callable[[], EngineApi] | None
) -> Sources:
    """Only what the arms need is opened. engine: the local model, where one will be loaded (enhancer.llm)."""
    from t2l.evaluate.arms import Sources

    oracle = oracle_of(args.oracle, base) if args.oracle else None
    needed = set(args.arms) & {"mt-lora", "mt-lora-desc", "t2l", "t2l-other", "t2l-gibberish", "et2l"}
    if not needed:
        return Sources(oracle=oracle)
    from proxy.wiring import CHECKPOINTS, chosen_device
    from t2l.checkpoint import open_hypernetwork, open_text_embedder, require_base

    folder = config.hypernetwork.path or CHECKPOINTS / config.model.name
    device = chosen_device(config.adapt.device)
    network = open_hypernetwork(folder, base.digest, device)
    require_base(network, base.digest, folder)
    if needed <= {"mt-lora", "mt-lora-desc"}:
        return Sources(multi_task=network.multi_task, oracle=oracle)
    wanted = config.embedder
    embedder = open_text_embedder(
        network, str(wanted.path or ""), wanted.threads, device, wanted.trust_remote_code
    )

    def generate(text: str) -> LoraAdapter:
        return network.generate(embedder.read([text]))[0]

    pipeline: Callable[[str], LoraAdapter | None] | None = None
    if "et2l" in needed:
        from proxy.upstream import open_rewriter
        from t2l.pipeline import NoSkill, open_et2l

        rewrite = open_rewriter(config.enhancer, engine)
        et2l = open_et2l(
            embedder, network, skills_path=config.decomposer.skills, alpha=config.decomposer.alpha,
            composer_folder=folder, composer_mode=config.composer.mode,
            complete=rewrite and cache(rewrite),  # an adapter that is made again must be the same
        )  # fmt: skip

        def pipeline(text: str) -> LoraAdapter | None:
            made = et2l.adapt(text)
            return None if isinstance(made, NoSkill) else made.adapter

    return Sources(generate, network.multi_task, oracle, pipeline, hint_stays=not config.hint.strip)


def oracle_of(folder: Path, base: BaseModel) -> Callable[[str], LoraAdapter]:
    from adapters.peft_file import read_peft
    from t2l.evaluate.arms import ArmUnavailable

    def oracle(task: str) -> LoraAdapter:
        if not (folder / task).is_dir():
            raise ArmUnavailable(f"arm oracle needs a PEFT folder {folder / task}")
        return read_peft(folder / task, base.digest)

    return oracle
