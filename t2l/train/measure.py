"""Does the description steer? Loss and exact match of held-out examples with the own, another's or a gibberish one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from t2l.train.base import GatedLora, answer_logits
from t2l.train.batches import Batch, bucketed, collate, tokenize
from t2l.train.data import Example

ARMS = ("base", "base-desc", "mt-lora", "own", "other", "gibberish")
"""base-desc: no adapter, the description as system text. mt-lora: the unconditional adapter, whatever is told."""
TRAINING_ARMS = ("base", "own", "other", "gibberish")

GatesOf = Callable[[Sequence[str]], torch.Tensor | None]
"""Descriptions -> gates (k, modules, rank, rank); None = no adapter."""


@torch.no_grad()
def steering(
    model: nn.Module, tokenizer, lora: GatedLora, gates_of: GatesOf, sets: Mapping[str, Sequence[Example]],
    batch_tokens: int, device: str = "cpu", arms: Sequence[str] = TRAINING_ARMS,
    unconditional: torch.Tensor | None = None,
) -> dict[str, dict[str, dict[str, list[float]]]]:  # fmt: skip
    """By set and arm, of each example: `loss` in nats per answer token (end token included) and `exact`, 1 or 0.

    arms: of ARMS; mt-lora needs `unconditional` (modules, rank, rank). other: the description of an example of another
    task (`others`), left out of a set of one task. The same examples under every arm, in the same order, so arms may
    be compared example by example.
    """
    rng = random.Random(99)
    report = {}
    for name, examples in sets.items():
        own = [example.description for example in examples]
        texts = {"gibberish": [gibberish(x, rng) for x in own]}
        if several := len({example.task for example in examples}) > 1:
            texts["other"] = others([example.task for example in examples], own)
        report[name] = {}
        for arm in arms:
            if arm == "other" and not several:
                continue
            told = zip(examples, texts.get(arm, own), strict=True)
            described = [replace(example, description=text) for example, text in told]
            if arm == "base-desc":
                described = [replace(example, system=example.description) for example in examples]
            fixed = {"base": None, "base-desc": None, "mt-lora": unconditional}
            gates = partial(_same, fixed[arm]) if arm in fixed else gates_of
            losses, exact = example_scores(model, tokenizer, lora, gates, described, batch_tokens, device)
            report[name][arm] = {"loss": losses.tolist(), "exact": exact.tolist()}
    return report


def _same(gates: torch.Tensor | None, descriptions: Sequence[str]) -> torch.Tensor | None:
    return None if gates is None else gates.expand(len(descriptions), -1, -1, -1)


def others(tasks: Sequence[str], descriptions: Sequence[str]) -> list[str]:
    """For each example the description of one of another task: the first from half the list further on."""
    count = len(tasks)
    far = [[(i + count // 2 + step) % count for step in range(count)] for i in range(count)]
    return [descriptions[next(j for j in row if tasks[j] != tasks[i])] for i, row in enumerate(far)]


def means(report: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> dict:
    """A report of `steering` with the mean over the examples in place of their numbers."""
    return {
        name: {arm: {what: round(sum(x) / len(x), 4) for what, x in found.items()} for arm, found in arms.items()}
        for name, arms in report.items()
    }


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
def example_scores(
    model: nn.Module, tokenizer, lora: GatedLora, gates_of: GatesOf, examples: Sequence[Example], batch_tokens: int,
    device: str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """(examples,) each, in the order given: mean nats per answer token, and 1 where greedy decoding is exact."""
    rows = [tokenize(tokenizer, example) for example in examples]
    place = {id(row): index for index, row in enumerate(rows)}
    means, exact = torch.zeros(len(rows)), torch.zeros(len(rows))
    for group in bucketed(rows, batch_tokens, None):
        batch = collate(group, device)
        lora.gates = gates_of([example.description for example in batch.examples])
        loss, hit = answer_scores(model, batch)
        owner = batch.answer[:, 1:].nonzero()[:, 0]
        sums = torch.zeros(len(group), device=loss.device).index_add_(0, owner, loss)
        places = [place[id(row)] for row in group]
        means[places], exact[places] = (sums / owner.bincount()).cpu(), hit.float().cpu()
    return means, exact


def gibberish(text: str, rng: random.Random) -> str:
    """Random letters with the word lengths of `text`."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(rng.choice(letters) for _ in word) for word in text.split()) or rng.choice(letters)
