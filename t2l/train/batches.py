"""From examples to padded tensors: chat-template tokens, answer masks, length-bucketed batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from t2l.train.data import Example


@dataclass(frozen=True, slots=True)
class Tokens:
    """One example as the served chat template renders it. ids[answer_start:] is the answer with its end token."""

    example: Example
    ids: tuple[int, ...]
    answer_start: int


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """ids, mask, answer: (batch, tokens); mask marks real tokens, answer those to be predicted."""

    examples: tuple[Example, ...]
    ids: torch.Tensor
    mask: torch.Tensor
    answer: torch.Tensor


def tokenize(tokenizer, example: Example) -> Tokens:
    """The system message is kept when empty, as the server does: else the template puts its own default there."""
    messages = [{"role": "system", "content": example.system}, {"role": "user", "content": example.prompt}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    return Tokens(example, (*prompt, *answer, tokenizer.eos_token_id), len(prompt))


def collate(rows: Sequence[Tokens], device: str = "cpu") -> Batch:
    """Pad to the longest row. Padding stands right of the text and is masked."""
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    answer = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        mask[index, : len(row.ids)] = True
        answer[index, row.answer_start : len(row.ids)] = True
    return Batch(tuple(row.example for row in rows), ids.to(device), mask.to(device), answer.to(device))


def bucketed(rows: Sequence[Tokens], batch_tokens: int, rng: random.Random | None) -> list[list[Tokens]]:
    """Split into batches of similar length with at most `batch_tokens` padded tokens; shuffled by `rng` if given."""
    batches: list[list[Tokens]] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batches and len(row.ids) * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    if rng is not None:
        rng.shuffle(batches)
    return batches
