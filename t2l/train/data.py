"""Training examples: procedural families mixed with real tasks, the instruction mostly in the description alone.

Real tasks come from a folder in the format that `t2l/evaluate/data.py` reads. Only `train` rows of tasks meant for
training are ever used, and a fixed eighth of those tasks is held out whole (`is_held_out`) for measuring how the
adapters do on tasks never seen.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from t2l.enhancer import apply_rules
from t2l.evaluate.data import EvalData, Item
from t2l.skills import load_skills
from t2l.train.families import KINDS, Task, make_item, split_of, tasks

MAX_PROMPT_CHARS = 450
MAX_ANSWER_CHARS = 240
MIN_ITEMS = 10
HELD_OUT_SHARE = 8


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to learn: system (may be ""), prompt and answer are texts; `task` names where it comes from."""

    task: str
    description: str
    system: str
    prompt: str
    answer: str


def is_held_out(task: str) -> bool:
    """Whether a real task is kept out of training whole: one in HELD_OUT_SHARE, by its name."""
    return int(hashlib.sha256(task.encode()).hexdigest(), 16) % HELD_OUT_SHARE == 0


def instruction_prefix(prompts: Sequence[str]) -> str:
    """What all prompts of a task begin with, cut after the last blank line, else colon: its instruction, or ""."""
    common = os.path.commonprefix(list(prompts))  # noqa: RUF071 - characters are what is wanted
    ends = [match.end() for match in re.finditer(r"\n\n", common)] or [m.end() for m in re.finditer(r":\s", common)]
    return common[: ends[-1]] if ends and ends[-1] > 15 else ""


@dataclass(frozen=True, slots=True)
class RealTask:
    """A task of the data folder with the short items of one split.

    prefix: the instruction all its prompts begin with.
    """

    name: str
    descriptions: tuple[str, ...]
    prefix: str
    items: tuple[Item, ...]

    def bare(self, item: Item) -> str:
        """The input without the instruction."""
        return item.bare_prompt.removeprefix(self.prefix)

    def example(self, rng: random.Random) -> Example:
        """A random item; instruction in the description only (70 %), in the prompt too (20 %) or in the system text."""
        item = rng.choice(self.items)
        description = rng.choice(self.descriptions)
        where = rng.random()
        prompt = item.prompt if where >= 0.8 else self.bare(item)
        system = description if 0.7 <= where < 0.8 else ""
        return Example(self.name, description, system, prompt, item.answer)


def real_tasks(folder: Path, split: str, held_out: bool) -> tuple[RealTask, ...]:
    """Tasks meant for training (`held_out` False) or the held-out ones (True), with short items of `split`.

    Raises DataError.
    """
    data = EvalData(folder)
    found = []
    for name, info in sorted(data.infos.items()):
        if not info.for_training or is_held_out(name) != held_out:
            continue
        items = data.items(name, split)
        prefix = instruction_prefix([item.bare_prompt for item in items])
        kept = [i for i in items if len(i.prompt) <= MAX_PROMPT_CHARS and len(i.answer) <= MAX_ANSWER_CHARS]
        descriptions = (*info.descriptions, *([info.definition] if info.definition else []))
        if len(kept) >= MIN_ITEMS:
            found.append(RealTask(name, descriptions, prefix, tuple(kept)))
    return tuple(found)


def procedural_tasks(split: str, breadth: int) -> list[Task]:
    """The tasks of a split, of the first `breadth` operations of each kind (0 = of all)."""
    return [task for task in tasks() if split_of(task) == split and (not breadth or task.order < breadth)]


def procedural_examples(chosen: Sequence[Task], rng: random.Random, siblings: int) -> list[Example]:
    """One random input under up to `siblings` different tasks of its kind, among the `chosen`."""
    by_kind: dict[str, list[Task]] = defaultdict(list)
    for task in chosen:
        by_kind[task.kind].append(task)
    return _siblings(by_kind, rng, siblings)


