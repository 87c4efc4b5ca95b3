"""The base model's own good replies, kept in the training mix so that adapters do not unlearn what it can do.

Terse answers are most of the other examples; a network trained on them alone stops showing its steps and writing whole
functions. Here are open requests, word problems with the steps shown, and small Python functions: asked as they will
be, with the hint in the system text, answered by the bare model, and kept where the answer is whole and right (word
problems: the number; functions: they agree with ours on random inputs). Source of the idea: rejection sampling as in
Yuan et al. 2023 (arXiv 2308.01825), section 3.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from t2l.evaluate.backend import Backend
from t2l.evaluate.data import DataError, EvalData, Item, TaskInfo, instruction_prefix
from t2l.evaluate.sandbox import run_program
from t2l.evaluate.scoring import code_of, score
from t2l.train.families import make_item, split_of, tasks

MAX_TOKENS = 160
LONGEST_PROMPT = 450
"""Characters, as for the other examples."""

OPEN = (
    "You are a helpful assistant.", "Follow the user's instructions and answer helpfully and completely.",
    "General assistant: write, explain, classify, plan or edit as asked.", "Answer the user's question.",
    "You are a friendly chat assistant.", "Help the user with whatever they ask, in a few sentences.",
)  # fmt: skip
WORKED = (
    "Solve the math word problem step by step and give the final number.",
    "You are a maths tutor. Show the calculation step by step, then state the answer.",
    "Think through each word problem in steps before answering with the number.",
    "Reason through quantities in everyday stories: write out the arithmetic, then the result.",
    "Solve grade school math problems with multi-step reasoning and explain the working.",
    "Work out the answer to arithmetic story problems, showing your reasoning.",
)  # fmt: skip
CODE = (
    "You are a Python programming assistant.", "Write a Python function that solves the task.",
    "Implement small Python functions that pass the given tests.", "Coding assistant: write correct, readable code.",
    "Generate Python code for the described problem.", "Help with programming tasks; answer with a Python function.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """One kept conversation; `description` is what the hypernetwork reads, `system` what the model does."""

    description: str
    system: str
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Request:
    """One conversation to be answered. right: whether an answer may be kept. code: it ends with its function."""

    description: str
    system: str
    prompt: str
    right: Callable[[str], bool]
    code: bool = False


def requests(folder: Path, open_tasks: Sequence[str], worked: Sequence[str], seed: int) -> Iterator[Request]:
    """Endless, in turn: an open request of `open_tasks`, a word problem of `worked`, a function. Raises DataError."""
    data, rng = EvalData(folder), random.Random(seed)
    open_items, problems = _rows(data, open_tasks), _rows(data, worked)
    while True:
        item = rng.choice(open_items)
        yield _request(rng.choice(OPEN), item.prompt, bool, rng)
        item = rng.choice(problems)
        yield _request(rng.choice(WORKED), item.prompt, partial(_solved, item), rng)
        prompt, right = _function(rng)
        yield replace(_request(rng.choice(CODE), prompt, right, rng), code=True)


def _request(description: str, prompt: str, right: Callable[[str], bool], rng: random.Random) -> Request:
    return Request(description, description if rng.random() < 0.7 else "", prompt, right)


def to_code(text: str) -> str:
    """The reply up to the end of its first fenced block: the explanation that follows is mostly padding."""
    match = re.match(r".*?```.*?\n```", text, re.DOTALL)
    return match.group() if match else text


def _rows(data: EvalData, names: Sequence[str]) -> list[Item]:
    """Short training rows, without an instruction that all rows of their task begin with."""
    found = []
    for name in names:
        items = data.items(name, "train") if data.infos.get(name, TaskInfo(name)).trained else []
        prefix = instruction_prefix([item.bare_prompt for item in items])
        for item in items:
            if len(item.prompt) <= LONGEST_PROMPT:
                found.append(replace(item, prompt=item.bare_prompt.removeprefix(prefix)))
    if not found:
        raise DataError(f"{data.folder} has no short training rows of {', '.join(names)}")
    return found


def _solved(item: Item, text: str) -> bool:
    """The right number after some steps."""
    return len(text.split()) > 8 and score("numeric", item, text).value == 1.0


def _function(rng: random.Random) -> tuple[str, Callable[[str], bool]]:
    """A list operation of the families as a programming task, and the check on three random lists."""
    while True:
        kind = rng.choice(("words", "integers"))
        task = rng.choice([task for task in tasks() if task.kind == kind and split_of(task) == "train"])
        values = [make_item(kind, rng).value for _ in range(8)]
        cases = [(value, result) for value in values if (result := task.compute(value)) is not None][:3]
        if cases:
            break
    name = rng.choice(("solve", "process", "transform", "run", "apply_rule", "convert"))
    sort = "words" if kind == "words" else "integers"
    prompt = f"Write a Python function {name}(items) that takes a list of {sort}. It should {task.imperative(rng)}."
    tests = "\n".join(f"assert _same({name}({list(value)!r}), {result!r})" for value, result in cases)
    check = "def _same(a, b):\n    return tuple(a) == b if isinstance(b, tuple) else a == b\n"
    return prompt, lambda text: run_program(f"{code_of(text)}\n{check}{tests}\n").ok


def collect(
    backend: Backend, folder: Path, open_tasks: Sequence[str], worked: Sequence[str], count: int, seed: int
) -> Iterator[Reply]:
    """Ask `count` requests and yield the replies worth keeping, as they come. Raises DataError."""
    asked = list(islice(requests(folder, open_tasks, worked, seed), count))

    def answer(request: Request) -> Reply | None:
        messages = ({"role": "system", "content": request.system}, {"role": "user", "content": request.prompt})
        reply = backend.generate(messages, backend.attach(None), MAX_TOKENS)
        text = to_code(reply.text) if request.code else reply.text
        good = (reply.finished or request.code) and request.right(text)
        return Reply(request.description, request.system, request.prompt, text) if good else None

    with ThreadPoolExecutor(backend.concurrency) as pool:
        waiting = [pool.submit(answer, request) for request in asked]
        try:
            for future in tqdm(as_completed(waiting), total=len(waiting), unit="request"):
                if reply := future.result():
                    yield reply
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def write_replies(replies: list[Reply], path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in replies))
    temporary.replace(path)


def read_replies(path: Path) -> tuple[tuple[str, str, str, str], ...]:
    """(description, system, prompt, answer) of each. Raises DataError."""
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        found = tuple((row["description"], row["system"], row["prompt"], row["answer"]) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DataError(f"{path} is no file of replies: {exc!r}") from exc
    if not found:
        raise DataError(f"{path} holds no reply")
    return found
