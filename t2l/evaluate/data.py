"""Reading evaluation data: a folder of instance files and `task_descriptions`, as JSON Lines, gzip or plain.

Of an instance only `task`, `prompt` and `answer` are required; of a task only its name. What is left out gets
the plainest meaning: split `test`, no choices, a metric by the look of the answers. Everything else is
checked here.
"""

from __future__ import annotations

import difflib
import fnmatch
import gzip
import hashlib
import json
import os
import random
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DESCRIPTIONS = "task_descriptions"
METRICS = ("exact_match", "rouge_l", "choice", "numeric", "numeric_program", "pass_at_1")
SPLITS = ("train", "dev", "test")
HELD_OUT_SHARE = 8


class DataError(Exception):
    """The data folder cannot be used; the message names the file, the line and what was expected."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `answers`: all references, the target first. `meta`: what its metric needs, as the file
    has it."""

    task: str
    id: str
    split: str
    prompt: str
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        return self.answers[0]

    @property
    def bare_prompt(self) -> str:
        """The input without the instruction, where the file says where it starts (`meta.input_start`)."""
        return self.prompt[self.meta.get("input_start", 0) :]


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What the folder says about a task. metric: None = guessed from its items. file: None = any.

    for_training: whether the task is meant for training a generator (`split` is "train"), not for measuring
    one.
    """

    name: str
    descriptions: tuple[str, ...] = ()
    metric: str | None = None
    family: str | None = None
    file: str | None = None
    definition: str | None = None
    for_training: bool = False

    @property
    def trained(self) -> bool:
        """Whether `et2l train` reads its train rows."""
        return self.for_training and not is_held_out(self.name)


def is_held_out(task: str) -> bool:
    """Whether a task for training is kept out of it whole: one in HELD_OUT_SHARE, by its name."""
    return int(hashlib.sha256(task.encode()).hexdigest(), 16) % HELD_OUT_SHARE == 0


class EvalData:
    """A data folder. Reads the descriptions at once and the instance files of a task when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError."""
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder")
        self.folder = folder
        self._files = sorted(p for p in folder.iterdir() if p.name.endswith((".jsonl", ".jsonl.gz")))
        listed = [path for path in self._files if _stem(path) == DESCRIPTIONS]
        self._files = [path for path in self._files if path not in listed]
        if not self._files:
            raise DataError(f"{folder} has no instance files (*.jsonl or *.jsonl.gz)")
        self.infos = {info.name: info for path in listed for info in _read_infos(path)}
        self._items: dict[str, list[Item]] = {}
        self._read: set[Path] = set()

    def tasks(self, patterns: Sequence[str], split: str) -> list[str]:
        """Task names that match (shell patterns, or all of them where there is none) and have items in
        `split`.

        Raises DataError for a pattern that matches nothing, naming what is near.
        """
        if not patterns or any(set(pattern) & set("*?[") for pattern in patterns):
            self._read_files(self._files)
        names = sorted(self.infos.keys() | self._items.keys())
        chosen: list[str] = []
        for pattern in patterns or ["*"]:
            found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
            if not found and self.items(pattern):
                found = [pattern]
            if not found:
                near = difflib.get_close_matches(pattern, names, n=3) or names[:3]
                raise DataError(
                    f"{self.folder} has no task {pattern!r}; there is {', '.join(near)} ({len(names)} in all)"
                )
            with_items = [name for name in found if self.items(name, split)]
            if not with_items:
                have = sorted({item.split for name in found for item in self.items(name)})
                raise DataError(
                    f"{pattern}: no items in split {split!r}; there are items in {', '.join(have) or 'none'}"
                )
            chosen += with_items
        return list(dict.fromkeys(chosen))

    def items(self, task: str, split: str | None = None) -> list[Item]:
        """The items of a task in file order, of one split or of all. Empty where there is none."""
        info = self.infos.get(task)
        named = [path for path in self._files if info and info.file and _stem(path) == _stem(Path(info.file))]
        self._read_files(named or self._files)
        found = self._items.get(task, [])
        return [item for item in found if split is None or item.split == split]

    def sample(self, task: str, split: str, limit: int | None, seed: int) -> list[Item]:
        """`limit` items in a seeded order; a larger limit with the same seed only appends."""
        items = self.items(task, split)
        random.Random(f"items/{seed}/{task}/{split}").shuffle(items)
        return items if limit is None else items[:limit]

    def metric(self, task: str) -> str:
        """The task's metric: as listed, else `choice` where items have choices, else `exact_match`."""
        info = self.infos.get(task)
        if info and info.metric:
            return info.metric
        return "choice" if any(item.choices for item in self.items(task)) else "exact_match"

    def descriptions(self, task: str) -> tuple[str, ...]:
        """May be empty."""
        info = self.infos.get(task)
        return info.descriptions if info else ()

    def family(self, task: str) -> str | None:
        info = self.infos.get(task)
        return info.family if info else None

    def _read_files(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if path in self._read:
                continue
            self._read.add(path)
            for number, row in _rows(path):
                item = _item(row, f"{path.name}:{number}")
                self._items.setdefault(item.task, []).append(item)


def instruction_prefix(prompts: Sequence[str]) -> str:
    """What all prompts of a task begin with, cut after the last blank line, else colon: its instruction, or ""."""
    common = os.path.commonprefix(list(prompts))  # noqa: RUF071 - characters are what is wanted
    ends = [match.end() for match in re.finditer(r"\n\n", common)] or [m.end() for m in re.finditer(r":\s", common)]
    return common[: ends[-1]] if ends and ends[-1] > 15 else ""


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as lines
        ):
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as exc:
                    raise DataError(f"{path}:{number}: no JSON: {exc}") from exc
                if not isinstance(row, dict):
                    raise DataError(f"{path}:{number}: want a JSON object, got {type(row).__name__}")
                yield number, row
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc


