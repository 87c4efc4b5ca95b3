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
vector and generates A and B themselves; docs/results-attempts.md compares the two.

To a text unlike those of the training the network has nothing to say but noise. Such a text gets the checkpoint's
unconditional adapter, a LoRA of its own (A', B'), and one in between a part of both, in a stack:

    delta_w_l(d) = scaling * [B_l B'_l] diag(s Z_l(d), (1 - s) I) [A_l; A'_l],    s from 0 to 1 (listening.py)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from adapters import peft_file
from adapters.errors import AdapterError
from adapters.lora import LoraAdapter, LoraDelta, to_float, to_half
from t2l.embedder import Reading
from t2l.hypernetwork import CheckpointError
from t2l.listening import FILE_NAME as LISTENING_FILE
from t2l.listening import Listening, load_listening

GATE_RANGE = 3.0
"""No entry of Z lies further than this from the identity's: ranks can be silenced, turned round and mixed, but no text
can blow an adapter up without end."""
HEADS, HEAD_WIDTH, MIX_WIDTH = 8, 64, 64
"""Of `read`: attention heads, and numbers that each finds; of the part that mixes ranks: its own rank."""

UNCONDITIONAL = "unconditional"
"""Folder of a checkpoint: the adapter of strange texts, an ordinary PEFT one."""


@dataclass(frozen=True, slots=True)
class GatedConfig:
    """What `config.json` of a gated checkpoint says.

    shapes: module path -> (out_features, in_features) of every adapted linear layer, in gate order.
    strengths: by skill name, the factor of strange texts' adapters, chosen on development data
    (t2l/train/strengths.py); absent = 1.
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
        for last in (self.gate.weight, self.gate.bias, self.mix[1].weight):
            nn.init.zeros_(last)

    def forward(self, tokens: Sequence[torch.Tensor]) -> torch.Tensor:
        """tokens: of each description, (t, E)."""
        code = self.code(self.read(tokens))
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
    """A trained gated checkpoint. Immutable after loading; `generate` may run on any thread.

    Its gates are those of both its LoRAs in a stack: (R, R) a module, R = rank + the unconditional adapter's rank.
    """

    def __init__(
        self, config: GatedConfig, network: GateNetwork, lora: Mapping[str, torch.Tensor], unconditional: LoraAdapter,
        listening: Listening | None, digest: str, device: str,
    ) -> None:  # fmt: skip
        self.config = config
        self.digest = digest
        self.stacked_rank = config.rank + unconditional.rank
        self._unconditional = unconditional
        self.listening = listening
        self._device = torch.device(device)
        self.network = network.to(self._device).eval()
        self._a, self._b = {}, {}
        for path in config.shapes:
            delta = unconditional.deltas[path]
            if (a := to_half(to_float(delta.a))) is None:
                raise CheckpointError(f"the unconditional adapter's A of {path} does not fit float16")
            self._a[path] = np.concatenate([lora[f"{path}.lora_a"].half().numpy(), a])
            b = torch.from_numpy(to_float(delta.b) * (delta.scaling / config.scaling))
            self._b[path] = torch.cat([lora[f"{path}.lora_b"].float(), b], dim=1).to(self._device)

    @property
    def base_digest(self) -> str:
        return self.config.base_digest

    @property
    def embedding_dim(self) -> int:
        return self.config.embedding_dim

    def strengths(self, names: Sequence[str], tasks: Reading) -> tuple[float, ...]:
        """See `Hypernetwork.strengths`."""
        calibrated = [self.config.strengths.get(name, 1.0) for name in names]
        return tuple(self.factors(tasks.vectors, torch.tensor(calibrated)).tolist())

    def known(self, tasks: Reading) -> tuple[float, ...]:
        """See `Hypernetwork.known`."""
        return (0.0,) * len(tasks.vectors) if self.listening is None else tuple(self.shares(tasks.vectors).tolist())

    def factors(self, vectors: torch.Tensor, strengths: torch.Tensor | float) -> torch.Tensor:
        """(k,): 1 for texts that are followed, (k, E), `strengths` for strange ones, in between in between."""
        shares = self.shares(vectors)
        return shares + (1 - shares) * strengths

    @torch.inference_mode()
    def generate(self, tasks: Reading) -> tuple[LoraAdapter, ...]:
        """See `Hypernetwork.generate`. float16; all have one A, of both LoRAs where these texts need both."""
        if tasks.vectors.ndim != 2 or tasks.vectors.shape[1] != self.embedding_dim:
            raise ValueError(f"task embeddings {tuple(tasks.vectors.shape)}: want (k, {self.embedding_dim})")
        gates, shares = self.gates(tasks), self.shares(tasks.vectors)
        any_known, any_strange, rank = bool((shares > 0).any()), bool((shares < 1).any()), self.config.rank
        used = slice(0 if any_known else rank, self.stacked_rank if any_strange else rank)
        shared = {path: a[used] for path, a in self._a.items()}  # one array, by which `concat` knows it
        return tuple(self._adapter(shared, one, used) for one in gates[..., used, used])

    def gates(self, tasks: Reading, share: float | None = None) -> torch.Tensor:
        """(k, modules, R, R) on the network's device.

        share: of the way from the unconditional adapter to the texts' own; None = what each text deserves (`shares`).
        Raises ValueError for a reading without tokens.
        """
        if len(tasks.tokens) != len(tasks.vectors):
            raise ValueError("this hypernetwork reads tokens, and the encoder gave none")
        shares = self.shares(tasks.vectors) if share is None else torch.full((len(tasks.vectors),), share)
        shares = shares.to(self._device)[:, None, None, None]
        own = self.network([states.to(self._device) for states in tasks.tokens])
        gates = (1 - shares) * self.unconditional_gates
        gates[..., : self.config.rank, : self.config.rank] = shares * own
        return gates

    @property
    def unconditional_gates(self) -> torch.Tensor:
        """(modules, R, R): the gates of a text that is not followed at all."""
        lower = torch.eye(self.stacked_rank, device=self._device)
        lower[: self.config.rank] = 0
        return lower.repeat(len(self.config.shapes), 1, 1)

    def shares(self, vectors: torch.Tensor) -> torch.Tensor:
        """(k,) from 0 to 1: how far each of these texts, (k, E), is followed; wholly before it is calibrated."""
        return torch.ones(len(vectors)) if self.listening is None else self.listening.shares(vectors)

    def stacked(self, path: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A module's A, (R, in_features), float16, and ungated B, (out_features, R), float32: the texts' own first."""
        return torch.from_numpy(self._a[path]), self._b[path]

    def multi_task(self) -> LoraAdapter:
        """The unconditional adapter, whatever is asked. A baseline."""
        return self._unconditional

    def _adapter(self, shared_a: Mapping[str, np.ndarray], gates: torch.Tensor, used: slice) -> LoraAdapter:
        """gates: (modules, used, used)."""
        deltas = {
            path: LoraDelta(a, (self._b[path][:, used] @ core).half().cpu().numpy(), self.config.scaling)
            for (path, a), core in zip(shared_a.items(), gates, strict=True)
        }
        return LoraAdapter(self.config.base_digest, deltas)


