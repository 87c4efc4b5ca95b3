"""How far a description may move an adapter away from the mean one, chosen on tasks nothing was trained on.

Gates of descriptions like those of the training are worth following; those of strange ones are noise around the mean
adapter, which then does better. So both are asked: procedural pairs never trained on, told by the description alone,
and development rows of real tasks never trained on, as they are served, the hint in the system text too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from t2l.gated import GatedHypernetwork, write_config
from t2l.train.base import GatedLora, load_base
from t2l.train.data import Example, dev_examples
from t2l.train.measure import example_scores

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH_TOKENS = 2048
PAIRS, TASKS = "unseen_pair", "unseen_task"


@dataclass(frozen=True, slots=True)
class Listening:
    """losses: by set, the mean in nats per answer token at each of SHARES. examples: of each set."""

    losses: Mapping[str, tuple[float, ...]]
    examples: int

    @property
    def share(self) -> float:
        """The one with the least loss, each set counting the same."""
        sums = [sum(at) for at in zip(*self.losses.values(), strict=True)]
        return SHARES[sums.index(min(sums))]


def listening_sets(folder: Path, count: int, seed: int, breadth: int) -> dict[str, list[Example]]:
    """Up to `count` examples of both sorts; without tasks held out, of one. Raises DataError."""
    found = dev_examples(folder, count, seed, breadth)
    sets = {PAIRS: found[PAIRS]}
    if TASKS in found:
        sets[TASKS] = [replace(one, system=one.description) for one in found[TASKS]]
    return sets


def measure_listening(
    network: GatedHypernetwork, gguf: Path, embedder, sets: Mapping[str, Sequence[Example]], device: str = "cpu"
) -> Listening:
    """Loss of the sets' examples under their own descriptions' adapters, at each share."""
    model, tokenizer = load_base(gguf, device)
    lora = GatedLora.of(network).to(device)
    lora.attach(model)

    def gates_of(share: float, texts: Sequence[str]) -> torch.Tensor:
        return network.gates(embedder.embed(list(texts)), share)

    losses: dict[str, tuple[float, ...]] = {}
    with tqdm(total=sum(map(len, sets.values())) * len(SHARES), unit="item", mininterval=2.0) as bar:
        for name, examples in sets.items():
            means = []
            for share in SHARES:
                gates = partial(gates_of, share)
                found, _ = example_scores(model, tokenizer, lora, gates, examples, BATCH_TOKENS, device)
                means.append(round(found.mean().item(), 4))
                bar.update(len(examples))
            losses[name] = tuple(means)
    return Listening(losses, max(map(len, sets.values())))


def write_listening(folder: Path, found: Listening) -> None:
    """Puts the share, and what it was chosen by, into a checkpoint's config.json."""
    config = json.loads((folder / "config.json").read_text())
    config["listening"] = found.share
    losses = {name: dict(zip(SHARES, row, strict=True)) for name, row in found.losses.items()}
    config["training"]["listening"] = {"examples": found.examples, "loss": losses}
    write_config(folder, config)
