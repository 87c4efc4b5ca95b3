"""Tiny real things for the adapter tests: a base model of two layers as a GGUF file, and adapters for it."""

from pathlib import Path

import numpy as np
import pytest

from adapters.card import Card
from adapters.gguf_file import BaseModel
from adapters.lora import LoraAdapter, LoraDelta

HIDDEN, HEADS, KV_HEADS, FFN, LAYERS = 16, 4, 2, 24, 2

LINEAR_SHAPES = {
    "attn_q": (HIDDEN, HIDDEN),
    "attn_k": (HIDDEN // HEADS * KV_HEADS, HIDDEN),
    "attn_v": (HIDDEN // HEADS * KV_HEADS, HIDDEN),
    "attn_output": (HIDDEN, HIDDEN),
    "ffn_gate": (FFN, HIDDEN),
    "ffn_up": (FFN, HIDDEN),
    "ffn_down": (HIDDEN, FFN),
}


def write_base(path: Path, architecture: str = "qwen2") -> BaseModel:
    """A GGUF file with the header of a two-layer model, enough for everything but inference."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"tiny {architecture}")
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_token_list([f"token {i}" for i in range(5)])
    rng = np.random.default_rng(0)
    writer.add_tensor("token_embd.weight", rng.standard_normal((5, HIDDEN)).astype(np.float32))
    for layer in range(LAYERS):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(HIDDEN, np.float32))
        for name, shape in LINEAR_SHAPES.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", rng.standard_normal(shape).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return BaseModel.read(path)


def make_adapter(
    base: BaseModel, seed: int = 0, rank: int = 2, scaling: float = 0.5, dtype: type = np.float16
) -> LoraAdapter:
    """Random deltas of every linear layer of the base model."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(dtype)

    layers = base.linear_layers().items()
    deltas = {
        path: LoraDelta(normal(rank, info.shape[1]), normal(info.shape[0], rank), scaling) for path, info in layers
    }
    return LoraAdapter(base.digest, deltas)


def make_card(base: BaseModel, hint: str = "add numbers") -> Card:
    return Card("generated", base.name, base.digest, created=1.0, hint=hint)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return write_base(tmp_path_factory.mktemp("base") / "tiny.gguf")
