"""The list of all tasks, their inputs and their split."""

import functools
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from t2l.train.families import (
    anything,
    choices,
    code,
    dates,
    languages,
    lists,
    numbers,
    paths,
    phrasing,
    records,
    sentences,
    tables,
    texts,
)
from t2l.train.families.core import Format, Item, Kind, Operation, Result, vary
from t2l.train.families.formats import WORKED, fitting

Split = Literal["train", "unseen_pair", "unseen_operation"]

_KINDS: dict[str, Kind] = {
    kind.name: kind
    for module in (lists, numbers, sentences, records, tables, dates, texts, code, paths, languages, choices, anything)
    for kind in module.KINDS
}
KINDS: tuple[str, ...] = tuple(_KINDS)
_UNSEEN_PAIRS = 0.12
_UNSEEN_OPERATIONS = 0.08


@dataclass(frozen=True, slots=True)
class Task:
    """One operation on one kind of input, answered in one format. Only the description says what to do."""

    name: str
    kind: str
    operation: str
    format: str
    order: int
    """Place of the operation in its kind's list: the plain ones come first, chains of two last."""
    _kind: Kind = field(repr=False, compare=False)
    _operation: Operation = field(repr=False, compare=False)
    _format: Format = field(repr=False, compare=False)

    def describe(self, rng: random.Random) -> str:
        """One of many wordings of what to do and how to write the answer."""
        return phrasing.describe(self._kind, self._operation, self._format, rng)

    def imperative(self, rng: random.Random, chinese: bool = False) -> str:
        """What to do, without how to write the answer; in English where there is no Chinese wording."""
        if chinese and self._operation.zh:
            return vary(self._operation.zh, rng)
        return self._operation.imperative(rng)

    def compute(self, value: Any) -> Result | None:
        """What the operation makes of an item's value; None when it does not apply."""
        return self._operation.compute(value)

    def answer(self, item: Item) -> str | None:
        """The one right answer; None when the operation does not apply to this input."""
        if item.kind != self.kind:
            raise ValueError(f"task {self.name} got an item of kind {item.kind}")
        result = self._operation.compute(item.value)
        if result is None:
            return None
        if self._format is WORKED:
            return f"{self._operation.steps(item.value)}\n#### {result}"
        return self._format.render(result)


def make_item(kind: str, rng: random.Random) -> Item:
    value, text = _KINDS[kind].make(rng)
    return Item(kind, value, text)


def _all_tasks() -> Iterator[Task]:
    for kind in _KINDS.values():
        for order, operation in enumerate(kind.operations):
            worked = (WORKED,) if operation.steps else ()
            for form in (*fitting(operation.result), *worked):
                name = f"{kind.name}/{operation.name}/{form.name}"
                yield Task(name, kind.name, operation.name, form.name, order, kind, operation, form)


@functools.cache
def tasks() -> tuple[Task, ...]:
    """All tasks, always in the same order."""
    return tuple(_all_tasks())


def _share(name: str) -> float:
    """A number in [0, 1) that depends on the name alone, so that adding tasks moves none between splits."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


@functools.cache
def _splits() -> dict[str, Split]:
    by_operation: dict[str, list[str]] = defaultdict(list)
    for task in tasks():
        by_operation[f"{task.kind}/{task.operation}"].append(task.name)
    splits: dict[str, Split] = {}
    for operation, names in by_operation.items():
        kept = max(names, key=_share)  # every operation that is not held out whole occurs in train
        for name in names:
            if _share(operation) < _UNSEEN_OPERATIONS:
                splits[name] = "unseen_operation"
            else:
                splits[name] = "unseen_pair" if _share(name) < _UNSEEN_PAIRS and name != kept else "train"
    return splits


def split_of(task: Task) -> Split:
    """unseen_pair: operation and format are trained, never together; unseen_operation: held out whole."""
    return _splits()[task.name]
