"""How strongly strange texts' adapters may act: one strength per skill, from tasks nothing was trained on.

The unconditional adapter, which strange texts get, may help in one skill and harm in another. So each candidate of the
pipeline (a skill's adapter, the task's own) is tried alone with it at several strengths, on development rows, as it
will be served: the hint in the system text, the input in the prompt. 0 is among them. A text that is followed has its
adapter at full strength, which its own gates decide.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from t2l.decomposer import Decomposer
from t2l.enhancer import Enhancer
from t2l.gated import GatedHypernetwork, write_config
from t2l.skills import TASK
from t2l.train.base import GatedLora, load_base
from t2l.train.data import MIN_ITEMS, Example
from t2l.train.measure import GatesOf, example_scores
from t2l.train.served import served_tasks

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one skill: its examples and tasks, the mean loss in nats per answer token at each of STRENGTHS, the choice."""

    examples: int
    tasks: int
    losses: tuple[float, ...]
    strength: float


def collect(
    folder: Path, enhancer: Enhancer, decomposer: Decomposer, per_skill: int, seed: int
) -> dict[str, list[Example]]:
    """By skill, and for TASK, up to `per_skill` items of tasks that need it, spread evenly over those tasks; skills
    with too few are left out.

    Development rows of tasks that training never reads. Their description is the text the adapter is made from, their
    system text the hint as the user wrote it. Raises DataError.
    """
    by_skill: dict[str, list[list[Example]]] = defaultdict(list)
    for _, items in served_tasks(folder, enhancer, per_skill, seed):
        found: dict[str, list[Example]] = defaultdict(list)
        for served, enhanced in items:
            for score in decomposer.decompose(enhanced.rewritten):
                found[score.skill.name].append(replace(served, description=score.skill.candidate(enhanced.text)))
            found[TASK].append(served)
        for skill, candidates in found.items():
            by_skill[skill].append(candidates)
    spread = {skill: _spread(tasks, per_skill) for skill, tasks in by_skill.items()}
    return {skill: examples for skill, examples in spread.items() if len(examples) >= MIN_ITEMS}


def _spread(tasks: Sequence[Sequence[Example]], count: int) -> list[Example]:
    """The first of each task, then the second of each, up to `count`."""
    rounds = max(map(len, tasks))
    return [task[turn] for turn in range(rounds) for task in tasks if turn < len(task)][:count]


def calibrate(
    network: GatedHypernetwork, gguf: Path, embedder, candidates: Mapping[str, Sequence[Example]], device: str = "cpu"
) -> dict[str, Calibration]:
    """The strength of each skill that has candidates enough which are not followed wholly. See `choose`."""
    heard = {skill: _strange(network, embedder, given) for skill, given in candidates.items()}
    candidates = {skill: given for skill, given in heard.items() if len(given) >= MIN_ITEMS}
    model, tokenizer = load_base(gguf, device)
    lora = GatedLora.of(network).to(device)
    lora.attach(model)

    def at(strength: float) -> GatesOf:
        def gates_of(texts: Sequence[str]) -> torch.Tensor:
            reading = embedder.read(list(texts))
            return network.factors(reading.vectors, strength).to(device)[:, None, None, None] * network.gates(reading)

        return gates_of

    work = sum(map(len, candidates.values())) * len(STRENGTHS)
    found = {}
    with tqdm(total=work, unit="item", mininterval=2.0) as bar:
        for skill, given in sorted(candidates.items()):
            losses = []
            for strength in STRENGTHS:
                losses.append(example_scores(model, tokenizer, lora, at(strength), given, BATCH_TOKENS, device)[0])
                bar.update(len(given))
            by_strength = torch.stack(losses)  # (strengths, examples)
            means = tuple(round(mean, 4) for mean in by_strength.mean(1).tolist())
            tasks = len({one.task for one in given})
            found[skill] = Calibration(len(given), tasks, means, choose(by_strength))
    return found


def _strange(network: GatedHypernetwork, embedder, given: Sequence[Example]) -> list[Example]:
    """Those that a strength makes a difference to."""
    shares = network.shares(embedder.embed([one.description for one in given]))
    return [one for one, share in zip(given, shares.tolist(), strict=True) if share < 1]


def choose(losses: torch.Tensor) -> float:
    """The smallest strength that is not worse than the best one by more than a standard error of their difference.

    losses: (len(STRENGTHS), examples), the same examples in every row. So a strength is only taken where its help
    is beyond the noise (the one-standard-error rule; Breiman et al. 1984, section 3.4.3).
    """
    best = losses[losses.mean(1).argmin()]
    for strength, row in zip(STRENGTHS, losses, strict=True):
        behind = row - best
        if behind.mean() <= behind.std() / len(behind) ** 0.5:
            return strength
    raise AssertionError("the best strength is not behind itself")


def write_strengths(folder: Path, found: Mapping[str, Calibration]) -> None:
    """Puts the strengths, and what they were chosen by, into a checkpoint's config.json."""
    config = json.loads((folder / "config.json").read_text())
    strengths = {skill: one.strength for skill, one in found.items()}
    config["strengths"] = config.get("strengths", {}) | strengths  # a skill that was not measured keeps its own
    config["training"]["strengths"] = config["training"].get("strengths", {}) | {
        skill: {"examples": one.examples, "tasks": one.tasks, "loss": dict(zip(STRENGTHS, one.losses, strict=True))}
        for skill, one in found.items()
    }
    write_config(folder, config)
