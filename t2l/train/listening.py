"""From what likeness on a description's own gates are followed, chosen on tasks never trained on.

Gates of descriptions like those of the training are worth following; those of strange ones are noise, and the
unconditional adapter does better. So both are asked: procedural pairs never trained on, told by the description alone,
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

from t2l.gated import GatedHypernetwork, followed, write_config
from t2l.train.base import GatedLora, load_base
from t2l.train.data import Example, dev_examples
from t2l.train.measure import example_scores

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH_TOKENS = 2048
PAIRS, TASKS = "unseen_pair", "unseen_task"
WIDTH = 0.1
"""Cosine over which listening rises from nothing to all."""
LOWS = (0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 1.0)
"""Where it may begin where nothing strange is nearer; nothing is followed from the last. Below the first come short
hints and Chinese ones, which no set of examples here stands for (bench/followed.py)."""


@dataclass(frozen=True, slots=True, eq=False)
class Listening:
    """losses: by set, (SHARES, examples), nats per answer token. nearest: by set, of `GatedHypernetwork.nearest`."""

    losses: Mapping[str, torch.Tensor]
    nearest: Mapping[str, tuple[torch.Tensor, torch.Tensor]]

    def at_share(self, name: str) -> tuple[float, ...]:
        """A set's mean loss at each of SHARES."""
        return tuple(round(loss, 4) for loss in self.losses[name].mean(1).tolist())

    def at_low(self, name: str) -> tuple[float, ...]:
        """A set's mean loss with listening from each of LOWS on, between SHARES interpolated."""
        found = []
        for low in LOWS:
            place = followed(*self.nearest[name], (low, low + WIDTH)) * (len(SHARES) - 1)
            below = place.floor().long().clamp(max=len(SHARES) - 2)
            left, right = (self.losses[name].gather(0, (below + step)[None])[0] for step in (0, 1))
            found.append(round(torch.lerp(left, right, place - below).mean().item(), 4))
        return tuple(found)

    @property
    def chosen(self) -> tuple[float, float]:
        """The range with the least loss, each set counting the same."""
        sums = [sum(at) for at in zip(*(self.at_low(name) for name in self.losses), strict=True)]
        low = LOWS[sums.index(min(sums))]
        return low, round(low + WIDTH, 4)


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
        return network.gates(embedder.read(list(texts)), share)

    losses, nearest = {}, {}
    with tqdm(total=sum(map(len, sets.values())) * len(SHARES), unit="item", mininterval=2.0) as bar:
        for name, examples in sets.items():
            nearest[name] = network.nearest(embedder.embed([example.description for example in examples]))
            rows = []
            for share in SHARES:
                gates = partial(gates_of, share)
                found, _ = example_scores(model, tokenizer, lora, gates, examples, BATCH_TOKENS, device)
                rows.append(found)
                bar.update(len(examples))
            losses[name] = torch.stack(rows)
    return Listening(losses, nearest)


def write_listening(folder: Path, found: Listening) -> None:
    """Puts the range, and what it was chosen by, into a checkpoint's config.json."""
    config = json.loads((folder / "config.json").read_text())
    config["listening"] = found.chosen
    config["training"]["listening"] = {
        name: {
            "examples": found.losses[name].shape[1],
            "loss_at_share": dict(zip(SHARES, found.at_share(name), strict=True)),
            "loss_from_cosine": dict(zip(LOWS, found.at_low(name), strict=True)),
        }
        for name in found.losses
    }
    write_config(folder, config)
