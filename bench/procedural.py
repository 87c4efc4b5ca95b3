"""Procedural tasks never trained on as a folder that `et2l eval` reads: steering through the engine as served.

    python -m bench.procedural DIR [--split unseen_pair] [--breadth 4] [--tasks 60] [--items 2] [--seed 1234]
    et2l eval --data DIR --hint-only --arms base,base-desc,mt-lora,t2l,t2l-other,t2l-gibberish,et2l

bench.steering asks such tasks in torch, all tokens strictly right; here llama.cpp writes the answers with the adapter
attached to the quantised file, scored by exact_match (docs/evaluation.md). Tasks are drawn evenly: a kind of input,
then one of its operations, then one of its formats.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from t2l.train.data import procedural_tasks
from t2l.train.families import Task, make_item

DESCRIPTIONS = 4
"""Wordings of each task."""
TRIES = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="written there; must not hold other tasks")
    parser.add_argument("--split", choices=("unseen_pair", "unseen_operation"), default="unseen_pair")
    parser.add_argument("--breadth", type=int, default=4,
                        help="as the checkpoint was trained; for the pairs (default: %(default)s)")  # fmt: skip
    parser.add_argument("--tasks", type=int, default=60, help="(default: %(default)s)")
    parser.add_argument("--items", type=int, default=2, help="of each task (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1234)
    args = parser.parse_args()
    if args.folder.exists() and any(args.folder.iterdir()):
        parser.error(f"{args.folder} is not empty")
    args.folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)
    breadth = args.breadth if args.split == "unseen_pair" else 0
    chosen = draw(procedural_tasks(args.split, breadth), args.tasks, rng)
    infos = [
        {"task": task.name, "family": task.kind, "metric": "exact_match", "split": "eval",
         "descriptions": [task.describe(rng) for _ in range(DESCRIPTIONS)]}
        for task in chosen
    ]  # fmt: skip
    rows = [row for task in chosen for row in items(task, args.items, rng)]
    for name, lines in (("task_descriptions", infos), ("procedural", rows)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (args.folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    print(f"{len(infos)} tasks, {len(rows)} items in {args.folder}")


def draw(given: list[Task], count: int, rng: random.Random) -> list[Task]:
    """Up to `count` different tasks: a kind, one of its operations, one of its formats."""
    found: dict[str, Task] = {}
    left = list(given)
    while left and len(found) < count:
        kind = rng.choice(sorted({task.kind for task in left}))
        operation = rng.choice(sorted({task.operation for task in left if task.kind == kind}))
        task = rng.choice([task for task in left if (task.kind, task.operation) == (kind, operation)])
        found[task.name] = task
        left.remove(task)
    return list(found.values())


def items(task: Task, count: int, rng: random.Random) -> Iterator[dict]:
    """Rows of different inputs that the task applies to; fewer where few are found."""
    given: set[str] = set()
    for _ in range(TRIES * count):
        item = make_item(task.kind, rng)
        if len(given) == count:
            return
        if item.text not in given and (answer := task.answer(item)):
            given.add(item.text)
            row = {"task": task.name, "split": "test", "prompt": item.text, "answer": answer}
            yield row | {"meta": {"id": f"{task.name}/{len(given)}", "input_start": 0}}


if __name__ == "__main__":
    main()
