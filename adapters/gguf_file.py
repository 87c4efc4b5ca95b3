"""LoRA adapters as GGUF files for llama.cpp, and what they need to know of the base model's GGUF file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.errors import AdapterCorrupt, AdapterMismatch, BaseModelCorrupt
from adapters.file_digest import file_sha256
from adapters.gguf_io import GgufHeader, TensorInfo, read_header, read_tensor, write_file
from adapters.lora import LoraAdapter, LoraDelta, to_float, to_half

ROPE_PERMUTED = {
    "llama": True,  # also Mistral: llama.cpp has no architecture of that name
    "mistral3": True,
    "qwen2": False,
    "qwen3": False,
    "gemma": False,
    "gemma2": False,
    "gemma3": False,
}
"""Architectures we know, and whether conversion to GGUF reorders the rows of q and k for llama.cpp's RoPE.
Source: llama.cpp conversion/llama.py, `undo_permute`, and `llama_model_rope_type`."""

_LINEAR = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""The linear layers of a block: transformers' name -> GGUF's, the same in every architecture above."""
_LINEAR_OF_GGUF = {gguf_name: name for name, gguf_name in _LINEAR.items()}
_MODULE = re.compile(r"model\.layers\.(\d+)\.(.+)")
_TENSOR = re.compile(r"blk\.(\d+)\.(.+)\.weight")


