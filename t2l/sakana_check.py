"""Parity of a T2L checkpoint folder with the adapters its `expected.safetensors` says it must generate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from t2l.hypernetwork import CheckpointError
from t2l.sakana import load_sakana
from t2l.sakana_files import WEIGHTS

EXPECTED = "expected.safetensors"
TOLERANCE = 1e-5
PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Parity:
    """Outcome for one folder. max_abs_diff: over all elements of all tensors; worst: the tensor it is in."""

    folder: Path
    adapters: int
    tensors: int
    max_abs_diff: float
    worst: str

    @property
    def ok(self) -> bool:
        return self.max_abs_diff < TOLERANCE


def find_checkpoints(folder: Path) -> list[Path]:
    """The folder itself, or its subfolders that hold a checkpoint. Raises CheckpointError when there is
    none."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder")
    if (folder / WEIGHTS).exists() or (folder / EXPECTED).exists():
        return [folder]
    found = sorted({path.parent for name in (WEIGHTS, EXPECTED) for path in folder.glob(f"*/{name}")})
    if not found:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}, and no folder directly below it does")
    return found


def check_parity(folder: Path, device: str = "cpu") -> Parity:
    """Generate from the stored embeddings and compare every tensor. Raises CheckpointError when names or
    shapes differ.

    `expected.safetensors`: `task_emb` (k, E) and, for each i < k, `<i>.<module path>.lora_A.weight` and
    `lora_B`.
    """
    network = load_sakana(folder, device=device)
    path = folder / EXPECTED
    try:
        expected = load_file(path)
    except (OSError, SafetensorError) as exc:
        raise CheckpointError(f"{path} cannot be read: {exc}") from exc
    embeddings = expected.pop("task_emb", None)
    if embeddings is None or embeddings.ndim != 2 or embeddings.shape[1] != network.embedding_dim:
        shape = None if embeddings is None else tuple(embeddings.shape)
        raise CheckpointError(f"{path}: task_emb is {shape}, want (k, {network.embedding_dim})")
    generated = {
        f"{i}.{PEFT_PREFIX}{module}.lora_{half}.weight": torch.from_numpy(array)
        for i, adapter in enumerate(network.generate_raw(embeddings))
        for module, delta in adapter.deltas.items()
        for half, array in (("A", delta.a), ("B", delta.b))
    }
    if odd := sorted(generated.keys() ^ expected.keys()):
        side = "is expected and not generated" if odd[0] in expected else "is generated and not expected"
        raise CheckpointError(f"{path}: {odd[0]} {side} ({len(odd)} such names)")
    worst, largest = "", -1.0
    for name, tensor in generated.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} is {tuple(expected[name].shape)}, got {tuple(tensor.shape)}"
            )
        if not torch.isfinite(expected[name]).all():
            raise CheckpointError(f"{path}: {name} has values that are not finite")
        # max() and > would let a NaN pass
        difference = (tensor - expected[name].float()).abs().nan_to_num(torch.inf, torch.inf).max().item()
        if difference > largest:
            worst, largest = name, difference
    return Parity(folder, len(embeddings), len(generated), largest, worst)
