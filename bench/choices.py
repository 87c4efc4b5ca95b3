"""Why the model does badly at multiple choice: does it not know, or can it not bind what it knows to a letter?

    python -m bench.choices --data DIR [--tasks A,B] [--limit 40] [--split dev] [--checkpoint DIR] [--json]

Four readings of the same items, by likelihood, no text generated:
  letter       the letter, asked as the data asks
  calibrated   the letter, less that letter's mean log-probability over the other items of the task (Zhao et al. 2021,
               arXiv 2102.09690, section 4, with real items for the content-free input): letter bias taken out
  3-shot       the letter after three solved items
  text         the option's own text, nats per character, after the question without its options: what it knows
With --checkpoint also `letter` and `calibrated` under the adapter of the task's own description. Tasks whose answer is
the option itself (true, yes) have no letters; there `text` is left out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from adapters.gguf_file import BaseModel
from proxy.commands.eval import names, open_backend
from proxy.config import load_config
from t2l.embedder import open_embedder
from t2l.evaluate.backend import Backend
from t2l.evaluate.data import EvalData, Item
from t2l.evaluate.prompts import choose_shots, messages
from t2l.evaluate.scoring import gold_index, option_texts
from t2l.evaluate.stats import bootstrap_macro, interval
from t2l.gated import load_gated

TASKS = (
    "arc_easy", "arc_challenge", "boolq", "openbookqa", "piqa", "hellaswag", "winogrande", "commonsense_qa", "pubmedqa",
    "medmcqa",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tasks", type=names, default=TASKS, metavar="A,B")
    parser.add_argument("--limit", type=int, default=40, help="items a task (default: %(default)s)")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    config, data = load_config(None), EvalData(args.data)
    base = BaseModel.read(config.model.path)
    embedder = open_embedder(str(config.embedder.path or ""), config.embedder.threads)
    network = load_gated(args.checkpoint) if args.checkpoint else None
    hits: dict[str, dict[str, list[bool]]] = {}
    with ExitStack() as stack:
        backend = open_backend("engine", config, base, stack)
        with suppress(KeyboardInterrupt):  # what is known by then is reported
            for task in tqdm(args.tasks, unit="task"):
                items = data.sample(task, args.split, args.limit, args.seed)
                found = readings(backend, data, task, items, args.seed)
                if network:
                    (adapter,) = network.generate(embedder.read([data.descriptions(task)[0]]))
                    nats = letters(backend, items, (), backend.attach(adapter))
                    found |= {"t2l letter": right(nats, items), "t2l calibrated": right(calibrated(nats), items)}
                hits[task] = found
    if args.json:
        print(json.dumps({task: {name: np.mean(found) for name, found in one.items()} for task, one in hits.items()}))
        return
    report(hits)


def readings(backend: Backend, data: EvalData, task: str, items: list[Item], seed: int) -> dict[str, list[bool]]:
    """Hit or miss of each item, by reading."""
    bare = backend.attach(None)
    nats = letters(backend, items, (), bare)
    shots, _ = choose_shots(data, task, items, seed)
    found = {"letter": right(nats, items), "calibrated": right(calibrated(nats), items)}
    found["3-shot"] = right(letters(backend, items, shots, bare), items)
    if all(item.answer not in item.choices for item in items):
        found["text"] = [best(texts(backend, item, bare)) == gold_index(item) for item in items]
    return found


def letters(backend: Backend, items: list[Item], shots, attached) -> list[tuple[float, ...]]:
    """Nats of each option's label (or text, where the data has the options answer for themselves)."""
    return [backend.option_nats(messages(item, "", shots, False), option_texts(item), attached) for item in items]


def calibrated(nats: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Less each label's mean over the other items that have as many options."""
    out = []
    for index, own in enumerate(nats):
        others = [row for place, row in enumerate(nats) if place != index and len(row) == len(own)]
        out.append(tuple(np.array(own) - np.mean(others, axis=0)) if others else own)
    return out


def texts(backend: Backend, item: Item, attached) -> tuple[float, ...]:
    """Nats per character of each option's text after the question alone."""
    question = re.split(r"\n+A\. ", item.prompt)[0]
    asked = messages(Item(item.task, item.id, item.split, question, item.answers), "", (), False)
    nats = backend.option_nats(asked, item.choices, attached)
    return tuple(one / len(text) for one, text in zip(nats, item.choices, strict=True))


def best(nats: tuple[float, ...]) -> int:
    return min(range(len(nats)), key=nats.__getitem__)


def right(nats: list[tuple[float, ...]], items: list[Item]) -> list[bool]:
    return [best(one) == gold_index(item) for one, item in zip(nats, items, strict=True)]


def report(hits: dict[str, dict[str, list[bool]]]) -> None:
    columns = list(dict.fromkeys(name for found in hits.values() for name in found))
    print(f"{'accuracy':16}" + "".join(f"{name:>16}" for name in columns))
    for task, found in hits.items():
        shares = (f"{np.mean(found[name]):.1%}" if name in found else "" for name in columns)
        print(f"{task:16}" + "".join(f"{share:>16}" for share in shares))
    for name in columns:
        tables = [np.array([found["letter"], found[name]], float).T for found in hits.values() if name in found]
        means = bootstrap_macro(tables)  # (resamples, 2)
        plain, mean = np.mean([table.mean(0) for table in tables], axis=0)
        gain = interval(mean - plain, means[:, 1] - means[:, 0])
        gained = f"minus letter {gain.value:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}]"
        print(f"{name}: mean {mean:.1%} of {len(tables)} tasks; {gained}")


if __name__ == "__main__":
    sys.exit(main())
