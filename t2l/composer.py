"""How much of each generated adapter goes into the mixture: w = Softmax(f_w([e_d ; v_s])) over the relevant
skills.

e_d is the task's embedding and v_s the skill's (the mean of its exemplars). Untrained, f_w's logits are the
skills' measured gains; training (t2l/train) adds what the MLP learns. Mixing itself is
`adapters.compose.concat`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from t2l.skills import TASK

FILE_NAME = "composer.safetensors"
Mode = Literal["learned", "equal", "hierarchical"]


class ComposerError(Exception):
    """Composer weights, or a request's, cannot be used; the message says which and what was expected."""


@dataclass(frozen=True, slots=True)
class ComposerSettings:
    """What stands beside the tensors in `composer.safetensors`.

    hidden: width of f_w's hidden layer.
    gain_scale: logits per unit of measured gain; at 4, a gain 0.5 nats above another's weighs e^2 = 7 times.
    task_share: what the "task" candidate gets of the whole, the skills share the rest; 1 = no skill adapters.
    no_adapter_share: what is left to the base model: all weights sum to 1 - no_adapter_share.
    near: cosine of skill embeddings from which hierarchical composition merges two skills first.
    """

    hidden: int = 64
    gain_scale: float = 4.0
    task_share: float = 0.5
    no_adapter_share: float = 0.0
    near: float = 0.6

    def __post_init__(self) -> None:
        for name in ("task_share", "no_adapter_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ComposerError(f"{name} {getattr(self, name)}: expected a number from 0 to 1")


class WeightNetwork(nn.Module):
    """f_w: [e_d ; v_s] (k, 2E) -> logits (k,). Its last layer starts at zero: training starts from the gains."""

    def __init__(self, embedding_dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(2 * embedding_dim, hidden)
        self.outer = nn.Linear(hidden, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, task_and_skill: torch.Tensor) -> torch.Tensor:
        return self.outer(nn.functional.silu(self.inner(task_and_skill))).squeeze(-1)


class Composer:
    """Gives weights. Immutable after construction; may be called from any thread."""

    def __init__(
        self,
        network: WeightNetwork,
        settings: ComposerSettings,
        vectors: Mapping[str, torch.Tensor],
        gains: Mapping[str, float],
        mode: Mode = "learned",
    ) -> None:
        """vectors, gains: by skill name, v_s (E,) and the measured gain (Skill.gain)."""
        self.network = network.eval()
        self.settings = settings
        self.mode = mode
        self._vectors = vectors
        self._gains = gains

    @property
    def digest(self) -> str:
        """sha256 (hex) over tensors, settings, gains and mode: part of every cache key."""
        header = [self.mode, asdict(self.settings), sorted(self._gains.items())]
        sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            sha.update(name.encode())
            sha.update(tensor.contiguous().numpy())
        return sha.hexdigest()

    def weights(self, task_embedding: torch.Tensor, skills: Sequence[str]) -> dict[str, float]:
        """Weight of each of these skills and of TASK; non-negative, they sum to 1 - no_adapter_share.

        task_embedding: (E,). Without skills all goes to TASK.
        """
        whole, task_share = 1 - self.settings.no_adapter_share, self.settings.task_share
        if not skills:
            return {TASK: whole}
        shares = self._shares(task_embedding, skills)
        mixed = {name: whole * (1 - task_share) * share for name, share in shares.items()}
        return mixed | {TASK: whole * task_share}

    @torch.inference_mode()
    def logits(self, task_embedding: torch.Tensor, skills: Sequence[str]) -> torch.Tensor:
        """f_w's logit of each skill, (k,): the scaled gain plus what the network learnt."""
        pairs = torch.stack([torch.cat([task_embedding, self._vectors[name]]) for name in skills])  # (k, 2E)
        prior = torch.tensor([self.settings.gain_scale * self._gains[name] for name in skills])
        return prior + self.network(pairs)

    def _shares(self, task_embedding: torch.Tensor, skills: Sequence[str]) -> dict[str, float]:
        if self.mode == "equal":
            return dict.fromkeys(skills, 1 / len(skills))
        logits = self.logits(task_embedding, skills)
        if self.mode == "hierarchical":
            return hierarchical_shares(logits, [self._vectors[name] for name in skills], skills, self.settings.near)
        return dict(zip(skills, logits.softmax(0).tolist(), strict=True))


def hierarchical_shares(
    logits: torch.Tensor, vectors: Sequence[torch.Tensor], skills: Sequence[str], near: float
) -> dict[str, float]:
    """Near skills are merged first: softmax inside each group, then softmax over the groups' mean logits.

    So two skills that say nearly the same share one voice instead of having two. Composition being linear,
    stacking the parts with the products of these weights equals stacking the merged groups. logits: (k,);
    vectors: k of (E,).
    """
    shares: dict[str, float] = {}
    groups = near_groups(vectors, near)
    over_groups = torch.stack([logits[group].mean() for group in groups]).softmax(0)
    for group, share in zip(groups, over_groups.tolist(), strict=True):
        inside = logits[group].softmax(0).tolist()
        shares |= {skills[row]: share * part for row, part in zip(group, inside, strict=True)}
    return shares


def near_groups(vectors: Sequence[torch.Tensor], near: float) -> list[list[int]]:
    """Rows of unit vectors grouped by single linkage: a row joins each group with a member of cosine >
    near.
    """
    groups: list[list[int]] = []
    for row, vector in enumerate(vectors):
        joined = [group for group in groups if any(float(vector @ vectors[i]) > near for i in group)]
        groups = [group for group in groups if group not in joined]
        groups.append(sorted([row, *(i for group in joined for i in group)]))
    return sorted(groups)


def given_weights(weights: Mapping[str, float], known: Sequence[str]) -> dict[str, float]:
    """A request's own weights, normalised to sum 1; zeros are dropped. Raises ComposerError."""
    for name, weight in weights.items():
        if name != TASK and name not in known:
            raise ComposerError(f"weights.{name}: no such skill; there are {', '.join([*known, TASK])}")
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight < 0:
            raise ComposerError(f"weights.{name}: expected a finite number >= 0, not {weight!r}")
    total = sum(weights.values())
    if not 0 < total < math.inf:
        raise ComposerError(f"weights sum to {total}: expected more than 0")
    return {name: weight / total for name, weight in weights.items() if weight}


def start_network(embedding_dim: int, settings: ComposerSettings, seed: int = 0) -> WeightNetwork:
    """An untrained f_w, the same for the same seed, leaving torch's own random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WeightNetwork(embedding_dim, settings.hidden)


def save_network(network: WeightNetwork, settings: ComposerSettings, folder: Path) -> None:
    """Write `composer.safetensors` into a checkpoint folder, atomically."""
    temporary = folder / f"{FILE_NAME}.tmp"
    save_file(network.state_dict(), temporary, {"settings": json.dumps(asdict(settings))})
    temporary.replace(folder / FILE_NAME)


def load_network(folder: Path, embedding_dim: int) -> tuple[WeightNetwork, ComposerSettings]:
    """Read a checkpoint folder's composer; without the file, the untrained start. Raises ComposerError."""
    path = folder / FILE_NAME
    if not path.exists():
        settings = ComposerSettings()
        return start_network(embedding_dim, settings), settings
    try:
        with safe_open(path, "pt") as file:
            settings = ComposerSettings(**json.loads((file.metadata() or {})["settings"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        network = WeightNetwork(embedding_dim, settings.hidden)
        network.load_state_dict(tensors)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as exc:
        raise ComposerError(f"{path} is no readable composer for embeddings of {embedding_dim}: {exc}") from exc
    return network, settings
