"""What of a description can be read from its one vector, and what from its tokens' states?

    python -m bench.reading [--train 3000] [--test 600] [--breadth 4] [--seed 0]

Classifiers are trained on descriptions of procedural tasks to tell the operation and the answer format, and tested on
operation-format pairs that they never saw together: a linear one and an MLP over the sentence vector, as hypernetworks
commonly read it, and the attention heads of `t2l/gated.py` with a linear one behind. No language model is involved.
"""

from __future__ import annotations

import argparse
import random

import torch
from torch import nn

from bench._numbers import mean
from t2l.embedder import Reading, open_embedder
from t2l.gated import HEAD_WIDTH, HEADS, GateNetwork
from t2l.train.data import procedural_tasks

EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 15, 64, 2e-3, 1e-2


class FromVector(nn.Module):
    """The sentence vector, brought to length sqrt(E), through a layer, or through two."""

    def __init__(self, dim: int, classes: int, hidden: int) -> None:
        super().__init__()
        inner = [nn.Linear(dim, hidden), nn.SiLU()] if hidden else []
        self.layers = nn.Sequential(*inner, nn.Linear(hidden or dim, classes))

    def forward(self, reading: Reading) -> torch.Tensor:
        return self.layers(reading.vectors * reading.vectors.shape[1] ** 0.5)


class FromTokens(nn.Module):
    """The gate network's heads, and a layer."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.heads = GateNetwork(dim, 1, 1, 1)
        self.last = nn.Linear(HEADS * HEAD_WIDTH, classes)

    def forward(self, reading: Reading) -> torch.Tensor:
        return self.last(self.heads.read(reading.tokens))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=3000, help="descriptions (default: %(default)s)")
    parser.add_argument("--test", type=int, default=600, help="descriptions (default: %(default)s)")
    parser.add_argument("--breadth", type=int, default=4, help="operations a kind; 0 = all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, embedder = random.Random(args.seed), open_embedder()
    sets = {}
    for split, count in (("train", args.train), ("unseen_pair", args.test)):
        tasks = rng.choices(procedural_tasks(split, args.breadth), k=count)
        labels = {"operation": [f"{t.kind}/{t.operation}" for t in tasks], "format": [t.format for t in tasks]}
        sets[split] = embedder.read([task.describe(rng) for task in tasks]), labels
    (reading, labels), (unseen, wanted) = sets.values()
    for part in ("operation", "format"):
        names = sorted(set(labels[part]))
        answers = torch.tensor([names.index(name) for name in labels[part]])
        torch.manual_seed(args.seed)
        classifiers = {"vector, linear": FromVector(embedder.dim, len(names), 0),
                       "vector, MLP": FromVector(embedder.dim, len(names), 256),
                       "tokens, heads": FromTokens(embedder.dim, len(names))}  # fmt: skip
        print(f"\n{part}: {len(names)} classes, right on unseen pairs (n = {args.test})")
        for name, classifier in classifiers.items():
            fit(classifier, reading, answers)
            with torch.no_grad():
                found = classifier(unseen).argmax(1).tolist()
            right = [float(names[guess] == want) for guess, want in zip(found, wanted[part], strict=True)]
            print(f"  {name:16}{mean(right)}")


def fit(classifier: nn.Module, reading: Reading, answers: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(answers)).split(BATCH):
            loss = nn.functional.cross_entropy(classifier(reading.rows(rows.tolist())), answers[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()


if __name__ == "__main__":
    main()
