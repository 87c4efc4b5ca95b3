"""Whether a text is one whose own gates are worth following: a small classifier over sentence vectors.

A gate network has something to say to descriptions like those it has learnt to listen to, and noise to all others. The
classifier has learnt which is which from many of both, system prompts among the strange ones (t2l/train/listening.py).
Likeness to the nearest of them tells it worse: short hints are near to everything (docs/results-attempts.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from t2l.hypernetwork import CheckpointError

FILE_NAME = "listening.safetensors"
HIDDEN = 256
"""Width of new classifiers; a file's own says its width."""


class Classifier(nn.Sequential):
    """Sentence vectors (k, E) -> logits (k,) that the texts are known."""

    def __init__(self, embedding_dim: int, hidden: int = HIDDEN) -> None:
        super().__init__(nn.Linear(embedding_dim, hidden), nn.GELU(), nn.Linear(hidden, 1), nn.Flatten(0))


@dataclass(frozen=True, slots=True, eq=False)
class Listening:
    """What `listening.safetensors` of a checkpoint holds.

    low, high: logits from which on a text begins to be followed, and is wholly. training: how they were chosen, for
    people. Raises ValueError unless low < high.
    """

    classifier: Classifier
    low: float
    high: float
    training: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"from {self.low} to {self.high}: want a rising range")

    @torch.no_grad()
    def shares(self, vectors: torch.Tensor) -> torch.Tensor:
        """(k,) from 0 to 1: how far texts, (k, E), are followed."""
        return followed(self.classifier(vectors), self.low, self.high)


def followed(logits: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """(k,): rises from 0 at `low` to 1 at `high`."""
    return ((logits - low) / (high - low)).clamp(0, 1)


def save_listening(listening: Listening, folder: Path) -> None:
    """Write `listening.safetensors` into a checkpoint folder, atomically."""
    temporary = folder / f"{FILE_NAME}.tmp"
    about = {"low": listening.low, "high": listening.high, "training": listening.training}
    save_file(listening.classifier.state_dict(), temporary, {"settings": json.dumps(about)})
    temporary.replace(folder / FILE_NAME)


def load_listening(folder: Path, embedding_dim: int) -> Listening | None:
    """Of a checkpoint folder; None where it has none, and every text is followed. Raises CheckpointError."""
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["settings"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        classifier = Classifier(embedding_dim, len(tensors["0.bias"]))
        classifier.load_state_dict(tensors)
        return Listening(classifier.eval(), float(about["low"]), float(about["high"]), about["training"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as exc:
        raise CheckpointError(f"{path} is no listening for embeddings of {embedding_dim}: {exc}") from exc
