"""Running an evaluation: every item under every arm, many at once, each result on disk as soon as it is
known.

A result is kept under a key of all that decides it (model, messages, adapter, metric, item, limits), so a run that
was stopped goes on where it was, and results of other settings in the same folder are never mistaken for
these.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from adapters.lora import LoraAdapter
from t2l.evaluate.arms import Arms, Condition
from t2l.evaluate.backend import Backend, BackendError
from t2l.evaluate.data import DataError, EvalData, Item
from t2l.evaluate.prompts import Messages, messages
from t2l.evaluate.scoring import check_item, gold_index, option_texts, score

ITEMS_FILE = "items.jsonl"
KEY_VERSION = 3
"""Raised when scoring or prompting changes, so that results of before are not used again."""
MOST_OPTIONS = 16
"""Likelihood of options is measured up to so many of them."""
MIN_ANSWER_TOKENS, MAX_ANSWER_TOKENS = 16, 512
LENGTH_SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """limit: items a task, None = all. hint_only: drop the instruction from prompts that say where it
    ends."""

    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    hint_only: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """One item under one arm: a line of items.jsonl.

    score: in [0, 1]. nats, tokens: loss of the target answer. likelihood: 1.0 where the most likely option is
    right, None where there are no options. parsed: an answer could be read out of the text. error: the
    request failed; the score is 0 and there is no loss.
    """

    key: str
    arm: str
    task: str
    id: str
    score: float
    nats: float | None
    tokens: int | None
    likelihood: float | None
    parsed: bool
    finished: bool
    text: str
    adapter: str | None
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One result to be computed."""

    key: str
    item: Item
    messages: Messages
    metric: str
    max_tokens: int


@dataclass(slots=True, eq=False)
class Group:
    """The work of one arm on one task that is still to do; its adapter is attached while any of it is under
    way.

    make: the adapter, made again when its turn comes: those of a long run would not fit into memory together.
    """

    arm: str
    task: str
    digest: str | None
    make: Callable[[], LoraAdapter | None]
    work: list[Work]
    left: int = 0
    attached: Any = None

    def __post_init__(self) -> None:
        self.left = len(self.work)


