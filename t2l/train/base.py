"""The served model in torch: its own dequantised weights, frozen, with gated LoRA on its linear layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from t2l.gated import GatedHypernetwork

LINEAR_LAYERS = (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip


def load_base(gguf: Path, device: str = "cpu", dtype: torch.dtype | None = None):
    """The transformers model and tokenizer of a GGUF file, dequantised, frozen.

    dtype: None = bfloat16 where that is faster, else float32.

    A LoRA trained on the hub's own safetensors would not fit a file with AWQ scales folded in.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if dtype is None:
        dtype = torch.bfloat16 if computes_bfloat16(device) else torch.float32
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=dtype)
    return model.requires_grad_(False).to(device).eval(), tokenizer


def computes_bfloat16(device: str) -> bool:
    """Whether a device multiplies bfloat16 matrices faster than float32 ones: CUDA, and CPUs with instructions for it.

    2 to 2.7 times on a Zen 4; without the instructions torch emulates them, slower than float32.
    """
    if torch.device(device).type == "cuda":
        return True
    # Private, and the only place where torch tells; it is pinned (requirements/base.txt).
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def adapted_shapes(model: nn.Module, first_layer: int) -> dict[str, tuple[int, int]]:
    """Module path -> (out_features, in_features) of the linear layers to adapt, from `first_layer` up."""
    shapes = {}
    for index in range(first_layer, model.config.num_hidden_layers):
        for name in LINEAR_LAYERS:
            path = f"model.layers.{index}.{name}"
            linear = model.get_submodule(path)
            shapes[path] = (linear.out_features, linear.in_features)
    return shapes


class GatedLora(nn.Module):
    """A and B of the shared multi-task LoRA, and the gates of the batch in flight.

    `attach` makes every adapted linear layer of the base add scaling * B Z A x; Z is one matrix a sequence.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, int]], rank: int, scaling: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.paths = tuple(shapes)
        self.scaling = scaling
        self.a = nn.ParameterList()
        self.b = nn.ParameterList()
        for out_features, in_features in shapes.values():
            bound = in_features**-0.5  # Kaiming uniform with a = sqrt(5), as peft starts lora_a
            self.a.append(nn.Parameter((torch.rand(rank, in_features, generator=generator) * 2 - 1) * bound))
            self.b.append(nn.Parameter(torch.zeros(out_features, rank)))
        self.gates: torch.Tensor | None = None
        """(batch, modules, rank, rank) for the next forward pass; None = the bare base model."""

    @classmethod
    def of(cls, network: GatedHypernetwork) -> GatedLora:
        """With both LoRAs of a checkpoint in a stack, as its gates have them."""
        config = network.config
        lora = cls(config.shapes, network.stacked_rank, config.scaling, torch.Generator())
        with torch.no_grad():
            for index, path in enumerate(lora.paths):
                a, b = network.stacked(path)
                lora.a[index].copy_(a)
                lora.b[index].copy_(b)
        return lora

    def attach(self, model: nn.Module) -> None:
        for index, path in enumerate(self.paths):
            linear = model.get_submodule(path)
            linear.forward = self._forward(linear, index)

    def _forward(self, linear: nn.Linear, index: int):
        def forward(x: torch.Tensor) -> torch.Tensor:
            out = functional.linear(x, linear.weight, linear.bias)
            if self.gates is None:
                return out
            low = functional.linear(x, self.a[index].to(x.dtype))  # (batch, tokens, rank)
            low = low @ (self.scaling * self.gates[:, index]).to(x.dtype).transpose(1, 2)
            # In place: nothing else reads `out`, and a second (batch, tokens, out) tensor costs as much as the product.
            out.view(-1, out.shape[-1]).addmm_(low.reshape(-1, low.shape[-1]), self.b[index].to(x.dtype).t())
            return out

        return forward


def answer_logits(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """Logits (answer tokens, vocabulary), float32, that predict the tokens marked in `answer`.

    ids, mask, answer: (batch, tokens); mask and answer are boolean. The output head is 28 % of the default model's
    work, so it sees answer positions only.
    """
    hidden = model.model(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
    return model.lm_head(hidden[:, :-1][answer[:, 1:]]).float()


def answer_loss(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """Cross entropy in nats of every answer token, (answer tokens,)."""
    logits = answer_logits(model, ids, mask, answer)
    return functional.cross_entropy(logits, ids[:, 1:][answer[:, 1:]], reduction="none")
