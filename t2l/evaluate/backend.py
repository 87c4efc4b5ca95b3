"""What an evaluation needs of a model: answers, and how likely given answers are. Two implementations.

`proxy/eval_backend.py` asks the engine that serves (quantised file, adapter attached); `torch_backend.py` is
the cross-check in plain transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from adapters.lora import LoraAdapter
from t2l.evaluate.prompts import Messages


class BackendError(Exception):
    """One request could not be answered (too long for the context, for instance). The item is counted as
    failed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """text: the answer, without its end token. finished: the model ended it, not max_tokens."""

    text: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Likelihood:
    """nats: minus the summed natural-log probability of an answer's tokens. tokens: how many they are."""

    nats: float
    tokens: int


class Backend(Protocol):
    """All methods may be called from `concurrency` threads at once and raise BackendError.

    `attached` is what `attach` returned: a handle of the backend's own.
    """

    @property
    def identity(self) -> str:
        """Which model in which runtime: part of the key under which results are kept."""

    @property
    def concurrency(self) -> int: ...

    def attach(self, adapter: LoraAdapter | None) -> Any:
        """Make an adapter usable. None = the bare model."""

    def detach(self, attached: Any) -> None: ...

    def count_tokens(self, text: str) -> int: ...

    def generate(self, messages: Messages, attached: Any, max_tokens: int) -> Reply:
        """The greedy answer (temperature 0)."""

    def loss(self, messages: Messages, answer: str, attached: Any) -> Likelihood:
        """Of the answer with its end-of-turn token, as training counts it."""

    def option_nats(self, messages: Messages, options: Sequence[str], attached: Any) -> tuple[float, ...]:
        """Minus the summed log-probability of each answer, end token not counted."""
