"""A LoRA trained on one task itself, to measure what is made of the description alone against."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from pathlib import Path

from adapters.lora import LoraAdapter
from adapters.peft_file import write_peft
from t2l.evaluate.data import DataError, EvalData
from t2l.evaluate.prompts import user_prompt
from t2l.train.data import Example

WARMUP, DECAY = 5, 0.8
"""Steps of warm-up and the share of the steps over which the rate falls: a run is short."""


class OneTask:
    """An endless, seeded stream of one task's `train` rows, each row once before any comes again.

    hint_only: without the instruction, as in `t2l.evaluate.prompts`. Raises DataError where the task has no such rows.
    """

    def __init__(self, data: EvalData, task: str, hint_only: bool, seed: int) -> None:
        rows = data.items(task, "train")
        if not rows:
            raise DataError(f"{task} has no rows of split 'train' in {data.folder} to train an oracle on")
        self._examples = [Example(task, "", "", user_prompt(row, hint_only), row.answer) for row in rows]
        self._rng = random.Random(seed)
        self._left: list[int] = []

    @property
    def digest(self) -> str:
        """sha256 (hex) over the rows."""
        return hashlib.sha256(repr(self._examples).encode()).hexdigest()

    def draw(self, count: int) -> list[Example]:
        drawn = []
        for _ in range(count):
            if not self._left:
                self._left = list(range(len(self._examples)))
                self._rng.shuffle(self._left)
            drawn.append(self._examples[self._left.pop()])
        return drawn

    def state(self) -> object:
        return self._rng.getstate(), self._left

    def restore(self, state) -> None:
        rng, left = state
        self._rng.setstate(rng)
        self._left = list(left)


def write_oracle(adapter: LoraAdapter, folder: Path, base_name: str) -> None:
    """A PEFT folder, which appears whole."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write_peft(adapter, temporary, base_name)
    os.replace(temporary, folder)
