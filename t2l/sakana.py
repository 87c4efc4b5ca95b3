"""SakanaAI's Text-to-LoRA hypernetwork: task embeddings to adapters, for every published variant.

Variants (Charakorn et al. 2025, Text-to-LoRA, section 3): L has one head output for A and B; M a head shared
by both, told apart by an output embedding; S a head that emits one rank at a time, told apart by a position.
Files and checks are in `t2l/sakana_files.py`; text to embedding is in `t2l/sakana_context.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from adapters.lora import LoraAdapter, LoraDelta
from t2l.embedder import Reading
from t2l.hypernetwork import CheckpointError
from t2l.sakana_files import Module, SakanaConfig, SakanaFiles, read_sakana

ROPE_BASE = 10000.0
"""Of variant S without learnt positions: rotary angles of transformers' Llama, their default base."""
STD_FLOOR = 1e-10
"""Added to the standard deviations in training; part of the format."""


class SakanaHypernetwork:
    """A loaded T2L checkpoint. Immutable; `generate` may run on any thread.

    base_digest: of the base model file the caller serves. T2L checkpoints name a model, not a file, so the
    caller answers for the match; shapes are checked when the adapter is written for the engine.
    """

    def __init__(self, files: SakanaFiles, base_digest: str = "", device: str = "cpu") -> None:
        self.config: SakanaConfig = files.config
        self.digest = files.digest
        self._base_digest = base_digest
        self._device = torch.device(device)
        self._weights = {key: tensor.to(self._device) for key, tensor in files.weights.items()}

    @property
    def base_digest(self) -> str:
        return self._base_digest

    @property
    def embedding_dim(self) -> int:
        return self.config.embedding_dim

    def strengths(self, names: Sequence[str], tasks: Reading) -> tuple[float, ...]:
        """See `Hypernetwork.strengths`: 1, for T2L checkpoints are calibrated for nothing."""
        return (1.0,) * len(names)

    def known(self, tasks: Reading) -> tuple[float, ...]:
        """See `Hypernetwork.known`."""
        return (0.0,) * len(tasks.vectors)

    def generate(self, tasks: Reading) -> tuple[LoraAdapter, ...]:
        """See `Hypernetwork.generate`. Reads vectors, of any length: T2L was trained on length sqrt(E), set here.

        Raises CheckpointError for a checkpoint trained on one-hot tasks: a text cannot be embedded for it.
        """
        if self.config.one_hot_tasks:
            raise CheckpointError("this T2L checkpoint was trained on one-hot tasks, not on descriptions")
        return self.generate_raw(F.normalize(tasks.vectors.float(), dim=-1) * self.embedding_dim**0.5)

    @torch.inference_mode()
    def generate_raw(self, task_embeddings: torch.Tensor) -> tuple[LoraAdapter, ...]:
        """The network itself: embeddings (k, E) are used as they are. Adapters are float32 on the CPU."""
        if task_embeddings.ndim != 2 or task_embeddings.shape[1] != self.embedding_dim:
            raise ValueError(
                f"task embeddings {tuple(task_embeddings.shape)}: want (k, {self.embedding_dim})"
            )
        trunk = self._trunk(task_embeddings.float().to(self._device))  # (k, modules, layers, width)
        pairs = {
            module: tuple(half.cpu() for half in self._raw_scale(module, *self._heads(module, trunk[:, i])))
            for i, module in enumerate(self.config.modules)
        }
        return tuple(self._adapter(pairs, task) for task in range(len(task_embeddings)))

    def multi_task(self) -> LoraAdapter:
        """The description-independent adapter of the checkpoint: its multi-task LoRA, or the mean of its
        targets.

        Raises CheckpointError where the checkpoint was trained without either.
        """
        group = "mean_recon_target" if self.config.z_scored else "AB_offset"
        pairs = {
            module: tuple(self._weights[f"{group}.{half}.{module.name}"].cpu()[None] for half in "AB")
            for module in self.config.modules
        }
        if not any(b.any() for _, b in pairs.values()):
            raise CheckpointError("this T2L checkpoint has no multi-task LoRA: its offset is zero")
        return self._adapter(pairs, 0)

    def _adapter(self, pairs: Mapping[Module, tuple[torch.Tensor, ...]], task: int) -> LoraAdapter:
        """pairs: by module, A (k, layers, rank, in) and B (k, layers, out, rank)."""
        deltas = {
            module.path(layer): LoraDelta(*(half[task, layer].numpy().copy() for half in pair), self.config.scaling)
            for module, pair in pairs.items()
            for layer in range(self.config.layers)
        }
        return LoraAdapter(self._base_digest, deltas)

    def _trunk(self, task_embeddings: torch.Tensor) -> torch.Tensor:
        """(k, E) -> (k, modules, layers, width): every task meets every module kind at every depth."""
        w = self._weights
        task = self._norm("task_encoder.mlp.1", self._linear("task_encoder.mlp.0", task_embeddings))
        depth = self._norm("layer_depth_encoder.1", w["layer_depth_encoder.0.weight"])
        kind = self._norm("layer_type_encoder.1", w["layer_type_encoder.0.weight"])
        grid = (len(task), len(kind), len(depth))
        x = torch.cat(
            (
                task[:, None, None].expand(*grid, -1),
                depth[None, None].expand(*grid, -1),
                kind[None, :, None].expand(*grid, -1),
            ),
            dim=-1,
        )  # (k, modules, layers, width)
        x = F.silu(self._linear("mixer.4", F.silu(self._linear("mixer.1", x))))
        return x + self._mlp("mlp1.mlp", x)

    def _heads(self, module: Module, trunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(k, layers, width) -> A (k, layers, rank, in) and B (k, layers, out, rank), not yet scaled."""
        config = self.config
        sides = (module.in_features, module.out_features)
        if not config.shared_ab_head:
            if config.one_rank_at_a_time:
                # (k, layers, rank, in + out)
                out = self._head(module, self._mlp2(self._with_positions(trunk)))
                a, b = out.split(sides, dim=-1)
            else:
                # (k, layers, rank * (in + out)): all of A, then all of B
                out = self._head(module, self._mlp2(trunk))
                a, b = out.split([config.rank * side for side in sides], dim=-1)
                a, b = a.unflatten(-1, (config.rank, -1)), b.unflatten(-1, (config.rank, -1))
            return a, b.transpose(-1, -2)
        halves = []
        for half, side in zip("AB", sides, strict=True):
            code = self._norm("out_emb_norm", self._weights[f"out_emb.{module.name}.{half}"])
            x = self._mlp2(trunk + code)
            if config.one_rank_at_a_time:
                out = self._head(module, self._positioned_shared(x))  # (k, layers, rank, max(in, out))
            else:
                out = self._head(module, x).unflatten(-1, (config.rank, -1))
            halves.append(out[..., :side])  # the head is as wide as the wider half; the rest is padding
        a, b = halves
        return a, b.transpose(-1, -2)

    def _with_positions(self, x: torch.Tensor) -> torch.Tensor:
        """(k, layers, width) -> (k, layers, rank, width), each rank marked by its position."""
        x = x[:, :, None].expand(-1, -1, self.config.rank, -1)
        return x + self._positions() if self.config.learnable_positions else _rotate(x)

    def _positioned_shared(self, x: torch.Tensor) -> torch.Tensor:
        """The same for a shared head, where x has been through mlp2 before: its format sends positions
        through mlp2 too, learnt ones alone, rotary ones together with x."""
        x = x[:, :, None].expand(-1, -1, self.config.rank, -1)
        return (
            x + self._mlp2(self._positions()) if self.config.learnable_positions else self._mlp2(_rotate(x))
        )

    def _positions(self) -> torch.Tensor:
        return self._norm("pos_emb.1", self._weights["pos_emb.0.weight"])  # (rank, width)

    def _raw_scale(
        self, module: Module, a: torch.Tensor, b: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """From what the network predicts to lora_A and lora_B themselves."""
        config, w = self.config, self._weights
        if config.training_task == "recon" and not config.factorized:
            # Trained on delta_w times delta_w_scaling: A and B take a root of it each, and no offset.
            return a / config.delta_w_scaling**0.5, b / config.delta_w_scaling**0.5
        out = []
        for half, x in (("A", a), ("B", b)):
            if config.z_scored:
                std = w[f"std_recon_target.{half}.{module.name}"]
                x = x * (std + STD_FLOOR) + w[f"mean_recon_target.{half}.{module.name}"]
            out.append(x + w[f"AB_offset.{half}.{module.name}"])
        return out[0], out[1]

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _mlp(self, name: str, x: torch.Tensor) -> torch.Tensor:
        hidden = F.silu(self._linear(f"{name}.1", self._norm(f"{name}.0", x)))
        return F.silu(self._linear(f"{name}.4", hidden))

    def _mlp2(self, x: torch.Tensor) -> torch.Tensor:
        return x + self._mlp("mlp2.mlp", x)

    def _head(self, module: Module, x: torch.Tensor) -> torch.Tensor:
        return self._linear(f"heads.{module.name}", self._mlp("mlp3", x))


def _rotate(x: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding over the rank axis of (..., rank, width); Su et al. 2021, halves as in
    Llama."""
    rank, width = x.shape[-2:]
    frequencies = ROPE_BASE ** (-torch.arange(0, width, 2, device=x.device).float() / width)  # (width / 2,)
    angles = torch.arange(rank, device=x.device).float()[:, None] * frequencies  # (rank, width / 2)
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def load_sakana(folder: Path, base_digest: str = "", device: str = "cpu") -> SakanaHypernetwork:
    """Read a SakanaAI T2L checkpoint folder; no base model needed. Raises CheckpointError."""
    return SakanaHypernetwork(read_sakana(folder), base_digest, device)
