"""Training examples: procedural families, real tasks and the base model's own replies, mixed.

Real tasks come from a folder in the format that `t2l/evaluate/data.py` reads. Only `train` rows of tasks meant for
training are ever used, and a fixed eighth of those tasks is held out whole (`is_held_out`) for measuring how the
adapters do on tasks never seen. The instruction stands in the description alone most of the time; the input must not
tell it either, so real inputs come in other answer formats and under operations that fit any text, too.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

from t2l.enhancer import apply_rules
from t2l.evaluate.data import DataError, EvalData, Item, instruction_prefix, is_held_out
from t2l.skills import SkillSet, load_skills
from t2l.train.families import KINDS, Task, make_item, split_of, tasks
from t2l.train.families import Item as ProceduralItem
from t2l.train.families.core import vary
from t2l.train.families.formats import fitting
from t2l.train.hints import hints
from t2l.train.lettered import OWN_CHOICES, ask_for_letter, lettered, own_choices, short_answers
from t2l.train.replies import CODE, OPEN, WORKED, read_replies

MAX_INPUT_CHARS = 450
"""Of the bare input: measured with their instruction, tasks that need a long one would be left out whole."""
MAX_PROMPT_CHARS = 800
"""Of input and instruction, where both are to stand in the prompt."""
MAX_ANSWER_CHARS = 240
MIN_ITEMS = 10
REAL_PLACES = (0.15, 0.35)
"""Of real examples, the shares that have the instruction in the prompt and in the system text as well, as served."""
PROCEDURAL_PLACES = (0.0, 0.15)
FORMATTED, SHORT_ANSWER = 0.3, 80
"""Share of short real answers (in characters) that get a format from the description."""
WITH_SIBLING = 0.25
"""Share of real inputs that come under an operation for any text as well."""

SERVED_FORMS = ("{}", "{}", "{}", "{}", "Task: {}", "<task>{}</task>", "You are a helpful assistant. {}")
"""How a task stands in a system prompt."""
REPLY = "reply"
"""The task of a base model's own reply."""

PLAINLY_STRANGE = ("phrase", "message")
"""Kinds whose tasks, where no answer format is asked for, are asked of any text that people send, and which are learnt
on a few made-up ones alone: "translate the text into German"."""

