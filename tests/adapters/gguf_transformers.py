"""A qwen2 GGUF file as a transformers model on the same, dequantised weights.

transformers can read such a file by itself, but takes half a minute of computing for what ggml does in a second.
"""

from __future__ import annotations

import numpy as np
import torch
import transformers
from transformers.initialization import no_init_weights

from adapters import ggml
from adapters.gguf_file import BaseModel
from adapters.gguf_io import TensorInfo


def load_qwen2(base: BaseModel) -> transformers.PreTrainedModel:
    """The model in float32. Linear layers by the base's own name map, which names but does not reorder."""
    meta = base.header.metadata

    def value(key: str) -> object:
        return meta[f"qwen2.{key}"]

    config = transformers.Qwen2Config(
        vocab_size=base.tensors["token_embd.weight"].shape[0],
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=base.heads,
        num_key_value_heads=base.kv_heads,
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": value("rope.freq_base")},
        max_position_embeddings=value("context_length"),
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    with no_init_weights():
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for layer in range(config.num_hidden_layers):
        names[f"model.layers.{layer}.input_layernorm"] = f"blk.{layer}.attn_norm"
        names[f"model.layers.{layer}.post_attention_layernorm"] = f"blk.{layer}.ffn_norm"
    names |= {path: info.name.removesuffix(".weight") for path, info in base.linear_layers().items()}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            path, _, last = name.rpartition(".")
            weight.copy_(dequantised(base, base.tensors[f"{names[path]}.{last}"]))
    return model


def dequantised(base: BaseModel, info: TensorInfo) -> torch.Tensor:
    """One tensor as float32, in its own shape."""
    out = np.empty(info.shape, np.float32)
    blocks = np.fromfile(base.path, np.uint8, info.size_bytes, offset=info.offset)
    ggml.dequantize(blocks, ggml.type_by_name(info.type.lower()), out)
    return torch.from_numpy(out)
