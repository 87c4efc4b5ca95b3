"""The one interface of every Text-to-LoRA generator, and the errors of loading one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from adapters.lora import LoraAdapter
from t2l.embedder import Reading


class CheckpointError(Exception):
    """A hypernetwork checkpoint cannot be used; the message names the file and what is wrong with it."""


class Hypernetwork(Protocol):
    """Read task descriptions in, LoRA adapters out (Charakorn et al. 2025, Text-to-LoRA, section 3)."""

    @property
    def digest(self) -> str:
        """sha256 (hex) of the weights and configuration: part of every cache key."""

    @property
    def base_digest(self) -> str:
        """sha256 (hex) of the base model file the adapters are for; "" when the checkpoint does not say."""

    @property
    def embedding_dim(self) -> int:
        """E, the width of a task embedding."""

    def strengths(self, names: Sequence[str], tasks: Reading) -> tuple[float, ...]:
        """The factor of each description's adapter, calibrated on development data for the skill of that name; 0 where
        it would harm.
        """

    def known(self, tasks: Reading) -> tuple[float, ...]:
        """From 0 to 1: how surely each description is one that the network was trained to follow. 0 from networks that
        cannot tell.
        """

    def generate(self, tasks: Reading) -> tuple[LoraAdapter, ...]:
        """One adapter a description, all in one forward pass."""