KIND_WEIGHTS = {"quiz": 3}
"""Kinds of procedural input drawn more often than the others (1): binding an option to its letter takes practice."""


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to learn: system (may be ""), prompt and answer are texts; `task` names where it comes from."""

    task: str
    description: str
    system: str
    prompt: str
    answer: str


@dataclass(frozen=True)
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

    def examples(self, rng: random.Random) -> list[Example]:
        """A random item, sometimes with a format of its own, the instruction where `REAL_PLACES` puts it; at times the
        bare input once more, under an operation that fits any text.
        """
        item = rng.choice(self.items)
        description, answer = rng.choice(self.descriptions), item.answer
        if rng.random() < FORMATTED and len(answer) <= SHORT_ANSWER and "\n" not in answer:
            description, answer = _formatted(description, answer, rng)
        system, in_prompt = _placed(description, REAL_PLACES, rng)
        prompt = item.prompt if in_prompt and len(item.prompt) <= MAX_PROMPT_CHARS else self.bare(item)
        found = [Example(self.name, description, system, prompt, answer)]
        if rng.random() < WITH_SIBLING and (sibling := _sibling(self.bare(item), rng)):
            found.append(sibling)
        return found

    @functools.cached_property
    def short_answers(self) -> tuple[str, ...]:
        return short_answers(self.items)

    @functools.cached_property
    def own_choices(self) -> bool:
        return own_choices(self.items[0]) is not None

    def lettered(self, rng: random.Random) -> Example | None:
        """A random item as multiple choice; None where it does not fit. What the prompt does not say, the description
        does.
        """
        item = rng.choice(self.items)
        found = lettered(item, item.prompt if rng.random() < 0.5 else self.bare(item), self.short_answers, rng)
        if found is None:
            return None
        description = rng.choice(self.descriptions)
        if not found.closed or rng.random() < 0.5:
            description = ask_for_letter(description, rng)
        return Example(self.name, description, description if rng.random() < 0.5 else "", found.prompt, found.answer)


def _sibling(text: str, rng: random.Random) -> Example | None:
    """An input under an operation that fits any text; None where the one drawn does not fit."""
    task = rng.choice(_any_text())
    answer = task.answer(ProceduralItem(task.kind, text, text))
    return Example(task.name, task.describe(rng), "", text, answer) if answer else None


@functools.cache
def _any_text() -> tuple[Task, ...]:
    return tuple(task for task in tasks() if task.kind == "anything" and split_of(task) == "train")


def _formatted(description: str, answer: str, rng: random.Random) -> tuple[str, str]:
    """The task with an answer format named at the end of its description."""
    form = rng.choice(fitting("token"))
    do = vary(form.do, rng)
    return f"{description.rstrip(' .')}. {do[:1].upper()}{do[1:]}.", str(form.render(answer))


def _placed(description: str, places: tuple[float, float], rng: random.Random) -> tuple[str, bool]:
    """Where else the instruction stands: (system text, whether in the prompt). places: their probabilities."""
    where, (in_prompt, in_system) = rng.random(), places
    return description if in_prompt <= where < in_prompt + in_system else "", where < in_prompt


def real_tasks(folder: Path, split: str, held_out: bool) -> tuple[RealTask, ...]:
    """Tasks meant for training (`held_out` False) or the held-out ones (True), with short items of `split`.

    What has no description is left out. Raises DataError.
    """
    data = EvalData(folder)
    found = []
    for name, info in sorted(data.infos.items()):
        if not info.for_training or is_held_out(name) != held_out:
            continue
        items = data.items(name, split)
        prefix = instruction_prefix([item.bare_prompt for item in items])
        bare = [item.bare_prompt.removeprefix(prefix) for item in items]
        kept = [item for item, text in zip(items, bare, strict=True)
                if len(text) <= MAX_INPUT_CHARS and len(item.answer) <= MAX_ANSWER_CHARS]  # fmt: skip
        descriptions = (*info.descriptions, *([info.definition] if info.definition else []))
        if descriptions and len(kept) >= MIN_ITEMS:
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


def _siblings(
    by_kind: dict[str, list[Task]], rng: random.Random, siblings: int, places: tuple[float, float] = (0.0, 0.0)
) -> list[Example]:
    while True:
        kinds = [kind for kind in KINDS if kind in by_kind]
        (kind,) = rng.choices(kinds, [KIND_WEIGHTS.get(kind, 1) for kind in kinds])
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
                description = task.describe(rng)
                system, _ = _placed(description, places, rng)
                found.append(Example(task.name, description, system, item.text, answer))
        if found:
            return found


class Mixture:
    """An endless, seeded stream of training examples.

    A third of the descriptions stand as the pipeline words them, so that the network knows those forms: after the
    enhancer's rules, or in a skill's template. breadth: only the first so many operations of each kind of input, often
    enough to be learnt in a short run; 0 = all. replies: a file of `t2l.train.replies`, of which `replies_share` of
    the examples are taken. lettered_share: of the examples, real ones as multiple choice (lettered.py). served_share:
    of all examples but replies, those that have the description as system text whatever else, as they will be served.
    Raises DataError, and ValueError for shares above 1 together.
    """

    def __init__(
        self, folder: Path, seed: int, procedural_share: float, breadth: int = 0, replies: Path | None = None,
        replies_share: float = 0.0, lettered_share: float = 0.0, served_share: float = 0.0,
    ) -> None:  # fmt: skip
        self._skills = load_skills(None)
        self._rng = random.Random(seed)
        self._share, self._replies_share = procedural_share, replies_share if replies else 0.0
        self._lettered_share, self._served_share = lettered_share, served_share
        if not 0 <= self._replies_share + lettered_share < 1:
            raise ValueError(f"shares {replies_share} of replies and {lettered_share} lettered leave no rest")
        self._real = real_tasks(folder, "train", held_out=False)
        if not self._real and (procedural_share < 1 or lettered_share):
            raise DataError(f"{folder} has no task to train on: described, for training, {MIN_ITEMS} short train rows")
        self._with_choices = tuple(task for task in self._real if task.own_choices)
        self._replies = read_replies(replies) if replies else ()
        self._by_kind: dict[str, list[Task]] = defaultdict(list)
        self._untrained: dict[tuple[str, str], list[Task]] = defaultdict(list)
        for task in procedural_tasks("train", breadth):
            self._by_kind[task.kind].append(task)
        trained = {task.operation for some in self._by_kind.values() for task in some}
        for task in procedural_tasks("train", 0) if breadth else ():
            if task.operation not in trained:  # "last_word" of a sentence is that of any text
                self._untrained[task.kind, task.operation].append(task)

    def draw(self, count: int) -> list[Example]:
        """The next `count` examples, in groups of up to four procedural tasks over one input."""
        drawn: list[Example] = []
        rest = 1 - self._replies_share - self._lettered_share
        # A group of four procedural examples is drawn a quarter as often as their share says.
        shares = (self._replies_share, self._lettered_share, rest * self._share / 4, rest * (1 - self._share))
        while len(drawn) < count:
            (sort,) = self._rng.choices(("reply", "lettered", "procedural", "real"), shares)
            if sort == "reply":
                drawn.append(Example(REPLY, *self._rng.choice(self._replies)))
            elif sort == "lettered":
                drawn += self._lettered()
            elif sort == "procedural":
                drawn += _siblings(self._by_kind, self._rng, 4, PROCEDURAL_PLACES)
            else:
                drawn += self._rng.choice(self._real).examples(self._rng)
        return [replace(self._served(one), description=self._worded(one.description)) for one in drawn[:count]]

    def known_descriptions(self, count: int) -> list[str]:
        """The next `count` descriptions of procedural tasks, whatever their share in the mixture."""
        found: list[str] = []
        while len(found) < count:
            found += [self._as_piped(one.description) for one in _siblings(self._by_kind, self._rng, 4)]
        return found[:count]

    def strange_descriptions(self, real: int, prompts: int, untrained: int, plain: int) -> list[str]:
        """Distinct texts that are no descriptions of the procedural tasks trained on, whatever their shares in the
        mixture: of so many real examples, one in five as multiple choice; system prompts (hints.py, and those of
        skills.toml and replies.py besides); procedural operations beyond `breadth`, where it leaves any; and so many
        of those trained on, of each kind of PLAINLY_STRANGE, that name no answer format.
        """
        skills = self._skills
        given = [*OPEN, *WORKED, *CODE, *skills.background, *(text for one in skills.skills for text in one.exemplars)]
        texts = [*given, *map(self._as_piped, [*given, *hints(prompts, self._rng.randrange(2**32))])]
        for number in range(real if self._real else 0):
            found = self._lettered() if number % 5 == 0 else []
            own, *_ = found or self._rng.choice(self._real).examples(self._rng)
            texts.append(self._as_piped(own.description))
        operations = sorted(self._untrained)
        for _ in range(untrained if operations else 0):
            task = self._rng.choice(self._untrained[self._rng.choice(operations)])
            texts.append(self._as_piped(task.describe(self._rng)))
        for kind in PLAINLY_STRANGE:
            for task in self._rng.choices(self._by_kind[kind], k=plain) if self._by_kind[kind] else ():
                told = task.imperative(self._rng, chinese=self._rng.random() < 0.3)
                texts.append(self._as_piped(self._rng.choice((told, f"{told[:1].upper()}{told[1:]}."))))
        return list(dict.fromkeys(texts))

    def _as_piped(self, text: str) -> str:
        """Bare, or as one of the pipeline's candidates: after the enhancer's rules, in a skill's template or not."""
        return self._rng.choice((text, *piped(text, self._skills, self._rng)))

    def _lettered(self) -> list[Example]:
        own = self._with_choices and self._rng.random() < OWN_CHOICES
        found = self._rng.choice(self._with_choices if own else self._real).lettered(self._rng)
        return [found] if found else []

    def _served(self, one: Example) -> Example:
        if one.task == REPLY or self._rng.random() >= self._served_share:
            return one
        return replace(one, system=self._rng.choice(SERVED_FORMS).format(one.description))

    def _worded(self, description: str) -> str:
        way = self._rng.random()
        if way < 1 / 6:
            return apply_rules(description, self._skills)
        if way < 1 / 3:
            return self._rng.choice(self._skills.skills).candidate(description)
        return description

    @functools.cached_property
    def digest(self) -> str:
        """sha256 (hex) over the real tasks and replies that examples are drawn from."""
        sha = hashlib.sha256(repr(self._replies).encode())
        for task in self._real:
            sha.update(repr(task).encode())
        return sha.hexdigest()

    def state(self) -> object:
        return self._rng.getstate()

    def restore(self, state) -> None:
        self._rng.setstate(state)


