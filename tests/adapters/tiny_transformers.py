"""Tiny transformers models with random weights, and the same weights as a GGUF file.

The row order of q and k is written out here once more, and differently, so that a mistake in adapters/gguf_file.py
cannot hide in both places.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
import transformers

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, LAYERS, VOCAB = 64, 4, 2, 16, 96, 2, 128

_SHARED = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": FFN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD_DIM,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "attn_implementation": "eager",
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_UNTIED = {"tie_word_embeddings": False}
_GEMMA = {"tie_word_embeddings": True, "sliding_window": 8, "query_pre_attn_scalar": HEAD_DIM}

CONFIGS = {
    "llama": ("llama", lambda: transformers.LlamaConfig(**_SHARED, **_UNTIED)),
    "mistral": ("llama", lambda: transformers.MistralConfig(**_SHARED, **_UNTIED, sliding_window=None)),
    "qwen2": ("qwen2", lambda: transformers.Qwen2Config(**_SHARED, **_UNTIED)),
    "qwen3": ("qwen3", lambda: transformers.Qwen3Config(**_SHARED, **_UNTIED)),
    "gemma2": ("gemma2", lambda: transformers.Gemma2Config(**_SHARED, **_GEMMA)),
    "gemma3": ("gemma3", lambda: transformers.Gemma3TextConfig(**_SHARED, **_GEMMA)),
}
"""Family -> llama.cpp's architecture, transformers' configuration."""

_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_BLOCK = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_GEMMA_BLOCK = _BLOCK | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def make_model(family: str, seed: int = 0) -> transformers.PreTrainedModel:
    """Random float32 weights, of a size that makes attention and answers depend on every layer."""
    _, config = CONFIGS[family]
    model = transformers.AutoModelForCausalLM.from_config(config(), dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            values = torch.randn(weight.shape, generator=generator)
            if weight.ndim == 1:
                weight.copy_(weight + 0.1 * values)
            elif "embed" in name:  # gemma's are the output head, too: large ones leave no doubt about any token
                weight.copy_(values * (0.2 if model.config.tie_word_embeddings else 1.0))
            else:
                weight.copy_(values * 1.5 / weight.shape[1] ** 0.5)
    return model


def write_gguf(family: str, model: transformers.PreTrainedModel, path: Path, kind: gguf.GGMLQuantizationType) -> None:
    """Write the model's weights, matrices as `kind`; the model gets back what the file holds, dequantised."""
    architecture, _ = CONFIGS[family]
    writer = gguf.GGUFWriter(path, architecture)
    _describe(writer, model.config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            _write(writer, family, name, weight, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, config: transformers.PretrainedConfig) -> None:
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if getattr(config, "query_pre_attn_scalar", None):
        writer.add_sliding_window(config.sliding_window)
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping or 0.0)
        writer.add_final_logit_softcapping(config.final_logit_softcapping or 0.0)
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(VOCAB)


def _write(
    writer: gguf.GGUFWriter, family: str, name: str, weight: torch.Tensor, kind: gguf.GGMLQuantizationType
) -> None:
    path, _, last = name.rpartition(".")
    if path in _TOP:
        gguf_name = f"{_TOP[path]}.{last}"
    else:
        _, _, layer, part = path.split(".", 3)
        names = _GEMMA_BLOCK if family.startswith("gemma") else _BLOCK
        gguf_name = f"blk.{layer}.{names[part]}.{last}"
    values = weight.numpy().copy()
    if weight.ndim == 1:
        shift = 1.0 if family.startswith("gemma") and "norm" in name else 0.0  # gemma scales by 1 + weight
        writer.add_tensor(gguf_name, values + np.float32(shift))
        return
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(gguf_name.split(".")[-2])
    order = rope_order(values.shape[0], heads) if heads and family in ("llama", "mistral") else None
    stored = gguf.quants.quantize(values if order is None else values[order], kind)
    writer.add_tensor(gguf_name, stored, raw_dtype=kind)
    read = gguf.quants.dequantize(stored, kind).reshape(values.shape)
    if order is not None:
        read = read[np.argsort(order)]
    weight.copy_(torch.from_numpy(np.ascontiguousarray(read)))


def rope_order(rows: int, heads: int) -> list[int]:
    """Which row of transformers' matrix each row of llama.cpp's is. Per head, transformers rotates row i with row
    i + d/2, llama.cpp row 2i with row 2i + 1."""
    size = rows // heads
    return [head * size + i // 2 + (i % 2) * (size // 2) for head in range(heads) for i in range(size)]
