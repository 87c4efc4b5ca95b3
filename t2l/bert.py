"""The forward pass of a BERT encoder in plain torch. Knows nothing of tokenisers, pooling or files.

It exists for start-up time: importing transformers' BertModel costs 3.5 s of CPU, sentence-transformers 5 s,
this nothing beyond torch, and the vectors are the same (a test compares them with sentence-transformers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The numbers of a BERT `config.json` that the forward pass needs."""

    layers: int
    heads: int
    layer_norm_eps: float


def bert_hidden(weights: Weights, config: BertConfig, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Last hidden states, (n, t, hidden), float32.

    ids, mask: (n, t) int64 and bool; masked positions are neither attended to nor meaningful in the result.
    Source: Devlin et al. 2019 (BERT); absolute positions, post-layer-norm, exact GELU, token type 0.
    """
    names = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    words, positions, types = (weights[f"embeddings.{name}.weight"] for name in names)
    hidden = words[ids] + positions[: ids.shape[1]] + types[0]
    hidden = _norm(weights, "embeddings.LayerNorm", hidden, config)
    attended = mask[:, None, None, :]  # (n, 1, 1, t), broadcast over heads and queries
    for layer in range(config.layers):
        hidden = _layer(weights, f"encoder.layer.{layer}", hidden, attended, config)
    return hidden


def _layer(
    weights: Weights, at: str, hidden: torch.Tensor, attended: torch.Tensor, config: BertConfig
) -> torch.Tensor:
    n, t, width = hidden.shape
    query, key, value = (
        _linear(weights, f"{at}.attention.self.{name}", hidden).view(n, t, config.heads, -1).transpose(1, 2)
        for name in ("query", "key", "value")
    )  # each (n, heads, t, width / heads)
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=attended)
    mixed = _linear(weights, f"{at}.attention.output.dense", mixed.transpose(1, 2).reshape(n, t, width))
    hidden = _norm(weights, f"{at}.attention.output.LayerNorm", hidden + mixed, config)
    inner = functional.gelu(_linear(weights, f"{at}.intermediate.dense", hidden))
    inner = _linear(weights, f"{at}.output.dense", inner)
    return _norm(weights, f"{at}.output.LayerNorm", hidden + inner, config)


def _linear(weights: Weights, at: str, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, weights[f"{at}.weight"], weights[f"{at}.bias"])


def _norm(weights: Weights, at: str, x: torch.Tensor, config: BertConfig) -> torch.Tensor:
    scale, shift = weights[f"{at}.weight"], weights[f"{at}.bias"]
    return functional.layer_norm(x, (x.shape[-1],), scale, shift, config.layer_norm_eps)
