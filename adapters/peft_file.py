"""LoRA adapters as PEFT folders: adapter_config.json and adapter_model.safetensors, for peft and vLLM."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save_file

from adapters.errors import AdapterCorrupt, AdapterUnsupported
from adapters.lora import LoraAdapter, LoraDelta, to_float

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_PREFIX = "base_model.model."
_KEY = re.compile(r"base_model\.model\.(?P<path>.+)\.lora_(?P<side>[AB])\.weight")

_PLAIN = {
    "bias": "none",
    "fan_in_fan_out": False,
    "use_dora": False,
    "use_qalora": False,
    "lora_bias": False,
    "modules_to_save": None,
    "trainable_token_indices": None,
    "target_parameters": None,
    "layer_replication": None,
    "alora_invocation_tokens": None,
    "megatron_config": None,
    "use_bdlora": None,
    "arrow_config": None,
    "kasa_config": None,
}
"""Settings of peft's LoraConfig that change what the tensors mean, with the values of a plain LoRA."""
_BASE_KEPT = (True, False, None, "gaussian", "eva", "orthogonal")
"""Initialisations that leave the base weights alone; PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change them."""

_DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
"""Tensors of these types are read as they are, BF16 widened; others hold no LoRA weights."""


def write_peft(adapter: LoraAdapter, folder: Path, base_name: str) -> None:
    """Write the two files into an existing folder. base_name: what `base_model_name_or_path` shall say.

    peft scales by alpha / rank, per module through `rank_pattern` and `alpha_pattern`. vLLM knows the two
    global numbers only, so scalings that differ are folded into B (float32 then), which leaves the scale 1
    everywhere. Not atomic: `Store` owns that. Raises OSError.
    """
    scalings = {delta.scaling for delta in adapter.deltas.values()}
    scaling, rank = scalings.pop() if len(scalings) == 1 else 1.0, adapter.rank
    tensors: dict[str, np.ndarray] = {}
    for path, delta in adapter.deltas.items():
        a, b = delta.a, delta.b
        if delta.scaling != scaling:
            a, b = to_float(a), to_float(b) * delta.scaling
        tensors[f"{_PREFIX}{path}.lora_A.weight"] = np.ascontiguousarray(a)
        tensors[f"{_PREFIX}{path}.lora_B.weight"] = np.ascontiguousarray(b)
    odd = {path: delta.rank for path, delta in adapter.deltas.items() if delta.rank != rank}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": _number(scaling * rank),
        "use_rslora": False,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": sorted(adapter.deltas),
        "rank_pattern": odd,
        "alpha_pattern": {path: _number(scaling * own) for path, own in odd.items()},
    }
    try:
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as exc:  # of tensors as plain as these only the disk can complain
        raise OSError(f"{folder / WEIGHTS}: {exc}") from exc
    (folder / CONFIG).write_text(json.dumps(config, indent=1))


def _number(value: float) -> int | float:
    """Whole numbers as integers: vLLM's config declares alpha as one."""
    return int(value) if value == int(value) else value


def read_peft(folder: Path, base_digest: str) -> LoraAdapter:
    """Read a PEFT LoRA folder, ours or another tool's; honours rsLoRA and the two patterns.

    Raises AdapterUnsupported for what a plain LoRA cannot represent, AdapterCorrupt for what cannot be read.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        tensors = _read_tensors(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as exc:
        raise AdapterCorrupt(f"PEFT folder {folder}: {exc}") from exc
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterUnsupported(f"{folder / CONFIG}: want peft_type LORA")
    for name, plain in _PLAIN.items():
        if (config.get(name) or plain) != plain:
            raise AdapterUnsupported(f"{folder / CONFIG}: {name} = {config[name]!r} is not a plain LoRA")
    if config.get("init_lora_weights") not in _BASE_KEPT:
        start = config["init_lora_weights"]
        raise AdapterUnsupported(f"{folder / CONFIG}: init_lora_weights = {start!r} changes the base weights")
    sides: dict[str, dict[str, np.ndarray]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise AdapterUnsupported(f"{folder / WEIGHTS}: {key} is no lora_A or lora_B of a linear layer")
        sides.setdefault(match["path"], {})[match["side"]] = tensor
    try:
        return LoraAdapter(base_digest, {path: _delta(path, pair, config) for path, pair in sides.items()})
    except (ValueError, KeyError, TypeError) as exc:
        raise AdapterCorrupt(f"PEFT folder {folder}: {exc!r}") from exc


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    """By name. Not `safetensors.numpy.load_file`, which knows no bfloat16."""
    return {name: _tensor(path, name, **found) for name, found in deserialize(path.read_bytes())}


def _tensor(path: Path, name: str, dtype: str, shape: list[int], data: bytearray) -> np.ndarray:
    if dtype == "BF16":  # the upper half of a float32, which holds it exactly
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype not in _DTYPES:
        raise AdapterUnsupported(f"{path}: {name} is of type {dtype}, want one of {', '.join(_DTYPES)}, BF16")
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)


def _delta(path: str, pair: Mapping[str, np.ndarray], config: Mapping) -> LoraDelta:
    if pair.keys() != {"A", "B"}:
        raise ValueError(f"{path} has only lora_{next(iter(pair))}")
    rank = _of_pattern(config.get("rank_pattern"), path, config["r"])
    alpha = _of_pattern(config.get("alpha_pattern"), path, config["lora_alpha"])
    a, b = pair["A"], pair["B"]
    if a.ndim != 2 or a.shape[0] != rank:
        raise ValueError(f"{path}: lora_A is {a.shape}, the config says rank {rank}")
    if a.dtype != b.dtype or a.dtype == np.float64:
        a, b = to_float(a), to_float(b)
    scaling = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LoraDelta(a, b, float(scaling))


def _of_pattern(pattern: Mapping[str, int | float] | None, path: str, default: int | float) -> int | float:
    """The first pattern that matches the path's end, as `peft.utils.other.get_pattern_key` looks it up."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", path):
            return value
    return default
