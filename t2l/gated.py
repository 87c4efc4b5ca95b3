"""Our hypernetwork family: a shared multi-task LoRA whose ranks are gated and mixed by what the description says.

For each adapted linear layer l and description d:

    delta_w_l(d) = scaling * B_l Z_l(d) A_l,    Z_l(d) = I + 3 tanh(diag(g_l(c)) + m_l(c)),    c = read(d)

A and B are an ordinary multi-task LoRA (Hu et al. 2021, section 4.1). Only the gates Z, (rank, rank) a layer, depend on
the task: g switches ranks, m mixes them (cores between a fixed A and B: Balazy et al. 2024, LoRA-XS, section 3). Both
start at zero, so an untrained network is exactly that multi-task LoRA. Adapters share A, hence any weighted sum of
them keeps the rank: sum_i w_i B Z_i A = B (sum_i w_i Z_i) A.

`read` is a few attention heads over the encoder's token states, and everything after it is linear but for the bound:
what a head finds in one part of a description ("the second word") adds to what another finds elsewhere ("as JSON"), so
that parts never seen together still say the same. Text-to-LoRA (Charakorn et al. 2025, section 3) reads one sentence
vector and generates A and B themselves; docs/results.md compares the two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from adapters.lora import LoraAdapter, LoraDelta
from t2l.embedder import Reading
from t2l.hypernetwork import CheckpointError

GATE_RANGE = 3.0
"""No gate lies further than this from the identity: ranks can be silenced, turned round and mixed, but no text can
blow an adapter up."""
HEADS, HEAD_WIDTH, MIX_WIDTH = 8, 64, 64
"""Of `read`: attention heads, and numbers that each finds; of the part that mixes ranks: its own rank."""

KNOWN = "known"
"""Tensor of a checkpoint: sentence vectors of the training descriptions whose gates are worth following."""
ALWAYS = (-2.0, -1.0)
"""`GatedConfig.listening` of a network that follows every text, as it comes out of training."""


@dataclass(frozen=True, slots=True)
class GatedConfig:
    """What `config.json` of a gated checkpoint says.

    shapes: module path -> (out_features, in_features) of every adapted linear layer, in gate order.
    strengths: see `Hypernetwork.strengths`. listening: cosines (low, high) of a text's sentence vector to the nearest
    description of the training: from `high` on its own gates are followed, up to `low` it gets the unconditional
    adapter, in between a mixture. To a strange text the network has nothing to say but noise (t2l/train/listening.py).
    """

    base_name: str
    base_digest: str
    embedder_digest: str
    embedding_dim: int
    rank: int
    scaling: float
    code_width: int
    shapes: Mapping[str, tuple[int, int]]
    strengths: Mapping[str, float] = field(default_factory=dict)
    listening: tuple[float, float] = ALWAYS
    training: Mapping[str, object] = field(default_factory=dict)
    """How it was trained (command, steps, seed, measurements): for people, read by no code."""


class GateNetwork(nn.Module):
    """Token states of k descriptions -> gates (k, modules, rank, rank)."""

    def __init__(self, embedding_dim: int, code_width: int, modules: int, rank: int) -> None:
        super().__init__()
        self.modules_count, self.rank = modules, rank
        self.norm = nn.LayerNorm(embedding_dim)
        self.query = nn.Linear(embedding_dim, HEADS)
        self.value = nn.Linear(embedding_dim, HEADS * HEAD_WIDTH)
        self.code = nn.Linear(HEADS * HEAD_WIDTH, code_width)
        self.gate = nn.Linear(code_width, modules * rank)
        self.mix = nn.Sequential(
            nn.Linear(code_width, MIX_WIDTH, bias=False), nn.Linear(MIX_WIDTH, modules * rank * rank, bias=False)
        )
        self.nothing = nn.Parameter(torch.zeros(code_width))
        """The code where no description is told."""
        for last in (self.gate.weight, self.gate.bias, self.mix[1].weight):
            nn.init.zeros_(last)

    def forward(self, tokens: Sequence[torch.Tensor]) -> torch.Tensor:
        """tokens: of each description, (t, E); (0, E) where none is told."""
        told = torch.tensor([len(one) > 0 for one in tokens], device=self.nothing.device)
        code = self.nothing.expand(len(tokens), -1).clone()
        if told.any():
            code[told] = self.code(self.read([one for one in tokens if len(one)]))
        switched = torch.diag_embed(self.gate(code).view(-1, self.modules_count, self.rank))
        mixed = self.mix(code).view_as(switched)
        return torch.eye(self.rank, device=code.device) + GATE_RANGE * torch.tanh(switched + mixed)

    def read(self, tokens: Sequence[torch.Tensor]) -> torch.Tensor:
        """(k, HEADS * HEAD_WIDTH): each head's mean of the token values, weighed by its attention."""
        states = self.norm(nn.utils.rnn.pad_sequence(list(tokens), batch_first=True))  # (k, t, E)
        lengths = torch.tensor([len(one) for one in tokens], device=states.device)
        absent = torch.arange(states.shape[1], device=states.device) >= lengths[:, None]  # (k, t)
        attention = self.query(states).masked_fill(absent[..., None], -torch.inf).softmax(dim=1)  # (k, t, heads)
        values = self.value(states).unflatten(-1, (HEADS, HEAD_WIDTH))  # (k, t, heads, width)
        return torch.einsum("kth,kthw->khw", attention, values).flatten(1)


