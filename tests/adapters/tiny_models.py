"""Tiny base models with random weights, in any family and storage type, that llama.cpp loads."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from adapters import ggml
from adapters.base_files import BaseFiles
from adapters.lora import LoraAdapter, LoraDelta

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, LAYERS = 256, 512, 4, 2, 2
VOCAB = 256 + 2  # every byte, one merge and an end token
HEAD_DIM = HIDDEN // HEADS
LINEAR = {
    "attn_q": (HIDDEN, HIDDEN),
    "attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
    "attn_v": (KV_HEADS * HEAD_DIM, HIDDEN),
    "attn_output": (HIDDEN, HIDDEN),
    "ffn_gate": (FEED_FORWARD, HIDDEN),
    "ffn_up": (FEED_FORWARD, HIDDEN),
    "ffn_down": (HIDDEN, FEED_FORWARD),
}
NORMS = {
    "llama": ("attn_norm", "ffn_norm"),
    "qwen2": ("attn_norm", "ffn_norm"),
    "qwen3": ("attn_norm", "ffn_norm"),
    "gemma2": ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
    "gemma3": ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
}
HEAD_NORMS = {"qwen3": ("attn_q_norm", "attn_k_norm"), "gemma3": ("attn_q_norm", "attn_k_norm")}
TIED = ("gemma2", "gemma3")


def write_tiny(path: Path, family: str = "llama", kind: str = "f32", seed: int = 0) -> BaseFiles:
    """A two-layer model of that llama.cpp architecture, its linear layers stored as `kind`."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, family)
    _describe(writer)

    def matrix(name: str, shape: tuple[int, int]) -> None:
        values = random.standard_normal(shape, dtype=np.float32) / np.float32(shape[1] ** 0.5)
        stored = ggml.type_by_name(kind)
        out = np.empty((shape[0], stored.row_bytes(shape[1])), np.uint8)
        ggml.quantize(values, stored, out)
        writer.add_tensor(name, out, raw_shape=out.shape, raw_dtype=gguf.GGMLQuantizationType(stored.id))

    def vector(name: str, size: int, centre: float) -> None:
        values = centre + 0.1 * random.standard_normal(size, dtype=np.float32)
        writer.add_tensor(name, values.astype(np.float32))

    matrix("token_embd.weight", (VOCAB, HIDDEN))
    for layer in range(LAYERS):
        for name, shape in LINEAR.items():
            matrix(f"blk.{layer}.{name}.weight", shape)
        for name in NORMS[family]:
            vector(f"blk.{layer}.{name}.weight", HIDDEN, 1.0)
        for name in HEAD_NORMS.get(family, ()):
            vector(f"blk.{layer}.{name}.weight", HEAD_DIM, 1.0)
        if family == "qwen2":
            for name in ("attn_q", "attn_k", "attn_v"):
                vector(f"blk.{layer}.{name}.bias", LINEAR[name][0], 0.0)
    vector("output_norm.weight", HIDDEN, 1.0)
    if family not in TIED:
        matrix("output.weight", (VOCAB, HIDDEN))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return BaseFiles.read(path)


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(2048)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_sliding_window(64)  # of the gemma families
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))  # GPT-2's spelling of the bytes that do not print
    tokens = [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*tokens, "he", "<|end|>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["h e"])
    writer.add_eos_token_id(VOCAB - 1)
    writer.add_bos_token_id(VOCAB - 1)
    writer.add_add_bos_token(False)


def random_adapter(base: BaseFiles, ratio: float, rank: int = 4, seed: int = 1) -> LoraAdapter:
    """An adapter of every linear layer whose delta has `ratio` of the weights' norm (1 / sqrt(columns) rms)."""
    random = np.random.default_rng(seed)
    deltas = {}
    for path, info in base.model.linear_layers().items():
        rows, columns = info.shape
        a = random.standard_normal((rank, columns), dtype=np.float32)
        b = random.standard_normal((rows, rank), dtype=np.float32)
        deltas[path] = LoraDelta(a, b, ratio / (columns * rank) ** 0.5)
    return LoraAdapter(base.model.digest, deltas)


def dequantized(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a GGUF file as float32, read by the gguf package."""
    tensors = gguf.GGUFReader(path).tensors
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1]) for t in tensors}
