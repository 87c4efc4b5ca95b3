"""`et2l train`: train adapters for the configured base model on its own dequantised weights, and calibrate them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.commands.eval import heed_signals, names, open_backend, open_base, told_errors
from proxy.config import Config, load_config

if TYPE_CHECKING:
    from t2l.embedder import TextEmbedder
    from t2l.gated import GatedHypernetwork

FAMILIES = {"hypernet": "gated", "mt-lora": "plain", "t2l-style": "generated"}
SAVED, UNCHANGED = " and saved; the same command goes on from here", "; the checkpoint is as it was"
"""What a stopped command has left behind."""
RESUMED = """\
The run folder keeps settings.json, log.jsonl (a line a step, development scores inside) and state.pt. Ctrl-C and
SIGTERM save; the same command goes on where it stopped, also with more --steps. --plot draws the log.
"""
EXPORTED = """
--export writes the checkpoint the server loads (hypernetwork.path in config.toml).

example:
  et2l train hypernet --data ../data --run runs/first --steps 2000 --export runs/first/checkpoint
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("train", help="train the multi-task LoRA or the hypernetwork")
    parser.set_defaults(run=run)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, about in (
        ("hypernet", "a shared LoRA and the gates by which a task description steers it"),
        ("mt-lora", "one multi-task LoRA that sees no description: the baseline"),
        ("t2l-style", "a network that generates q and v adapters whole (Text-to-LoRA), to compare with; not served"),
    ):
        one = kinds.add_parser(
            kind, help=about, description=about, epilog=RESUMED + EXPORTED * (kind != "t2l-style"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        one.set_defaults(work=run_training, stopped=SAVED, start=None, export=None)
        one.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of tasks (docs/training.md)")
        one.add_argument("--run", dest="run_folder", type=Path, default=Path("runs") / kind, metavar="DIR",
                         help="(default: %(default)s)")  # fmt: skip
        if kind != "t2l-style":
            one.add_argument("--from", dest="start", type=Path, metavar="DIR",
                             help="begin at this checkpoint's weights")  # fmt: skip
        one.add_argument("--steps", type=int, default=1000, help="optimiser steps in all (default: %(default)s)")
        one.add_argument("--batch-tokens", type=int, default=640, help="padded tokens a step (default: %(default)s)")
        one.add_argument("--rank", type=int, default=16, help="(default: %(default)s)")
        one.add_argument("--first-layer", type=int, default=8, help="lowest adapted layer (default: %(default)s)")
        one.add_argument("--procedural", type=share, default=0.5, metavar="SHARE",
                         help="share of examples from procedural families (default: %(default)s)")  # fmt: skip
        one.add_argument("--breadth", type=int, default=0, metavar="N",
                         help="only the first N operations of each kind of procedural input; 0 = all")  # fmt: skip
        one.add_argument("--replies", metavar="FILE", default="", help="mix in these replies (`et2l train replies`)")
        one.add_argument("--replies-share", type=share, default=0.1, metavar="SHARE", help="(default: %(default)s)")
        one.add_argument("--lettered-share", type=share, default=0.15, metavar="SHARE",
                         help="real examples turned into multiple choice (default: %(default)s)")  # fmt: skip
        one.add_argument("--served-share", type=share, default=0.0, metavar="SHARE",
                         help="examples with the description in the system text too, as served, whatever else "
                              "(default: %(default)s)")  # fmt: skip
        one.add_argument("--decay", type=share, default=0.2, metavar="SHARE",
                         help="of the steps, the last, over which the rate falls (default: %(default)s)")  # fmt: skip
        if kind == "hypernet":
            one.add_argument("--unconditional", type=Path, metavar="DIR", help="PEFT adapter for texts that the "
                             "network does not know (default: its mean)")  # fmt: skip
        one.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
        one.add_argument("--eval-every", type=int, default=150, metavar="STEPS",
                         help="0 = never measure (default: %(default)s)")  # fmt: skip
        one.add_argument("--eval-examples", type=int, default=48, metavar="N", help="(default: %(default)s)")
        one.add_argument("--device", default="auto", help="auto | cpu | cuda (default: auto)")
        one.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = torch's own choice")
        one.add_argument("--config", type=Path, help="config.toml (default: as `et2l serve` finds it)")
        if kind != "t2l-style":
            one.add_argument("--export", type=Path, metavar="DIR", help="write the checkpoint there at the end")
        one.add_argument("--plot", type=Path, metavar="FILE.png", help="draw loss and development scores")
        one.add_argument("--json", action="store_true", help="print the last record as JSON")
    about = "train one LoRA on each task itself: what `et2l eval --oracle DIR` measures adapters against"
    one = kinds.add_parser("oracle", help="one LoRA on each task itself", description=about)
    one.set_defaults(work=run_oracles, stopped=SAVED)
    one.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of tasks (docs/evaluation.md)")
    one.add_argument("--tasks", type=names, required=True, metavar="A,B", help="names or shell patterns; train rows")
    one.add_argument("--hint-only", action="store_true", help="no instruction in the prompt, as in `et2l eval`")
    one.add_argument("--from", dest="start", type=Path, metavar="DIR",
                     help="begin at this checkpoint's unconditional adapter (default: at nothing)")  # fmt: skip
    one.add_argument("--steps", type=int, default=60, help="of each task (default: %(default)s)")
    one.add_argument("--batch-tokens", type=int, default=640, help="padded tokens a step (default: %(default)s)")
    one.add_argument("--rank", type=int, default=16, help="(default: %(default)s)")
    one.add_argument("--first-layer", type=int, default=8, help="lowest adapted layer (default: %(default)s)")
    one.add_argument("--run", dest="run_folder", type=Path, default=Path("runs/oracle"), metavar="DIR",
                     help="(default: %(default)s)")  # fmt: skip
    one.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    one.add_argument("--device", default="auto", help="auto | cpu | cuda (default: auto)")
    one.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = torch's own choice")
    one.add_argument("--config", type=Path, help="config.toml (default: as `et2l serve` finds it)")
    one.add_argument("--export", type=Path, required=True, metavar="DIR", help="PEFT folders DIR/<task>; one that is "
                     "there is left as it is")  # fmt: skip
    about = "collect the base model's own good replies, to keep in the training mix what it can do"
    one = kinds.add_parser("replies", help="collect replies of the base model to keep in the mix", description=about)
    one.set_defaults(work=run_replies, stopped="")
    one.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of tasks (docs/training.md)")
    one.add_argument("--open", type=names, required=True, metavar="A,B", help="tasks of open requests")
    one.add_argument("--worked", type=names, required=True, metavar="A,B", help="tasks of word problems (numeric)")
    one.add_argument("--count", type=int, default=200, help="requests asked; wrong replies are left out "
                     "(default: %(default)s)")  # fmt: skip
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="JSON Lines; kept on Ctrl-C")
    one.add_argument("--config", type=Path, help="config.toml (default: as `et2l serve` finds it)")
    about = "choose which descriptions a checkpoint follows, and which get its unconditional adapter"
    one = kinds.add_parser("listening", help="calibrate how far a checkpoint listens", description=about)
    one.set_defaults(work=run_listening, stopped=UNCHANGED)
    _add_checkpoint(one, "listening.safetensors is written there")
    one.add_argument("--examples", type=int, default=45, help="of each set (default: %(default)s)")
    one.add_argument("--breadth", type=int, default=0, metavar="N", help="as the checkpoint was trained")
    one.add_argument("--device", default="auto", help="auto | cpu | cuda (default: auto)")
    about = "choose how strongly each skill's adapter may act, on development rows of tasks that were not trained"
    one = kinds.add_parser("strengths", help="calibrate a checkpoint's strength per skill", description=about)
    one.set_defaults(work=run_strengths, stopped=UNCHANGED)
    _add_checkpoint(one, "its config.json is rewritten")
    one.add_argument("--examples", type=int, default=32, help="of each skill (default: %(default)s)")
    one.add_argument("--device", default="auto", help="auto | cpu | cuda (default: auto)")
    about = "learn how a checkpoint's skill adapters and the task's own are weighed, on development rows"
    one = kinds.add_parser("composer", help="train a checkpoint's composer", description=about)
    one.set_defaults(work=run_composer, stopped=UNCHANGED)
    _add_checkpoint(one, "composer.safetensors is written there if it helps")
    one.add_argument("--steps", type=int, default=60, help="(default: %(default)s)")
    one.add_argument("--batch", type=int, default=6, help="examples a step (default: %(default)s)")
    one.add_argument("--per-task", type=int, default=6, help="examples of each task (default: %(default)s)")


def _add_checkpoint(one: argparse.ArgumentParser, about: str) -> None:
    """What all commands have that work on a finished checkpoint. about: what they do to it."""
    one.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of tasks (docs/training.md)")
    one.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help=about)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = torch's own choice")
    one.add_argument("--config", type=Path, help="config.toml (default: as `et2l serve` finds it)")
    one.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    heed_signals()
    try:
        return args.work(args)
    except told_errors() as exc:
        print(f"et2l train: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped{args.stopped}", file=sys.stderr)
        return 130


