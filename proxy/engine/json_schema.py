"""JSON schemas that clients send: how often a grammar made of one may repeat something.

llama-cpp-python's converter writes "at most N" as N nested groups, which neither it nor llama.cpp's parser bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_REPETITIONS = 500
"""A schema's maxLength, maxItems or {m,n} above it stays open; a minimum above it is refused."""
MAX_REPEATED_CHARACTERS = 200_000


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