@dataclass(frozen=True, slots=True, eq=False)
class BaseModel:
    """A base model's GGUF file: who it is, which tensors it has, how they relate to transformers' modules.

    digest: sha256 (hex) of the file. heads, kv_heads: attention heads of queries and of keys.
    """

    path: Path
    digest: str
    architecture: str
    name: str
    heads: int
    kv_heads: int
    header: GgufHeader

    @classmethod
    def read(cls, path: Path) -> BaseModel:
        """Read the file's header and digest (see `file_sha256`). Raises BaseModelCorrupt."""
        try:
            header, digest = read_header(path), file_sha256(path)
        except (OSError, ValueError) as exc:
            raise BaseModelCorrupt(f"base model {path}: {exc}") from exc
        meta = header.metadata
        architecture = meta.get("general.architecture")
        if architecture not in ROPE_PERMUTED:
            known = ", ".join(ROPE_PERMUTED)
            raise BaseModelCorrupt(f"{path} is of architecture {architecture!r}; known are {known}")
        heads = meta.get(f"{architecture}.attention.head_count")
        kv_heads = meta.get(f"{architecture}.attention.head_count_kv", heads)
        if not isinstance(heads, int) or not isinstance(kv_heads, int):
            raise BaseModelCorrupt(f"{path}: want one number of heads, got {heads!r} and {kv_heads!r}")
        name = str(meta.get("general.name", path.stem))
        return cls(path, digest, architecture, name, heads, kv_heads, header)

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self.header.tensors

    def linear_layers(self) -> dict[str, TensorInfo]:
        """The linear layers an adapter may change, by transformers' module path, in the file's order."""
        paths = ((self.module_path(name), info) for name, info in self.tensors.items())
        return {path: info for path, info in paths if path is not None}

    def tensor(self, module_path: str) -> TensorInfo:
        """The tensor of a linear layer, e.g. `model.layers.0.self_attn.q_proj`. Raises AdapterMismatch."""
        match = _MODULE.fullmatch(module_path)
        gguf_name = match and _LINEAR.get(match[2])
        info = self.tensors.get(f"blk.{match[1]}.{gguf_name}.weight") if gguf_name else None
        if info is None:
            raise AdapterMismatch(f"{self.name} ({self.architecture}) has no linear layer {module_path}")
        return info

    def module_path(self, tensor_name: str) -> str | None:
        """transformers' path of the linear layer whose weight this tensor is; None for any other tensor."""
        match = _TENSOR.fullmatch(tensor_name)
        name = match and _LINEAR_OF_GGUF.get(match[2])
        return f"model.layers.{match[1]}.{name}" if name else None

    def rows_to_gguf(self, module_path: str, rows: np.ndarray) -> np.ndarray:
        """Rows (out_features, n) from transformers' order into the file's (q and k of llama, for RoPE)."""
        heads = self._permuted_heads(module_path)
        if heads is None:
            return rows
        out, n = rows.shape
        return rows.reshape(heads, 2, out // heads // 2, n).swapaxes(1, 2).reshape(out, n)

    def rows_from_gguf(self, module_path: str, rows: np.ndarray) -> np.ndarray:
        """The inverse of `rows_to_gguf`."""
        heads = self._permuted_heads(module_path)
        if heads is None:
            return rows
        out, n = rows.shape
        return rows.reshape(heads, out // heads // 2, 2, n).swapaxes(1, 2).reshape(out, n)

    def _permuted_heads(self, module_path: str) -> int | None:
        if not ROPE_PERMUTED[self.architecture]:
            return None
        if module_path.endswith(".q_proj"):
            return self.heads
        return self.kv_heads if module_path.endswith(".k_proj") else None

    def check(self, adapter: LoraAdapter) -> None:
        """Raise AdapterMismatch unless the adapter was made for this file and every delta fits its layer."""
        if adapter.base_digest != self.digest:
            made_for = adapter.base_digest[:16]
            raise AdapterMismatch(f"adapter {adapter.digest} is for base {made_for}, not {self.digest[:16]}")
        for path, delta in adapter.deltas.items():
            shape = (delta.b.shape[0], delta.a.shape[1])
            if shape != self.tensor(path).shape:
                raise AdapterMismatch(f"{path}: the delta is {shape}, the layer {self.tensor(path).shape}")


def write_gguf(adapter: LoraAdapter, path: Path, base: BaseModel) -> None:
    """Write a llama.cpp LoRA file: `<tensor>.lora_a` (rank, in) and `<tensor>.lora_b` (out, rank).

    llama.cpp scales by alpha / rank with the rank read from lora_b, so each delta's scaling is folded into
    its B, and alpha is the adapter's largest rank. Tensors keep the adapter's dtype; a B that float16 would
    lose is written as F32. Not atomic: `Store` owns that. Raises AdapterMismatch.
    """
    base.check(adapter)
    alpha = adapter.rank
    tensors: dict[str, np.ndarray] = {}
    for module_path, delta in adapter.deltas.items():
        name = base.tensor(module_path).name
        b = _scaled(delta.b, delta.scaling * delta.rank / alpha)
        tensors[f"{name}.lora_a"] = delta.a
        tensors[f"{name}.lora_b"] = base.rows_to_gguf(module_path, b)
    metadata = {
        "general.type": "adapter",
        "general.name": adapter.digest,
        "adapter.type": "lora",
        "adapter.lora.alpha": float(alpha),
        "et2l.base_digest": base.digest,
    }
    write_file(path, base.architecture, metadata, tensors)


def _scaled(b: np.ndarray, factor: float) -> np.ndarray:
    """factor * b in b's dtype, or in float32 where float16 would lose it."""
    if factor == 1.0:
        return b
    wide = to_float(b) * factor
    half = to_half(wide) if b.dtype == np.float16 else None
    return wide if half is None else half


def read_gguf(path: Path, base: BaseModel) -> LoraAdapter:
    """Read a llama.cpp LoRA file, ours or another tool's, back into transformers' names and row order.

    Raises AdapterCorrupt (unreadable, or not a LoRA), AdapterMismatch (for another model).
    """
    try:
        header = read_header(path)
    except (OSError, ValueError) as exc:
        raise AdapterCorrupt(f"{path}: {exc}") from exc
    meta = header.metadata
    if (meta.get("general.type"), meta.get("adapter.type")) != ("adapter", "lora"):
        raise AdapterCorrupt(f"{path} is a GGUF file of type {meta.get('general.type')!r}, not a LoRA")
    architecture = meta.get("general.architecture")
    if architecture != base.architecture:
        raise AdapterMismatch(f"{path} is for {architecture}, {base.name} is {base.architecture}")
    made_for = str(meta.get("et2l.base_digest", base.digest))
    if made_for != base.digest:
        raise AdapterMismatch(f"{path} is for base {made_for[:16]}, not {base.digest[:16]}")
    alpha = float(meta.get("adapter.lora.alpha", 0.0))
    names = {name.removesuffix(".lora_a").removesuffix(".lora_b") for name in header.tensors}
    adapter = LoraAdapter(base.digest, dict(_read_delta(path, header, name, alpha, base) for name in names))
    base.check(adapter)
    return adapter


def _read_delta(
    path: Path, header: GgufHeader, name: str, alpha: float, base: BaseModel
) -> tuple[str, LoraDelta]:
    module_path = base.module_path(name)
    if module_path is None:
        raise AdapterMismatch(f"{path} changes {name}, which is no linear layer of {base.architecture}")
    pair = [header.tensors.get(f"{name}.lora_a"), header.tensors.get(f"{name}.lora_b")]
    if None in pair:
        raise AdapterCorrupt(f"{path}: {name} lacks its lora_a or its lora_b")
    try:
        a, b = (read_tensor(path, info) for info in pair)
        if a.dtype != b.dtype:
            a, b = to_float(a), to_float(b)
        rows = base.rows_from_gguf(module_path, b)
        # llama.cpp takes an alpha of 0 as "no scaling"
        return module_path, LoraDelta(a, rows, alpha / b.shape[1] if alpha else 1.0)
    except (ValueError, IndexError) as exc:
        raise AdapterCorrupt(f"{path}: {name}: {exc}") from exc
