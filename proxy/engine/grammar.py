"""Grammars that clients send: bounded before llama.cpp's parser sees them, which recurses and would end the process.

llama-cpp-python's converter writes "at most N" as N nested groups, and llama.cpp's parser goes one call deeper for each
group and each rule: some 18,000 of them are the end of a thread's stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from proxy.engine.gbnf import beginnings, read_rules

MAX_REPETITIONS = 500
"""A schema's maxLength, maxItems or {m,n} above it stays open; a minimum above it is refused."""

MAX_DEPTH, MAX_RULES, MAX_REPEATED_CHARACTERS = 1000, 5000, 200_000
MAX_BEGINNINGS = 50_000
"""Of a rule: llama.cpp keeps a stack for each."""

_SKIPPED = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*')
_COUNTED = re.compile(r"[()]|::=")


def check_gbnf(gbnf: str) -> None:
    """Raises ValueError for a grammar that is nested too deep, has too many rules, names tokens, or whose rules lead
    back to themselves at their beginning or may begin in too many ways.
    """
    depth = rules = 0
    for found in _COUNTED.finditer(_SKIPPED.sub("", gbnf)):
        match found[0]:
            case "(":
                depth += 1
            case ")":
                depth -= 1
            case _:
                rules += 1
                depth = 0
        if depth > MAX_DEPTH:
            raise ValueError(f"groups are nested more than {MAX_DEPTH} deep")
    if rules > MAX_RULES:
        raise ValueError(f"it has {rules} rules, at most {MAX_RULES} are allowed")
    if beginnings(read_rules(gbnf)) > MAX_BEGINNINGS:
        raise ValueError(f"a rule may begin in more than {MAX_BEGINNINGS} ways")


def bounded(build: Callable[..., str]) -> Callable[..., str]:
    """llama-cpp-python's one function for repetitions, within bounds: whatever in a schema leads there.

    What it returns raises ValueError.
    """

    def build_repetition(item_rule: str, min_items: int, max_items: int | None, *args: Any, **kwargs: Any) -> str:
        if min_items > MAX_REPETITIONS:
            raise ValueError(f"a minimum of {min_items}, at most {MAX_REPETITIONS} can be asked for")
        if max_items is not None and max_items > MAX_REPETITIONS:
            max_items = None
        if len(item_rule) * max(min_items, max_items or 0) > MAX_REPEATED_CHARACTERS:
            raise ValueError(f"a repetition of more than {MAX_REPEATED_CHARACTERS} characters")
        return build(item_rule, min_items, max_items, *args, **kwargs)

    return build_repetition