def load_gated(folder: Path, device: str = "cpu") -> GatedHypernetwork:
    """Read a gated checkpoint: `config.json`, `model.safetensors`, `unconditional/`; `listening.safetensors` if there.

    Raises CheckpointError.
    """
    try:
        raw = json.loads((folder / "config.json").read_text())
        if raw.pop("family") != "gated":
            raise CheckpointError(f"{folder / 'config.json'}: family is not 'gated'")
        raw["shapes"] = {path: tuple(shape) for path, shape in raw["shapes"].items()}
        config = GatedConfig(**raw)
        tensors = load_file(folder / "model.safetensors")
        unconditional = peft_file.read_peft(folder / UNCONDITIONAL, config.base_digest)
    except (OSError, KeyError, TypeError, ValueError, SafetensorError, AdapterError) as exc:
        raise CheckpointError(f"{folder} is no readable gated checkpoint: {exc}") from exc
    network = GateNetwork(config.embedding_dim, config.code_width, len(config.shapes), config.rank)
    lora = {name.removeprefix("lora."): tensors.pop(name) for name in list(tensors) if name.startswith("lora.")}
    expected = {f"{path}.{half}" for path in config.shapes for half in ("lora_a", "lora_b")}
    if lora.keys() != expected:
        odd = sorted(lora.keys() ^ expected)[:3]
        raise CheckpointError(f"{folder}: LoRA tensors do not match config.json, e.g. {', '.join(odd)}")
    for path, (out_features, in_features) in config.shapes.items():
        a, b = lora[f"{path}.lora_a"], lora[f"{path}.lora_b"]
        if a.shape != (config.rank, in_features) or b.shape != (out_features, config.rank):
            raise CheckpointError(f"{folder}: {path} has lora_a {tuple(a.shape)}, lora_b {tuple(b.shape)}")
    check_unconditional(unconditional, config.shapes, folder / UNCONDITIONAL)
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as exc:
        raise CheckpointError(f"{folder}: gate network does not match config.json: {exc}") from exc
    listening = load_listening(folder, config.embedding_dim)
    return GatedHypernetwork(config, network, lora, unconditional, listening, checkpoint_digest(folder), device)


def check_unconditional(adapter: LoraAdapter, shapes: Mapping[str, tuple[int, int]], source: Path) -> None:
    """Raises CheckpointError for an adapter, read from `source`, of other modules than these or of several ranks or
    scales.
    """
    found = {path: (delta.b.shape[0], delta.a.shape[1]) for path, delta in adapter.deltas.items()}
    for path in sorted(found.keys() | shapes.keys()):
        if found.get(path) != shapes.get(path):
            raise CheckpointError(f"{source}: {path} is {found.get(path)}, the hypernetwork's {shapes.get(path)}")
    if len({(delta.rank, delta.scaling) for delta in adapter.deltas.values()}) > 1:
        raise CheckpointError(f"{source}: its layers differ in rank or scale")


def write_config(folder: Path, config: Mapping[str, object]) -> None:
    """A checkpoint's `config.json`, atomically."""
    temporary = folder / "config.json.tmp"
    temporary.write_text(json.dumps(config, indent=1) + "\n")
    temporary.replace(folder / "config.json")


def checkpoint_weights(folder: Path) -> str:
    """sha256 (hex) over the weights alone, which no calibration changes."""
    sha = hashlib.sha256()
    for name in ("model.safetensors", Path(UNCONDITIONAL) / peft_file.WEIGHTS):
        sha.update((folder / name).read_bytes())
    return sha.hexdigest()


def checkpoint_digest(folder: Path) -> str:
    """sha256 (hex) over the files of a gated checkpoint."""
    sha = hashlib.sha256()
    adapter = Path(UNCONDITIONAL)
    for name in ("config.json", "model.safetensors", adapter / peft_file.CONFIG, adapter / peft_file.WEIGHTS):
        sha.update((folder / name).read_bytes())
    if (listening := folder / LISTENING_FILE).exists():
        sha.update(listening.read_bytes())
    return sha.hexdigest()