class GatedHypernetwork:
    """A trained gated checkpoint. Immutable after loading; `generate` may run on any thread."""

    def __init__(
        self, config: GatedConfig, network: GateNetwork, lora: Mapping[str, torch.Tensor],
        known: torch.Tensor, digest: str, device: str,
    ) -> None:  # fmt: skip
        self.config = config
        self._known = known
        self.digest = digest
        self._device = torch.device(device)
        self.network = network.to(self._device).eval()
        with torch.no_grad():
            self.unconditional = network([torch.empty(0, config.embedding_dim, device=self._device)])[0].clone()
            """(modules, rank, rank): the gates where nothing is told."""
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
    def generate(self, tasks: Reading) -> tuple[LoraAdapter, ...]:
        """See `Hypernetwork.generate`. Arrays come out as float16; A is shared by all of them."""
        if tasks.vectors.ndim != 2 or tasks.vectors.shape[1] != self.embedding_dim:
            raise ValueError(f"task embeddings {tuple(tasks.vectors.shape)}: want (k, {self.embedding_dim})")
        return tuple(self._adapter(gates) for gates in self.gates(tasks))

    def gates(self, tasks: Reading, share: float | None = None) -> torch.Tensor:
        """(k, modules, rank, rank) on the network's device.

        share: of the way from the unconditional gates to the texts' own; None = what each text deserves (`shares`).
        Raises ValueError for a reading without tokens.
        """
        if len(tasks.tokens) != len(tasks.vectors):
            raise ValueError("this hypernetwork reads tokens, and the encoder gave none")
        shares = self.shares(tasks.vectors) if share is None else torch.full((len(tasks.vectors),), share)
        found = self.network([states.to(self._device) for states in tasks.tokens])
        return torch.lerp(self.unconditional, found, shares.to(self._device)[:, None, None, None])

    def shares(self, vectors: torch.Tensor) -> torch.Tensor:
        """(k,) from 0 to 1: how far each of these texts, (k, E), is followed; see `GatedConfig.listening`."""
        low, high = self.config.listening
        return ((self.nearest(vectors) - low) / (high - low)).clamp(0, 1)

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """(k,): cosine of each text to the nearest description of the training."""
        return (vectors @ self._known.T).amax(dim=1)

    def lora_a(self, path: str) -> torch.Tensor:
        """The shared A of a module, (rank, in_features), float16."""
        return self._a[path]

    def lora_b(self, path: str) -> torch.Tensor:
        """The ungated B of a module, (out_features, rank), float32."""
        return self._b[path]

    def multi_task(self) -> LoraAdapter:
        """The unconditional adapter: what training found best for texts of which nothing is told. A baseline."""
        return self._adapter(self.unconditional)

    def _adapter(self, gates: torch.Tensor) -> LoraAdapter:
        deltas = {
            path: LoraDelta(self._shared_a[path], (self._b[path] @ core).half().cpu().numpy(), self.config.scaling)
            for path, core in zip(self.config.shapes, gates, strict=True)
        }
        return LoraAdapter(self.config.base_digest, deltas)


def load_gated(folder: Path, device: str = "cpu") -> GatedHypernetwork:
    """Read `config.json` and `model.safetensors` of a gated checkpoint. Raises CheckpointError."""
    try:
        raw = json.loads((folder / "config.json").read_text())
        if raw.pop("family") != "gated":
            raise CheckpointError(f"{folder / 'config.json'}: family is not 'gated'")
        raw["listening"] = _listening(raw.get("listening", ALWAYS), folder)
        raw["shapes"] = {path: tuple(shape) for path, shape in raw["shapes"].items()}
        config = GatedConfig(**raw)
        tensors = load_file(folder / "model.safetensors")
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as exc:
        raise CheckpointError(f"{folder} is no readable gated checkpoint: {exc}") from exc
    network = GateNetwork(config.embedding_dim, config.code_width, len(config.shapes), config.rank)
    known = tensors.pop(KNOWN, torch.empty(0)).float()
    lora = {name.removeprefix("lora."): tensors.pop(name) for name in list(tensors) if name.startswith("lora.")}
    expected = {f"{path}.{half}" for path in config.shapes for half in ("lora_a", "lora_b")}
    if lora.keys() != expected:
        odd = sorted(lora.keys() ^ expected)[:3]
        raise CheckpointError(f"{folder}: LoRA tensors do not match config.json, e.g. {', '.join(odd)}")
    for path, (out_features, in_features) in config.shapes.items():
        a, b = lora[f"{path}.lora_a"], lora[f"{path}.lora_b"]
        if a.shape != (config.rank, in_features) or b.shape != (out_features, config.rank):
            raise CheckpointError(f"{folder}: {path} has lora_a {tuple(a.shape)}, lora_b {tuple(b.shape)}")
    if known.ndim != 2 or not len(known) or known.shape[1] != config.embedding_dim:
        raise CheckpointError(f"{folder}: {KNOWN} is {tuple(known.shape)}, want (n, {config.embedding_dim})")
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as exc:
        raise CheckpointError(f"{folder}: gate network does not match config.json: {exc}") from exc
    return GatedHypernetwork(config, network, lora, known, checkpoint_digest(folder), device)


def _listening(given: object, folder: Path) -> tuple[float, float]:
    """Raises CheckpointError."""
    numbers = [x for x in given if isinstance(x, int | float)] if isinstance(given, list | tuple) else []
    if len(numbers) != 2 or len(given) != 2 or not numbers[0] < numbers[1]:
        raise CheckpointError(f"{folder / 'config.json'}: listening is {given!r}, want two cosines, the lower first")
    return numbers[0], numbers[1]


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
