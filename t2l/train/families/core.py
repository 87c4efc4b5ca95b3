"""What a task family is made of: inputs (Item, Kind), what is done to them (Operation), how the answer is
written (Format). In wordings, "(a|b)" stands for either; see `vary`.
"""

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

# text: a word or short phrase; token: text whose case must stay (dates, addresses, Chinese); prose: whole
# sentences; block: code or data, maybe several lines; count: an integer from 0 to 999; integer: any integer;
# list: a tuple.
ResultType = Literal["text", "token", "prose", "block", "count", "integer", "list"]
Result = str | int | tuple[Any, ...]


@functools.cache
def _parse(template: str) -> tuple:
    """The alternatives of a template. Parentheses without a choice inside are ordinary text."""
    alternatives: list[list] = [[]]
    open_groups: list[tuple[list[list], int]] = []
    start = 0
    for i, char in enumerate(template):
        if char not in "(|)":
            continue
        alternatives[-1].append(template[start:i])
        start = i + 1
        if char == "(":
            open_groups.append((alternatives, start))
            alternatives = [[]]
        elif char == "|":
            alternatives.append([])
        else:
            outer, begin = open_groups.pop()
            inside = template[begin:i]
            outer[-1].append(tuple(map(tuple, alternatives)) if "|" in inside else f"({inside})")
            alternatives = outer
    alternatives[-1].append(template[start:])
    return tuple(map(tuple, alternatives))


def _choose(alternatives: tuple, rng: random.Random) -> str:
    sequence = alternatives[0] if len(alternatives) == 1 else rng.choice(alternatives)
    return "".join(part if isinstance(part, str) else _choose(part, rng) for part in sequence)


def vary(template: str, rng: random.Random) -> str:
    """One wording of a template: each "(a|b|c)", and "|" at the top level, becomes one part. Groups nest."""
    return _choose(_parse(template), rng)


@dataclass(frozen=True, slots=True)
class Item:
    """One input. `value` is hashable and what operations compute on; `text` is what the user sends."""

    kind: str
    value: Any
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """Something to do with inputs of one kind.

    compute: value -> result, None when it does not apply. `do` is an imperative ("sort the words"), `what` a
    noun phrase ("the longest word"); at least one is given. `zh` is an imperative in Chinese. `steps` writes
    out the calculation for the worked format, whose last line is the result.
    """

    name: str
    result: ResultType
    compute: Callable[[Any], Result | None]
    do: str = ""
    what: str = ""
    zh: str = ""
    steps: Callable[[Any], str] | None = None

    def imperative(self, rng: random.Random) -> str:
        if self.what and (not self.do or rng.random() < 0.5):
            verb = vary("give|return|output|find|tell me|state|report|identify|write", rng)
            return f"{verb} {vary(self.what, rng)}"
        return vary(self.do, rng)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of input: how to call it in a description, how to make one, and what can be done with it."""

    name: str
    noun: str  # "(a list of words|some words)"
    make: Callable[[random.Random], tuple[Any, str]]
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Format:
    """How an answer is written down. `do` and `zh` (Chinese) are imperatives, `short` is a noun phrase."""

    name: str
    results: frozenset[ResultType]
    render: Callable[[Result], str | None]
    do: str
    short: str
    zh: str