def piped(text: str, skills: SkillSet, rng: random.Random) -> tuple[str, str]:
    """A hint as the pipeline gives it to the hypernetwork: after the enhancer's rules, and in a skill's template."""
    enhanced = apply_rules(text, skills)
    return enhanced, rng.choice(skills.skills).candidate(enhanced)


def dev_examples(
    folder: Path, count: int, seed: int, breadth: int = 0, real_split: str = "dev"
) -> dict[str, list[Example]]:
    """For measuring, hint only: unseen procedural pairs and operations, unseen real tasks (rows of `real_split`), if
    there are any.

    breadth: the pairs are of the operations that a run of this breadth trains; see `Mixture`.
    """
    rng = random.Random(seed)
    found: dict[str, list[Example]] = {}
    for split, kept in (("unseen_pair", breadth), ("unseen_operation", 0)):
        chosen = procedural_tasks(split, kept)
        found[split] = [procedural_examples(chosen, rng, 1)[0] for _ in range(count)]
    if real := real_examples(folder, count, rng, real_split, held_out=True):
        found["unseen_task"] = real
    return found


def real_examples(folder: Path, count: int, rng: random.Random, split: str, held_out: bool) -> list[Example]:
    """Rows of real tasks held out or trained on, task after task, hint only; none where there is no such task."""
    found = []
    given = real_tasks(folder, split, held_out)
    if not held_out:
        given = tuple(rng.sample(given, len(given)))
    for task in islice(cycle(given), count):
        item = rng.choice(task.items)
        found.append(Example(task.name, rng.choice(task.descriptions), "", task.bare(item), item.answer))
    return found


def lettered_examples(folder: Path, count: int, rng: random.Random, split: str) -> list[Example]:
    """Rows of held-out real tasks as multiple choice, task after task, as many of `count` as twenty times as many tries
    give. Raises DataError.
    """
    found: list[Example] = []
    for task in islice(cycle(real_tasks(folder, split, held_out=True)), 20 * count):
        if len(found) < count and (one := task.lettered(rng)):
            found.append(one)
    return found
