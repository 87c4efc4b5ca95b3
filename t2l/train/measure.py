"""Does the description steer? Loss and exact match of held-out examples with the own, another's or a gibberish one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from t2l.train.base import GatedLora, answer_logits
from t2l.train.batches import Batch, bucketed, collate, tokenize
from t2l.train.data import Example

ARMS = ("base", "own", "other", "gibberish")

GatesOf = Callable[[Sequence[str]], torch.Tensor | None]
"""Descriptions -> gates (k, modules, rank); None = no adapter."""


@torch.no_grad()
def steering(
    model: nn.Module, tokenizer, lora: GatedLora, gates_of: GatesOf, sets: Mapping[str, Sequence[Example]],
    batch_tokens: int, device: str = "cpu",
) -> dict[str, dict[str, dict[str, float]]]:  # fmt: skip
    """By set and arm: `loss` in nats per answer token (end token included) and `exact`, the share of exact answers.

    base: no adapter. other: the description of another example of the set (a rotation by half). The same examples
    under every arm, so arms may be compared item by item.
    """
    rng = random.Random(99)
    report = {}
    for name, examples in sets.items():
        rows = [tokenize(tokenizer, example) for example in examples]
        own = [example.description for example in examples]
        texts = {"own": own, "other": own[len(own) // 2 :] + own[: len(own) // 2],
                 "gibberish": [gibberish(text, rng) for text in own]}  # fmt: skip
        report[name] = {}
        for arm in ARMS:
            given = dict(zip(map(id, examples), texts.get(arm, own), strict=True))
            total, tokens, exact = 0.0, 0, 0
            for group in bucketed(rows, batch_tokens, None):
                batch = collate(group, device)
                lora.gates = None if arm == "base" else gates_of([given[id(example)] for example in batch.examples])
                loss, hit = answer_scores(model, batch)
                total, tokens, exact = total + loss.sum().item(), tokens + len(loss), exact + int(hit.sum())
            report[name][arm] = {"loss": round(total / tokens, 4), "exact": round(exact / len(rows), 4)}
    return report


@torch.no_grad()
def answer_scores(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of each answer token (answer tokens,) and whether greedy decoding writes each answer (batch,).

    Teacher-forced argmax equals the answer at every position exactly when greedy decoding writes the answer.
    """
    logits = answer_logits(model, batch.ids, batch.mask, batch.answer)
    target = batch.ids[:, 1:][batch.answer[:, 1:]]
    loss = functional.cross_entropy(logits, target, reduction="none")
    right = logits.argmax(-1) == target
    owner = batch.answer[:, 1:].nonzero()[:, 0]
    wrong = torch.zeros(len(batch.examples), device=loss.device).index_add_(0, owner, (~right).float())
    return loss, wrong == 0


@torch.no_grad()
def example_losses(
    model: nn.Module, tokenizer, lora: GatedLora, gates_of: GatesOf, examples: Sequence[Example], batch_tokens: int,
    device: str = "cpu",
) -> torch.Tensor:  # fmt: skip
    """(examples,): mean nats per answer token of each, in the order given."""
    rows = [tokenize(tokenizer, example) for example in examples]
    place = {id(row): index for index, row in enumerate(rows)}
    means = torch.zeros(len(rows))
    for group in bucketed(rows, batch_tokens, None):
        batch = collate(group, device)
        lora.gates = gates_of([example.description for example in batch.examples])
        loss, _ = answer_scores(model, batch)
        owner = batch.answer[:, 1:].nonzero()[:, 0]
        sums = torch.zeros(len(group), device=loss.device).index_add_(0, owner, loss)
        means[[place[id(row)] for row in group]] = (sums / owner.bincount()).cpu()
    return means


def gibberish(text: str, rng: random.Random) -> str:
    """Random letters with the word lengths of `text`."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(rng.choice(letters) for _ in word) for word in text.split()) or rng.choice(letters)