def _pick_operations(operations: list[str], count: int, rng: random.Random) -> list[str]:
    """Up to `count` different operations; chains of two ("a_then_b") outnumber the others, so they get a quarter."""
    single = [name for name in operations if "_then_" not in name]
    chains = [name for name in operations if "_then_" in name]
    wanted_chains = sum(rng.random() < 0.25 for _ in range(count)) if single else count
    picked = rng.sample(chains, min(wanted_chains, len(chains)))
    return picked + rng.sample(single, min(count - len(picked), len(single)))


def _siblings(by_kind: dict[str, list[Task]], rng: random.Random, siblings: int) -> list[Example]:
    while True:
        kind = rng.choice([kind for kind in KINDS if kind in by_kind])
        item = make_item(kind, rng)
        # Operations first, then one format each: an operation that fits many formats would crowd the others out.
        by_operation: dict[str, list[Task]] = defaultdict(list)
        for task in by_kind[kind]:
            by_operation[task.operation].append(task)
        operations = _pick_operations(sorted(by_operation), siblings, rng)
        found = []
        for operation in operations:
            task = rng.choice(by_operation[operation])
            answer = task.answer(item)
            if answer:
                found.append(Example(task.name, task.describe(rng), "", item.text, answer))
        if found:
            return found


class Mixture:
    """An endless, seeded stream of training examples.

    A third of the descriptions stand as the pipeline words them, so that the network knows those forms: after the
    enhancer's rules, or in a skill's template. breadth: only the first so many operations of each kind of input, often
    enough to be learnt in a short run; 0 = all.
    """

    def __init__(self, folder: Path, seed: int, procedural_share: float, breadth: int = 0) -> None:
        self._skills = load_skills(None)
        self._rng = random.Random(seed)
        self._share = procedural_share
        self._real = real_tasks(folder, "train", held_out=False)
        self._by_kind: dict[str, list[Task]] = defaultdict(list)
        for task in procedural_tasks("train", breadth):
            self._by_kind[task.kind].append(task)

    def draw(self, count: int) -> list[Example]:
        """The next `count` examples, in groups of up to four procedural tasks over one input."""
        drawn: list[Example] = []
        while len(drawn) < count:
            if self._rng.random() < self._share / (4 - 3 * self._share):  # groups of 4 against single real examples
                drawn += _siblings(self._by_kind, self._rng, 4)
            else:
                drawn.append(self._rng.choice(self._real).example(self._rng))
        return [replace(one, description=self._worded(one.description)) for one in drawn[:count]]

    def _worded(self, description: str) -> str:
        way = self._rng.random()
        if way < 1 / 6:
            return apply_rules(description, self._skills)
        if way < 1 / 3:
            return self._rng.choice(self._skills.skills).candidate(description)
        return description

    def state(self) -> object:
        return self._rng.getstate()

    def restore(self, state) -> None:
        self._rng.setstate(state)


def dev_examples(folder: Path, count: int, seed: int, breadth: int = 0) -> dict[str, list[Example]]:
    """For measuring while training, hint only: unseen procedural pairs and operations, unseen real tasks (dev rows).

    breadth: the pairs are of the operations that a run of this breadth trains; see `Mixture`.
    """
    rng = random.Random(seed)
    found: dict[str, list[Example]] = {}
    for split, kept in (("unseen_pair", breadth), ("unseen_operation", 0)):
        chosen = procedural_tasks(split, kept)
        found[split] = [procedural_examples(chosen, rng, 1)[0] for _ in range(count)]
    held_out = real_tasks(folder, "dev", held_out=True)
    found["unseen_task"] = []
    for index in range(count):
        task = held_out[index % len(held_out)]
        item = rng.choice(task.items)
        found["unseen_task"].append(Example(task.name, rng.choice(task.descriptions), "", task.bare(item), item.answer))
    return found