class Counter(Protocol):
    """What `evaluate` tells of its progress."""

    def advance(self, label: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results of the settings, those of earlier runs included, and what should be known about them."""

    settings: Settings
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()
    descriptions: dict[str, dict[str, str]] = field(default_factory=dict)


def evaluate(
    data: EvalData,
    backend: Backend,
    arms: Arms,
    settings: Settings,
    folder: Path,
    progress: Callable[[int], Counter] | None = None,
) -> Evaluation:
    """Compute what is not in `folder` yet and return everything. progress: made with the number of items to
    do.

    Raises ArmUnavailable and DataError before the first request.
    """
    arms.check(settings.arms)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ITEMS_FILE
    known = read_results(path)
    groups, keys, notes, descriptions = [], [], [], {}
    for task in settings.tasks:
        items = data.sample(task, settings.split, settings.limit, settings.seed)
        metric, max_tokens = data.metric(task), answer_limit(data, task, backend, settings.seed)
        for item in items:
            check_item(metric, item)
        if (info := data.infos.get(task)) and info.trained:
            notes.append(f"{task}: not an unseen task, our training reads its train rows")
        if settings.hint_only and not any("input_start" in item.meta for item in items):
            notes.append(f"{task}: prompts keep their instruction, there is no meta.input_start")
        for arm in settings.arms:
            condition = arms.condition(arm, task, items)
            if condition.note:
                notes.append(f"{arm}, {task}: {condition.note}")
            if condition.description:
                descriptions.setdefault(arm, {})[task] = condition.description
            work = [_work(item, condition, metric, max_tokens, settings, backend) for item in items]
            keys += [one.key for one in work]
            make = partial(_adapter, arms, arm, task, items)
            digest = condition.adapter.digest if condition.adapter else None
            groups.append(Group(arm, task, digest, make, [one for one in work if one.key not in known]))
    total = sum(group.left for group in groups)
    if total:
        counter = progress(total) if progress else None
        with path.open("a", encoding="utf-8") as out:
            for result in _compute(backend, groups):
                known[result.key] = result
                out.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
                out.flush()
                if counter:
                    counter.advance(f"{result.arm} {result.task}")
        if counter:
            counter.close()
    return Evaluation(settings, tuple(known[key] for key in keys), tuple(notes), descriptions)


def read_results(path: Path) -> dict[str, Result]:
    """Results by key, but for failed requests, which are made again. A last line cut short by a kill is dropped, from
    the file too.
    """
    if not path.exists():
        return {}
    found, whole = {}, 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                result = Result(**json.loads(line))
                if result.error is None:
                    found[result.key] = result
            except (ValueError, TypeError):
                if line.endswith(b"\n"):
                    whole += len(line)  # a line of another version: not ours to delete
                continue
            whole += len(line)
    if whole < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(whole)
    return found


def answer_limit(data: EvalData, task: str, backend: Backend, seed: int) -> int:
    """max_tokens of a task: half as long again as its long answers (99 %), within bounds."""
    items = [
        item for split in ("train", "dev", "test") for item in data.sample(task, split, LENGTH_SAMPLE, seed)
    ]
    lengths = sorted(backend.count_tokens(item.answer) for item in items[:LENGTH_SAMPLE])
    long = lengths[min(len(lengths) - 1, int(0.99 * len(lengths)))]
    return max(MIN_ANSWER_TOKENS, min(MAX_ANSWER_TOKENS, long * 3 // 2 + 8))


def _work(
    item: Item, condition: Condition, metric: str, max_tokens: int, settings: Settings, backend: Backend
) -> Work:
    asked = messages(item, condition.system, condition.shots, settings.hint_only)
    decides = [
        KEY_VERSION, backend.identity, condition.arm, item.task, item.id, settings.split, metric, max_tokens,
        asked, item.answers, item.choices, item.meta, condition.adapter.digest if condition.adapter else None,
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]
    return Work(key, item, asked, metric, max_tokens)


def _compute(backend: Backend, groups: Sequence[Group]) -> Iterator[Result]:
    """Results as they come. Requests run in the order of the groups, a few groups overlapping at their
    borders."""
    todo = ((group, one) for group in groups for one in group.work)
    running: dict[Future[Result], Group] = {}
    with ThreadPoolExecutor(backend.concurrency, thread_name_prefix="evaluate") as pool:
        try:
            while True:
                while len(running) < 2 * backend.concurrency and (following := next(todo, None)):
                    group, one = following
                    if group.attached is None:
                        group.attached = backend.attach(group.make())
                    running[pool.submit(_answer, backend, group, one)] = group
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    group = running.pop(future)
                    group.left -= 1
                    if group.left == 0:
                        backend.detach(group.attached)
                    yield future.result()
        finally:
            for future in running:
                future.cancel()


def _adapter(arms: Arms, arm: str, task: str, items: Sequence[Item]) -> LoraAdapter | None:
    return arms.condition(arm, task, items).adapter


def _answer(backend: Backend, group: Group, work: Work) -> Result:
    item, started = work.item, time.perf_counter()
    common = {"key": work.key, "arm": group.arm, "task": item.task, "id": item.id, "adapter": group.digest}
    try:
        reply = backend.generate(work.messages, group.attached, work.max_tokens)
        likelihood = None
        if (gold := _gold_option(work.metric, item)) is not None:
            nats = backend.option_nats(work.messages, option_texts(item), group.attached)
            likelihood = float(min(range(len(nats)), key=nats.__getitem__) == gold)
        loss = backend.loss(work.messages, item.answer, group.attached)
    except BackendError as exc:
        return Result(
            **common, score=0.0, nats=None, tokens=None, likelihood=None, parsed=False, finished=False,
            text="", seconds=time.perf_counter() - started, error=str(exc),
        )  # fmt: skip
    scored = score(work.metric, item, reply.text)
    return Result(
        **common, score=scored.value, nats=loss.nats, tokens=loss.tokens, likelihood=likelihood,
        parsed=scored.parsed, finished=reply.finished, text=reply.text, seconds=time.perf_counter() - started,
    )  # fmt: skip


def _gold_option(metric: str, item: Item) -> int | None:
    """The right option where likelihoods of options are to be compared."""
    if metric not in ("choice", "exact_match") or not 1 < len(item.choices) <= MOST_OPTIONS:
        return None
    try:
        return gold_index(item)
    except DataError:
        return None