def share(text: str) -> float:
    """An argument from 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share, want 0 to 1")
    return number


def run_training(args: argparse.Namespace) -> int:
    # torch and transformers take seconds to import; `et2l --help` should not wait for them.
    from adapters.peft_file import read_peft
    from t2l.embedder import open_embedder
    from t2l.gated import check_unconditional
    from t2l.train.hypernet import Trainer, TrainSettings
    from t2l.train.plot import plot_log

    if args.kind == "hypernet" and args.unconditional and not args.export:
        print("et2l train: --unconditional is for the checkpoint that --export DIR writes", file=sys.stderr)
        return 2
    device = _device(args)
    config = load_config(args.config)
    settings = TrainSettings(
        steps=args.steps, batch_tokens=args.batch_tokens, rank=args.rank, first_layer=args.first_layer,
        procedural_share=args.procedural, breadth=args.breadth, replies=args.replies,
        replies_share=args.replies_share, lettered_share=args.lettered_share, served_share=args.served_share,
        family=FAMILIES[args.kind], decay_share=args.decay, seed=args.seed, eval_every=args.eval_every,
        eval_examples=args.eval_examples,
    )  # fmt: skip
    try:
        base = open_base(config)
        embedder = open_embedder(str(config.embedder.path or ""), config.embedder.threads)
        print(f"training on {device}; run folder {args.run_folder}", file=sys.stderr)
        trainer = Trainer(
            settings, config.model.path, config.model.name, base.digest, args.data, args.run_folder, embedder, device
        )
        unconditional = None
        if args.kind == "hypernet" and args.unconditional:
            unconditional = read_peft(args.unconditional, base.digest)
            check_unconditional(unconditional, trainer.shapes, args.unconditional)
        if args.start:
            trainer.start_from(args.start)
        last = trainer.fit()
    except ValueError as exc:
        print(f"et2l train: {exc}", file=sys.stderr)
        return 1
    if args.export:
        notes = {"command": " ".join(["et2l", *sys.argv[1:]]), "dev": last.get("dev", {})}
        written = trainer.export(args.export, notes, unconditional)
        told = f"checkpoint written to {args.export}" if written else f"{args.export} has these weights: left as it is"
        print(told, file=sys.stderr)
    if args.plot:
        plot_log(args.run_folder / "log.jsonl", args.plot)
    if args.json:
        print(json.dumps(last | {"settings": dataclasses.asdict(settings)}))
    return 0


def run_oracles(args: argparse.Namespace) -> int:
    from t2l.embedder import open_embedder
    from t2l.evaluate.data import EvalData
    from t2l.train.hypernet import Trainer, TrainSettings
    from t2l.train.oracle import DECAY, WARMUP, OneTask, write_oracle

    device, config = _device(args), load_config(args.config)
    settings = TrainSettings(
        steps=args.steps, batch_tokens=args.batch_tokens, rank=args.rank, first_layer=args.first_layer, family="plain",
        warmup=WARMUP, decay_share=DECAY, seed=args.seed, eval_every=0,
    )  # fmt: skip
    data, base = EvalData(args.data), open_base(config)
    embedder = open_embedder(str(config.embedder.path or ""), config.embedder.threads)
    tasks = data.tasks(args.tasks, "train")
    for number, task in enumerate(tasks, start=1):
        folder = args.export / task
        if folder.exists():
            print(f"{number}/{len(tasks)} {task}: {folder} is there and left as it is", file=sys.stderr)
            continue
        print(f"{number}/{len(tasks)} {task}", file=sys.stderr)
        trainer = Trainer(
            settings, config.model.path, config.model.name, base.digest, args.data, args.run_folder / task,
            embedder, device, OneTask(data, task, args.hint_only, args.seed),
        )  # fmt: skip
        if args.start:
            trainer.start_from(args.start)
        trainer.fit()
        write_oracle(trainer.mean_adapter(), folder, config.model.name)
    return 0


def run_replies(args: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from t2l.train.replies import collect, write_replies

    config = load_config(args.config)
    kept: list = []
    args.output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            backend = open_backend("engine", config, open_base(config), stack)
            for reply in collect(backend, args.data, args.open, args.worked, args.count, args.seed):
                kept.append(reply)
    finally:
        if kept:  # else what is there stays
            write_replies(kept, args.output)
        print(f"{len(kept)} replies kept in {args.output}" if kept else "no replies kept", file=sys.stderr)
    return 0


def run_strengths(args: argparse.Namespace) -> int:
    from t2l.decomposer import Decomposer
    from t2l.enhancer import Enhancer
    from t2l.exemplars import Exemplars
    from t2l.skills import load_skills
    from t2l.train.strengths import STRENGTHS, calibrate, collect, write_strengths

    device = _device(args)
    config = load_config(args.config)
    network, embedder = _open_checkpoint(args, config, device)
    skills = load_skills(config.decomposer.skills)
    decomposer = Decomposer(skills, embedder, Exemplars(skills, embedder), config.decomposer.alpha)
    candidates = collect(args.data, Enhancer(skills), decomposer, args.examples, args.seed)
    if not candidates:
        print(f"et2l train: {args.data} has no development rows of tasks outside training", file=sys.stderr)
        return 1
    found = calibrate(network, config.model.path, embedder, candidates, device)
    write_strengths(args.checkpoint, found)
    if args.json:
        print(json.dumps({skill: dataclasses.asdict(one) for skill, one in found.items()}))
        return 0
    heads = "".join(f"{strength:>8}" for strength in STRENGTHS)
    print(f"{'loss at strength':24}{'n':>5}{'tasks':>7}{heads}  chosen")
    for skill, one in found.items():
        losses = "".join(f"{loss:8.3f}" for loss in one.losses)
        print(f"{skill:24}{one.examples:5}{one.tasks:7}{losses}{one.strength:8}")
    return 0


def run_listening(args: argparse.Namespace) -> int:
    from t2l.listening import save_listening
    from t2l.train.listening import LOWS, SHARES, calibrated, learn_from, listening_sets, measure

    device = _device(args)
    config = load_config(args.config)
    network, embedder = _open_checkpoint(args, config, device)
    sets = listening_sets(args.data, args.examples, args.seed, args.breadth)
    classifier = learn_from(args.data, embedder, args.breadth, args.seed)
    found = measure(network, classifier, config.model.path, embedder, sets, args.seed, device)
    save_listening(calibrated(classifier, found), args.checkpoint)
    if args.json:
        tables = {name: {"share": found.at_share(name), "low": found.at_low(name)} for name in found.losses}
        told = {"chosen": found.chosen, "shares": SHARES, "lows": LOWS, "losses": tables}
        print(json.dumps(told | {"prompts_followed": found.prompts_followed()}))
        return 0
    for title, heads, row in (("share kept", SHARES, found.at_share), ("listening from", LOWS, found.at_low)):
        print(f"{'loss, ' + title:24}" + "".join(f"{head:>8}" for head in heads))
        for name in found.losses:
            print(f"{name:24}" + "".join(f"{loss:8.3f}" for loss in row(name)))
    print(f"{'prompts followed':24}" + "".join(f"{share:8.3f}" for share in found.prompts_followed()))
    print(f"chosen: from a logit of {found.chosen} on")
    return 0


def run_composer(args: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from t2l.composer import ComposerSettings, save_network
    from t2l.decomposer import Decomposer
    from t2l.enhancer import Enhancer
    from t2l.exemplars import Exemplars
    from t2l.skills import load_skills
    from t2l.train.composer import collect, train_composer

    if args.threads:
        torch.set_num_threads(args.threads)
    config, settings = load_config(args.config), ComposerSettings()
    network, embedder = _open_checkpoint(args, config)
    skills = load_skills(config.decomposer.skills)
    exemplars = Exemplars(skills, embedder)
    decomposer = Decomposer(skills, embedder, exemplars, config.decomposer.alpha)
    fit, choice = collect(
        args.data, network, embedder, Enhancer(skills), decomposer, exemplars.skill_vectors(), args.per_task,
        args.seed, settings,
    )  # fmt: skip
    if not fit or not choice:
        print(f"et2l train: {args.data} has development rows of too few tasks outside training", file=sys.stderr)
        return 1
    with tqdm(total=args.steps, unit="step") as bar:
        found = train_composer(
            network, config.model.path, fit, choice, settings, args.steps, args.batch, args.seed,
            lambda _, loss: bar.set_postfix(loss=f"{loss:.2f}", refresh=False) or bar.update(),
        )  # fmt: skip
    if found.network is not None:
        learnt = dataclasses.replace(settings, task_share=found.task_share)
        save_network(found.network, learnt, args.checkpoint)
    told = {"untrained": found.untrained, "trained": found.trained, "task_share": found.task_share,
            "examples": found.examples, "written": found.network is not None}  # fmt: skip
    if args.json:
        print(json.dumps(told))
    else:
        print(f"loss on {found.examples} examples of tasks kept for choosing: untrained {found.untrained:.4f}, trained "
              f"{found.trained:.4f} (task share {found.task_share:.2f}); "
              + ("written" if found.network else "not better, nothing written"))  # fmt: skip
    return 0


def _open_checkpoint(
    args: argparse.Namespace, config: Config, device: str = "cpu"
) -> tuple[GatedHypernetwork, TextEmbedder]:
    """The checkpoint to calibrate, and the embedder; what is chosen holds for the model it was trained for alone."""
    from t2l.checkpoint import open_text_embedder, require_base
    from t2l.gated import load_gated

    network = load_gated(args.checkpoint, device)
    require_base(network, open_base(config).digest, args.checkpoint)
    return network, open_text_embedder(network, str(config.embedder.path or ""), config.embedder.threads)


def _device(args: argparse.Namespace) -> str:
    import torch  # takes seconds to import; `et2l --help` should not wait for it

    if args.threads:
        torch.set_num_threads(args.threads)
    return ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