def _read_infos(path: Path) -> Iterator[TaskInfo]:
    for number, row in _rows(path):
        where = f"{path.name}:{number}"
        texts = row.get("descriptions") or row.get("description") or row.get("definition") or []
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{where}: descriptions must be a list of strings")
        metric = row.get("metric")
        if metric is not None and metric not in METRICS:
            raise DataError(f"{where}: metric {metric!r}; known are {', '.join(METRICS)}")
        descriptions = tuple(text.strip() for text in texts if text.strip())
        yield TaskInfo(
            _text(row, "task", where), descriptions, metric, *(
                _text(row, key, where) if row.get(key) else None for key in ("family", "file", "definition")
            ), row.get("split") == "train",
        )  # fmt: skip


def _item(row: Mapping[str, Any], where: str) -> Item:
    task, answer = _text(row, "task", where), _text(row, "answer", where)
    split = row.get("split") or "test"
    if split not in SPLITS:
        raise DataError(f"{where}: split is {split!r}, want one of {', '.join(SPLITS)}")
    choices = row.get("choices") or []
    meta = row.get("meta") or {}
    if not isinstance(choices, list) or not isinstance(meta, dict):
        raise DataError(f"{where}: choices must be a list and meta an object")
    start = meta.get("input_start", 0)
    prompt = _text(row, "prompt", where)
    if not isinstance(start, int) or not 0 <= start <= len(prompt):
        raise DataError(f"{where}: meta.input_start is {start!r}, want a position in the prompt")
    index = meta.get("answer_index")
    if index is not None and not (isinstance(index, int) and 0 <= index < len(choices)):
        raise DataError(f"{where}: meta.answer_index is {index!r} and there are {len(choices)} choices")
    answers = meta.get("answers") or []
    if not isinstance(answers, list):
        raise DataError(f"{where}: meta.answers is {answers!r}, want a list")
    references = [str(text) for text in answers if str(text) != answer]
    identity = str(meta.get("id", where))
    return Item(task, identity, split, prompt, (answer, *references), tuple(str(c) for c in choices), meta)


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: {key} is {value!r}, want a string")
    return value
