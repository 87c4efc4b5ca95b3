"""Development rows of tasks that training never reads, as the server meets them: what calibration is done on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from t2l.enhancer import Enhancement, Enhancer
from t2l.evaluate.data import EvalData, instruction_prefix
from t2l.train.data import MIN_ITEMS, Example

MAX_CHARS = 700
"""Of prompt and answer together; longer items are left out, or they would take most of the time."""


def served_tasks(
    folder: Path, enhancer: Enhancer, per_task: int, seed: int
) -> Iterator[tuple[str, list[tuple[Example, Enhancement]]]]:
    """Name and up to `per_task` random short items of each task that has descriptions, with their enhanced hints.

    An example's system text is the hint as the user wrote it, its description the enhanced one, its prompt the input
    without the instruction. Raises DataError.
    """
    data, rng = EvalData(folder), random.Random(seed)
    for name, info in sorted(data.infos.items()):
        if info.trained:
            continue
        items = data.items(name, "dev")
        if len(items) < MIN_ITEMS or not info.descriptions:
            continue
        prefix = instruction_prefix([item.bare_prompt for item in items])
        short = [item for item in items if len(item.prompt) + len(item.answer) <= MAX_CHARS]
        rng.shuffle(short)
        found = []
        for item in short[:per_task]:
            hint = rng.choice(info.descriptions)
            enhanced = enhancer.enhance(hint)
            prompt = item.bare_prompt.removeprefix(prefix)
            found.append((Example(name, enhanced.text, hint, prompt, item.answer), enhanced))
        if found:
            yield name, found
