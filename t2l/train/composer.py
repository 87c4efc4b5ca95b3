"""Train the composer: f_w and the share of the task's own adapter, by the loss of the mixtures they make.

Our adapters share A, so a mixture is the weighted mean of its parts' gates, and the loss passes through the frozen
model into the weights. Development rows of tasks that the hypernetwork never saw, as served; a quarter of the tasks is
kept for choosing: the weights are written only if they beat the untrained composer there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from t2l.composer import ComposerSettings, WeightNetwork, start_network
from t2l.decomposer import Decomposer
from t2l.enhancer import Enhancer
from t2l.gated import GatedHypernetwork
from t2l.skills import TASK
from t2l.train.base import GatedLora, answer_loss, load_base
from t2l.train.batches import collate, tokenize
from t2l.train.data import Example
from t2l.train.served import served_tasks

KEPT_FOR_CHOICE = 4
"""One task in so many."""
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """One example and what the pipeline would mix for it.

    gates: (k + 1, modules, rank, rank), those of its k skills, then the task's own, each times its strength. pairs:
    (k, 2E), [e_d ; v_s] of each skill. prior: (k,), the untrained logits.
    """

    example: Example
    gates: torch.Tensor
    pairs: torch.Tensor
    prior: torch.Tensor


class Mixer(nn.Module):
    """The trained part: f_w and the logit of the task's share."""

    def __init__(self, network: WeightNetwork, settings: ComposerSettings) -> None:
        super().__init__()
        self.network = network
        self.task_logit = nn.Parameter(torch.logit(torch.tensor(settings.task_share), eps=0.02))

    def forward(self, one: Mixed) -> torch.Tensor:
        """The mixture's gates, (modules, rank, rank)."""
        share = self.task_logit.sigmoid()
        if not len(one.prior):
            return one.gates[-1]
        weights = (one.prior + self.network(one.pairs)).softmax(0) * (1 - share)
        return torch.einsum("k,kmij->mij", torch.cat([weights, share[None]]), one.gates)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Mean loss in nats per answer token on the tasks kept for choosing; `network` None = the untrained is kept."""

    untrained: float
    trained: float
    task_share: float
    examples: int
    network: WeightNetwork | None


def collect(
    folder: Path, network: GatedHypernetwork, embedder, enhancer: Enhancer, decomposer: Decomposer,
    vectors: Mapping[str, torch.Tensor], per_task: int, seed: int, settings: ComposerSettings,
) -> tuple[list[Mixed], list[Mixed]]:  # fmt: skip
    """To train on, to choose by. vectors: v_s by skill name. Raises DataError."""
    fit: list[Mixed] = []
    choice: list[Mixed] = []
    for number, (_, items) in enumerate(served_tasks(folder, enhancer, per_task, seed)):
        for served, enhanced in items:
            skills = [score.skill for score in decomposer.decompose(enhanced.rewritten)]
            texts = [skill.candidate(enhanced.text) for skill in skills] + [enhanced.text]
            reading = embedder.read(texts)
            strengths = network.strengths([*(skill.name for skill in skills), TASK], reading)
            with torch.no_grad():
                gates = network.gates(reading) * torch.tensor(strengths)[:, None, None, None]
            pairs = [torch.cat([reading.vectors[-1], vectors[skill.name]]) for skill in skills]
            prior = torch.tensor([settings.gain_scale * skill.gain for skill in skills])
            one = Mixed(served, gates, torch.stack(pairs) if pairs else torch.zeros(0, 2 * embedder.dim), prior)
            (choice if number % KEPT_FOR_CHOICE == 0 else fit).append(one)
    return fit, choice


def train_composer(
    network: GatedHypernetwork, gguf: Path, fit: Sequence[Mixed], choice: Sequence[Mixed], settings: ComposerSettings,
    steps: int, batch: int, seed: int, on_step: Callable[[int, float], None] | None = None,
) -> Outcome:  # fmt: skip
    """`steps` of AdamW on batches of `batch` examples. The same seed gives the same weights."""
    model, tokenizer = load_base(gguf)
    lora = GatedLora.of(network)
    lora.attach(model)
    mixer = Mixer(start_network(network.embedding_dim, settings, seed), settings)
    optimizer = torch.optim.AdamW(mixer.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss_of(group: Sequence[Mixed]) -> torch.Tensor:
        """(answer tokens,) of one padded batch."""
        lora.gates = torch.stack([mixer(one) for one in group])
        rows = collate([tokenize(tokenizer, one.example) for one in group])
        return answer_loss(model, rows.ids, rows.mask, rows.answer)

    @torch.no_grad()
    def chosen_loss() -> float:
        return sum(loss_of([one]).mean().item() for one in choice) / len(choice)

    untrained = chosen_loss()
    rng = random.Random(seed)
    for step in range(steps):
        loss = loss_of(rng.sample(list(fit), min(batch, len(fit)))).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if on_step:
            on_step(step + 1, loss.item())
    trained = chosen_loss()
    share = mixer.task_logit.sigmoid().item()
    return Outcome(untrained, trained, share, len(choice), mixer.network if trained < untrained else None)
