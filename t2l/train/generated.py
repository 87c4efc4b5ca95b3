"""A Text-to-LoRA style generator, to compare ours with at equal tokens: A and B themselves come out of the network.

For each adapted layer l of type m (q_proj, v_proj) and task embedding e (Charakorn et al. 2025, section 3, variant L):

    h = MLP([W e ; depth_l ; type_m]),    A_l = head_m^A(h),    B_l = head_m^B(h),    delta_w_l = scaling * B_l A_l

B's heads start at zero, so training starts at the bare model. The two classes stand in for `GateNetwork` and
`GatedLora` in a training run; such a run is measured, not served.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

ADAPTED = ("self_attn.q_proj", "self_attn.v_proj")


def adapted_only(shapes: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The modules a Text-to-LoRA generator adapts: queries and values."""
    return {path: shape for path, shape in shapes.items() if path.endswith(ADAPTED)}


class CodeNetwork(nn.Module):
    """Task embedding (k, E) -> one code a module (k, modules, width)."""

    def __init__(self, embedding_dim: int, width: int, modules: int) -> None:
        super().__init__()
        self.task = nn.Linear(embedding_dim, width)
        self.module = nn.Embedding(modules, width)  # depth and type in one
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, task_embeddings: torch.Tensor) -> torch.Tensor:
        task = self.task(task_embeddings * task_embeddings.shape[-1] ** 0.5)[:, None, :]
        module = self.module.weight[None].expand(len(task), -1, -1)
        return self.mix(torch.cat([task.expand_as(module), module], dim=-1))


class GeneratedLora(nn.Module):
    """A and B of every module from its code; `attach` makes the base's linear layers add scaling * B (A x)."""

    def __init__(
        self, shapes: Mapping[str, tuple[int, int]], rank: int, scaling: float, width: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.paths = tuple(shapes)
        self.rank, self.scaling = rank, scaling
        self._types = [path.rsplit(".", 1)[-1] for path in self.paths]
        self.head_a, self.head_b = nn.ModuleDict(), nn.ModuleDict()
        for kind, (out_features, in_features) in zip(self._types, shapes.values(), strict=True):
            if kind in self.head_a:
                continue
            self.head_a[kind], self.head_b[kind] = (nn.Linear(width, rank * n) for n in (in_features, out_features))
            with torch.no_grad():
                bound = in_features**-0.5  # at the start A is the same for all tasks, as peft starts lora_a
                self.head_a[kind].weight.zero_()
                self.head_a[kind].bias.copy_((torch.rand(rank * in_features, generator=generator) * 2 - 1) * bound)
                self.head_b[kind].weight.zero_()
                self.head_b[kind].bias.zero_()
        self.gates: torch.Tensor | None = None
        """Codes (batch, modules, width) for the next forward pass; None = the bare base model."""

    def attach(self, model: nn.Module) -> None:
        for index, path in enumerate(self.paths):
            linear = model.get_submodule(path)
            linear.forward = self._forward(linear, index)

    def _forward(self, linear: nn.Linear, index: int):
        head_a, head_b = self.head_a[self._types[index]], self.head_b[self._types[index]]

        def forward(x: torch.Tensor) -> torch.Tensor:
            out = functional.linear(x, linear.weight, linear.bias)
            if self.gates is None:
                return out
            code = self.gates[:, index]  # (batch, width)
            a = head_a(code).view(len(code), self.rank, -1).to(x.dtype)  # (batch, rank, in)
            b = head_b(code).view(len(code), -1, self.rank).to(x.dtype)  # (batch, out, rank)
            return out + self.scaling * (x @ a.transpose(1, 2)) @ b.transpose(1, 2)

        return forward
