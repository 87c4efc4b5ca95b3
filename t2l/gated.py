"""Our hypernetwork family: a shared multi-task LoRA whose ranks are gated by the task embedding.

For each adapted linear layer l and task embedding e:

    delta_w_l(e) = scaling * B_l diag(z_l(e)) A_l,    z(e) = 1 + 3 tanh(head(trunk(e)))

A and B are an ordinary multi-task LoRA (Hu et al. 2021, section 4.1); only the gates z depend on the task, and the head
starts at zero, so an untrained network is exactly that multi-task LoRA. Adapters share A, hence any
weighted sum of them keeps the rank: sum_i w_i B diag(z_i) A = B diag(sum_i w_i z_i) A. Text-to-LoRA (Charakorn et al.
2025, section 3) generates A and B themselves; docs/results.md compares the two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from adapters.lora import LoraAdapter, LoraDelta
from t2l.hypernetwork import CheckpointError

GATE_RANGE = 3.0
"""Gates lie in 1 +- GATE_RANGE: a rank can be silenced or turned round, but no text can blow an adapter up."""

MEAN_GATES = "mean_gates"
"""Tensor of a checkpoint: the gates' mean over training descriptions; absent from older ones, which take 1."""


@dataclass(frozen=True, slots=True)
class GatedConfig:
    """What `config.json` of a gated checkpoint says.

    shapes: module path -> (out_features, in_features) of every adapted linear layer, in gate order.
    strengths: see `Hypernetwork.strengths`. listening: share of a text's distance from the mean gates that its own
    gates keep: 1 as trained, 0 the mean adapter whatever the text (t2l/train/listening.py).
    """

    base_name: str
    base_digest: str
    embedder_digest: str
    embedding_dim: int
    rank: int
    scaling: float
    trunk_width: int
    shapes: Mapping[str, tuple[int, int]]
    strengths: Mapping[str, float] = field(default_factory=dict)
    listening: float = 1.0
    training: Mapping[str, object] = field(default_factory=dict)
    """How it was trained (command, steps, seed, measurements): for people, read by no code."""


class GateNetwork(nn.Module):
    """Task embedding (k, E) -> gates (k, modules, rank)."""

    def __init__(self, embedding_dim: int, trunk_width: int, modules: int, rank: int) -> None:
        super().__init__()
        self.modules_count, self.rank = modules, rank
        self.trunk = nn.Sequential(
            nn.Linear(embedding_dim, trunk_width), nn.SiLU(), nn.Linear(trunk_width, trunk_width), nn.SiLU()
        )
        self.head = nn.Linear(trunk_width, modules * rank)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, task_embeddings: torch.Tensor) -> torch.Tensor:
        raw = self.head(self.trunk(task_embeddings * task_embeddings.shape[-1] ** 0.5))
        gates = 1 + GATE_RANGE * torch.tanh(raw)
        return gates.view(-1, self.modules_count, self.rank)  # (k, modules, rank)


