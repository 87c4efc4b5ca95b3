"""The one interface of every Text-to-LoRA generator, and the errors of loading one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from adapters.lora import LoraAdapter


class CheckpointError(Exception):
    """A hypernetwork checkpoint cannot be used; the message names the file and what is wrong with it."""


class Hypernetwork(Protocol):
    """Task embeddings in, LoRA adapters out (Charakorn et al. 2025, Text-to-LoRA, section 3)."""

    @property
    def digest(self) -> str:
        """sha256 (hex) of the weights and configuration: part of every cache key."""

    @property
    def base_digest(self) -> str:
        """sha256 (hex) of the base model file the adapters are for; "" when the checkpoint does not say."""

    @property
    def embedding_dim(self) -> int:
        """E, the width of a task embedding."""

    @property
    def strengths(self) -> Mapping[str, float]:
        """By skill name, the factor calibrated on dev data for its adapter; 0 where it would harm. Absent = 1."""

    def generate(self, task_embeddings: torch.Tensor) -> tuple[LoraAdapter, ...]:
        """One adapter a row of task_embeddings (k, E), float32, all in one forward pass."""
