"""`TorchBackend` for adapters as `adapters/` has them: their NumPy arrays become tensors when they are attached."""

from __future__ import annotations

from typing import NamedTuple

import torch

from adapters.lora import LoraAdapter
from t2l.evaluate.torch_backend import TorchBackend


class _Tensors(NamedTuple):
    """A `LoraDelta` with tensors for arrays."""

    a: torch.Tensor
    b: torch.Tensor
    scaling: float


class TensorBackend(TorchBackend):
    """Implements `Backend`, as `TorchBackend` does."""

    def attach(self, adapter: LoraAdapter | None) -> LoraAdapter | str:
        if adapter is None:
            return super().attach(None)
        deltas = {
            path: _Tensors(torch.from_numpy(delta.a), torch.from_numpy(delta.b), delta.scaling)
            for path, delta in adapter.deltas.items()
        }
        return super().attach(LoraAdapter(adapter.base_digest, deltas))