class GatedHypernetwork:
    """A trained gated checkpoint. Immutable after loading; `generate` may run on any thread."""

    def __init__(
        self, config: GatedConfig, network: GateNetwork, lora: Mapping[str, torch.Tensor], mean_gates: torch.Tensor,
        digest: str, device: str,
    ) -> None:  # fmt: skip
        self.config = config
        self.mean_gates = mean_gates
        """(modules, rank): the gates' mean over training descriptions."""
        self.digest = digest
        self._device = torch.device(device)
        self.network = network.to(self._device).eval()
        self._a = {path: lora[f"{path}.lora_a"].half() for path in config.shapes}
        self._shared_a = {path: a.numpy() for path, a in self._a.items()}  # one array, by which `concat` knows it
        self._b = {path: lora[f"{path}.lora_b"].float().to(self._device) for path in config.shapes}

    @property
    def base_digest(self) -> str:
        return self.config.base_digest

    @property
    def embedding_dim(self) -> int:
        return self.config.embedding_dim

    @property
    def strengths(self) -> Mapping[str, float]:
        return self.config.strengths

    @torch.inference_mode()
    def generate(self, task_embeddings: torch.Tensor) -> tuple[LoraAdapter, ...]:
        """See `Hypernetwork.generate`. Arrays come out as float16; A is shared by all of them."""
        if task_embeddings.ndim != 2 or task_embeddings.shape[1] != self.embedding_dim:
            raise ValueError(f"task embeddings {tuple(task_embeddings.shape)}: want (k, {self.embedding_dim})")
        return tuple(self._adapter(row) for row in self.gates(task_embeddings))

    def gates(self, task_embeddings: torch.Tensor, listening: float | None = None) -> torch.Tensor:
        """(k, E) -> (k, modules, rank) on the network's device. listening: None = the checkpoint's own."""
        share = self.config.listening if listening is None else listening
        found = self.network(task_embeddings.float().to(self._device))
        return found if share == 1 else torch.lerp(self.mean_gates.to(self._device), found, share)

    def lora_a(self, path: str) -> torch.Tensor:
        """The shared A of a module, (rank, in_features), float16."""
        return self._a[path]

    def lora_b(self, path: str) -> torch.Tensor:
        """The ungated B of a module, (out_features, rank), float32."""
        return self._b[path]

    def multi_task(self) -> LoraAdapter:
        """The description-independent adapter: the average of all that training asked for. A baseline."""
        return self._adapter(self.mean_gates.to(self._device))

    def _adapter(self, gates: torch.Tensor) -> LoraAdapter:
        deltas = {
            path: LoraDelta(self._shared_a[path], (self._b[path] * row).half().cpu().numpy(), self.config.scaling)
            for path, row in zip(self.config.shapes, gates, strict=True)
        }
        return LoraAdapter(self.config.base_digest, deltas)


def load_gated(folder: Path, device: str = "cpu") -> GatedHypernetwork:
    """Read `config.json` and `model.safetensors` of a gated checkpoint. Raises CheckpointError."""
    try:
        raw = json.loads((folder / "config.json").read_text())
        if raw.pop("family") != "gated":
            raise CheckpointError(f"{folder / 'config.json'}: family is not 'gated'")
        share = raw.get("listening", 1.0)
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise CheckpointError(f"{folder / 'config.json'}: listening is {share!r}, want 0 to 1")
        raw["shapes"] = {path: tuple(shape) for path, shape in raw["shapes"].items()}
        config = GatedConfig(**raw)
        tensors = load_file(folder / "model.safetensors")
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as exc:
        raise CheckpointError(f"{folder} is no readable gated checkpoint: {exc}") from exc
    network = GateNetwork(config.embedding_dim, config.trunk_width, len(config.shapes), config.rank)
    mean_gates = tensors.pop(MEAN_GATES, torch.ones(len(config.shapes), config.rank)).float()
    lora = {name.removeprefix("lora."): tensors.pop(name) for name in list(tensors) if name.startswith("lora.")}
    expected = {f"{path}.{half}" for path in config.shapes for half in ("lora_a", "lora_b")}
    if lora.keys() != expected:
        odd = sorted(lora.keys() ^ expected)[:3]
        raise CheckpointError(f"{folder}: LoRA tensors do not match config.json, e.g. {', '.join(odd)}")
    for path, (out_features, in_features) in config.shapes.items():
        a, b = lora[f"{path}.lora_a"], lora[f"{path}.lora_b"]
        if a.shape != (config.rank, in_features) or b.shape != (out_features, config.rank):
            raise CheckpointError(f"{folder}: {path} has lora_a {tuple(a.shape)}, lora_b {tuple(b.shape)}")
    if mean_gates.shape != (len(config.shapes), config.rank):
        raise CheckpointError(f"{folder}: {MEAN_GATES} is {tuple(mean_gates.shape)}")
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as exc:
        raise CheckpointError(f"{folder}: gate network does not match config.json: {exc}") from exc
    return GatedHypernetwork(config, network, lora, mean_gates, checkpoint_digest(folder), device)


def write_config(folder: Path, config: Mapping[str, object]) -> None:
    """A checkpoint's `config.json`, atomically."""
    temporary = folder / "config.json.tmp"
    temporary.write_text(json.dumps(config, indent=1) + "\n")
    temporary.replace(folder / "config.json")


def checkpoint_digest(folder: Path) -> str:
    """sha256 (hex) over config.json and model.safetensors."""
    sha = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        sha.update((folder / name).read_bytes())
    return sha.hexdigest()
