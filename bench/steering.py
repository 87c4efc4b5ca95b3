"""Does the description steer? Loss and exact match on held-out tasks, by what the hypernetwork is told.

    python -m bench.steering --data DIR [--checkpoint DIR] [--mt-lora DIR] [--examples 96] [--breadth N] [--split dev]
                             [--hint both] [--listening SHARE] [--json]

Three sets: procedural operation-format pairs never trained on, operations never trained on, real tasks never trained on
(rows of --split). Two more, if named in --sets: trained_task, rows of --split of real tasks that were trained on;
lettered, rows of --split of the unseen ones as multiple choice, whose other options are other items' answers.
--hint only: the instruction stands in the description alone; too: in the system text as well, as served; both: one and
then the other. Arms: the bare model without and with the description as system text, the unconditional adapter
(mt-lora; or the one that --mt-lora names, of `et2l train mt-lora`), and the hypernetwork told the own description,
another task's or a gibberish one. Each arm's difference from the own description has a paired 95 % bootstrap interval
over examples.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench._numbers import difference
from proxy.config import load_config
from t2l.embedder import open_embedder
from t2l.gated import GatedHypernetwork, load_gated
from t2l.train.base import GatedLora, load_base
from t2l.train.data import Example, dev_examples, lettered_examples, real_examples
from t2l.train.measure import ARMS, steering

BATCH_TOKENS = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="default: the shipped one of model.name")
    parser.add_argument("--mt-lora", type=Path, metavar="DIR")
    parser.add_argument("--examples", type=int, default=96, help="of each set (default: %(default)s)")
    parser.add_argument("--sets", default="unseen_pair,unseen_operation,unseen_task", help="default: %(default)s")
    parser.add_argument("--breadth", type=int, default=0, help="as the checkpoint was trained; for the pairs")
    parser.add_argument("--split", choices=("dev", "test"), default="dev", help="of the real tasks")
    parser.add_argument("--hint", choices=("only", "too", "both"), default="only")
    parser.add_argument("--listening", type=float, metavar="SHARE", help="of each text's gates (default: as served)")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config = load_config(None)
    folder = args.checkpoint or Path("t2l/checkpoints") / config.model.name
    embedder = open_embedder(str(config.embedder.path or ""), config.embedder.threads)
    found = dev_examples(args.data, args.examples, args.seed, args.breadth, args.split)
    names = args.sets.split(",")
    if "trained_task" in names:
        rng = random.Random(args.seed)
        found["trained_task"] = real_examples(args.data, args.examples, rng, args.split, held_out=False)
    if "lettered" in names:
        found["lettered"] = lettered_examples(args.data, args.examples, random.Random(args.seed), args.split)
    sets = asked({name: found[name] for name in names}, args.hint)
    arms = [arm for arm in ARMS if not (args.mt_lora and arm == "mt-lora")]
    report = measure(config.model.path, load_gated(folder), embedder, sets, arms, args.listening)
    if args.mt_lora:
        plain = load_gated(args.mt_lora)
        for name, one in measure(config.model.path, plain, embedder, sets, ["mt-lora"]).items():
            report[name] |= one
    if args.json:
        print(json.dumps({"checkpoint": str(folder), "examples": args.examples, "sets": report}))
        return
    for name, scores in report.items():
        print_set(name, scores)


def asked(sets: Mapping[str, list[Example]], hint: str) -> dict[str, list[Example]]:
    """The sets as --hint wants them."""
    only = dict(sets) if hint != "too" else {}
    if hint == "only":
        return only
    too = {f"{name}, hint in the system text too": [replace(one, system=one.description) for one in examples]
           for name, examples in sets.items()}  # fmt: skip
    return only | too


def measure(
    gguf: Path, network: GatedHypernetwork, embedder, sets: Mapping[str, Sequence[Example]], arms: Sequence[str],
    listening: float | None = None,
) -> dict:  # fmt: skip
    """See `steering`. listening: share of the way from the unconditional adapter; None = as served."""
    model, tokenizer = load_base(gguf)
    lora = GatedLora.of(network)
    lora.attach(model)

    def gates_of(descriptions: Sequence[str]) -> torch.Tensor:
        return network.gates(embedder.read(list(descriptions)), listening)

    unconditional = network.unconditional_gates
    return steering(model, tokenizer, lora, gates_of, sets, BATCH_TOKENS, arms=arms, unconditional=unconditional)


def print_set(name: str, scores: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    own = scores["own"]
    print(f"\n{name.replace('_', ' ')} (n = {len(own['loss'])})")
    print(f"  {'arm':10}{'loss':>7}{'exact':>8}   loss minus own          exact minus own")
    for arm, found in scores.items():
        means = [sum(found[what]) / len(found[what]) for what in ("loss", "exact")]
        gaps = [str(difference(found[what], own[what])) if arm != "own" else "" for what in ("loss", "exact")]
        print(f"  {arm:10}{means[0]:7.3f}{means[1]:8.1%}   {gaps[0]:24}{gaps[1]}")


if __name__ == "__main__":
    main()
