"""From an item to the messages the model sees. The served model's chat template renders them (the backend's
part)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from t2l.evaluate.data import EvalData, Item

Messages = tuple[Mapping[str, str], ...]

SHOTS = 3


def user_prompt(item: Item, hint_only: bool) -> str:
    """hint_only: without the instruction, where the data says where the input starts."""
    return item.bare_prompt if hint_only else item.prompt


def messages(item: Item, system: str, shots: Sequence[Item], hint_only: bool) -> Messages:
    """The conversation: system, earlier turns, the question.

    The system message is there also when empty: without one, many templates put a text of their own, and
    adapters are trained without it.
    """
    turns: list[Mapping[str, str]] = [{"role": "system", "content": system}]
    for shot in shots:
        turns.append({"role": "user", "content": user_prompt(shot, hint_only)})
        turns.append({"role": "assistant", "content": shot.answer})
    turns.append({"role": "user", "content": user_prompt(item, hint_only)})
    return tuple(turns)


def choose_shots(
    data: EvalData, task: str, evaluated: Sequence[Item], seed: int
) -> tuple[tuple[Item, ...], str]:
    """Three solved examples of the task, the same for all its items, and the split they come from.

    Of `train`; where the task has none, of `dev`; else items that are not evaluated. Drawn from the shorter
    half, so that three of them and a question fit a context. Fewer than three where the task has fewer; ("",
    none) at worst.
    """
    taken = {item.id for item in evaluated}
    for split in ("train", "dev", "test"):
        pool = [item for item in data.items(task, split) if item.id not in taken]
        if len(pool) >= SHOTS:
            break
    pool.sort(key=lambda item: (len(item.prompt) + len(item.answer), item.id))
    half = pool[: max(SHOTS, len(pool) // 2)]
    shots = random.Random(f"shots/{seed}/{task}").sample(half, min(SHOTS, len(half)))
    return tuple(shots), shots[0].split if shots else ""
