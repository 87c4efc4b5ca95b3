"""What goes into an adapter: the task's words as they are or enhanced, alone or mixed with its skills' adapters.

    python -m bench.composition --data DIR [--checkpoint DIR] [--examples 96] [--breadth N]

Development loss in nats per answer token, at strength 1, of held-out procedural pairs (the instruction in the
description alone) and of held-out real tasks (alone, and as served: the hint in the system text, too). Differences from
the first arm have paired 95 % bootstrap intervals over the examples.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench._numbers import difference
from proxy.config import load_config
from t2l.decomposer import Decomposer
from t2l.embedder import open_embedder
from t2l.enhancer import Enhancer
from t2l.exemplars import Exemplars
from t2l.gated import load_gated
from t2l.skills import load_skills
from t2l.train.base import GatedLora, load_base
from t2l.train.data import dev_examples
from t2l.train.measure import GatesOf, example_scores

BATCH_TOKENS = 2048


def arms(network, embedder, enhancer: Enhancer, decomposer: Decomposer) -> dict[str, GatesOf]:
    """Descriptions -> gates (k, modules, rank, rank), by what is done to the descriptions."""

    def gates(texts: Sequence[str]) -> torch.Tensor:
        return network.gates(embedder.read(list(texts)))

    def mixed(task_share: float) -> GatesOf:
        def of(descriptions: Sequence[str]) -> torch.Tensor:
            rows = []
            for description in descriptions:
                enhancement = enhancer.enhance(description)
                needed = decomposer.decompose(enhancement.rewritten)
                task = gates([enhancement.text])[0]
                texts = [score.skill.candidate(enhancement.text) for score in needed]
                skills = gates(texts).mean(0) if texts else task
                rows.append(task_share * task + (1 - task_share) * skills)
            return torch.stack(rows)

        return of

    return {
        "raw": gates,
        "enhanced": lambda descriptions: gates([enhancer.enhance(text).text for text in descriptions]),
        "half skills": mixed(0.5),
        "skills only": mixed(0.0),
        "base": lambda descriptions: None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="default: the shipped one of model.name")
    parser.add_argument("--examples", type=int, default=96, help="of each set (default: %(default)s)")
    parser.add_argument("--breadth", type=int, default=0, help="as the checkpoint was trained; for the pairs")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config = load_config(None)
    network = load_gated(args.checkpoint or Path("t2l/checkpoints") / config.model.name)
    embedder = open_embedder(str(config.embedder.path or ""), config.embedder.threads)
    skills = load_skills(None)
    decomposer = Decomposer(skills, embedder, Exemplars(skills, embedder), config.decomposer.alpha)
    sets = dev_examples(args.data, args.examples, args.seed, args.breadth)
    del sets["unseen_operation"]
    sets["unseen_task, hint in the prompt too"] = [replace(one, system=one.description) for one in sets["unseen_task"]]
    model, tokenizer = load_base(config.model.path)
    lora = GatedLora.of(network)
    lora.attach(model)
    report: dict[str, dict[str, list[float]]] = {}
    for name, examples in sets.items():
        report[name] = {
            arm: example_scores(model, tokenizer, lora, gates_of, examples, BATCH_TOKENS)[0].tolist()
            for arm, gates_of in arms(network, embedder, Enhancer(skills), decomposer).items()
        }
        if not args.json:
            print_set(name, report[name])
    if args.json:
        print(json.dumps(report))


def print_set(name: str, by_arm: dict[str, list[float]]) -> None:
    first = np.array(next(iter(by_arm.values())))
    print(f"\n{name.replace('_', ' ')} (n = {len(first)})\n  {'arm':14}{'loss':>8}   minus the first")
    for arm, found in by_arm.items():
        print(f"  {arm:14}{np.mean(found):8.3f}   {difference(np.array(found), first)}")


if __name__ == "__main__":
    main()
