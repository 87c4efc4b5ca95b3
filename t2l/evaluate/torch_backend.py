"""The cross-check: the same file's dequantised weights in transformers, adapters added to its linear layers.

Slow and simple: one request at a time, no cache shared between them. What differs from the served engine is
arithmetic (float32 against quantised blocks with 8-bit activations), so scores agree up to a few close calls.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from adapters.gguf_file import file_sha256
from adapters.lora import LoraAdapter, LoraDelta
from t2l.evaluate.backend import BackendError, Likelihood, Reply
from t2l.evaluate.prompts import Messages
from t2l.train.base import load_base


class TorchBackend:
    """Implements `Backend`. One lock around the model: `concurrency` is 1, more threads would only wait."""

    concurrency = 1

    def __init__(self, gguf: Path, device: str = "cpu", chat_template: str | None = None) -> None:
        """chat_template: None = the file's own."""
        self._model, self._tokenizer = load_base(gguf, device, torch.float32)
        self._tokenizer.chat_template = chat_template or self._tokenizer.chat_template
        template = sha256(str(self._tokenizer.chat_template).encode()).hexdigest()[:8]
        self.identity = f"torch:{file_sha256(gguf)}:{template}"
        self._lock = threading.Lock()
        self._device = torch.device(device)
        self._limit = self._model.config.max_position_embeddings

    def attach(self, adapter: LoraAdapter | None) -> LoraAdapter | str:
        return "base" if adapter is None else adapter

    def detach(self, attached: LoraAdapter | str) -> None:
        """Nothing is held between requests."""

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate(self, messages: Messages, attached: LoraAdapter | str, max_tokens: int) -> Reply:
        prompt = self._prompt(messages, max_tokens)
        with self._lock, _Attached(self._model, attached), torch.inference_mode():
            out = self._model.generate(
                torch.tensor([prompt], device=self._device),
                max_new_tokens=max_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,
                eos_token_id=self._tokenizer.eos_token_id,
                pad_token_id=self._tokenizer.eos_token_id,
            )[0, len(prompt) :].tolist()
        ended = bool(out) and out[-1] == self._tokenizer.eos_token_id
        return Reply(self._tokenizer.decode(out[:-1] if ended else out, skip_special_tokens=True), ended)

    def loss(self, messages: Messages, answer: str, attached: LoraAdapter | str) -> Likelihood:
        ids = [*self._ids(answer), self._tokenizer.eos_token_id]
        return Likelihood(self._nats(messages, ids, attached), len(ids))

    def option_nats(
        self, messages: Messages, options: Sequence[str], attached: LoraAdapter | str
    ) -> tuple[float, ...]:
        return tuple(self._nats(messages, self._ids(option), attached) for option in options)

    def _nats(self, messages: Messages, answer: Sequence[int], attached: LoraAdapter | str) -> float:
        prompt = self._prompt(messages, len(answer))
        ids = torch.tensor([[*prompt, *answer]], device=self._device)
        with self._lock, _Attached(self._model, attached), torch.inference_mode():
            logits = (
                self._model(ids, logits_to_keep=len(answer) + 1).logits[0, :-1].float()
            )  # (answer, vocabulary)
        return functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="sum").item()

    def _prompt(self, messages: Messages, room: int) -> list[int]:
        text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        ids = self._ids(text)
        if len(ids) + room > self._limit:
            raise BackendError(f"the prompt has {len(ids)} tokens and the context holds {self._limit}")
        return ids

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]


class _Attached:
    """Adds an adapter's delta to the outputs of its linear layers, for the length of a `with` block."""

    def __init__(self, model: nn.Module, attached: LoraAdapter | str) -> None:
        self._model = model
        self._deltas = attached.deltas if isinstance(attached, LoraAdapter) else {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> None:
        for path, delta in self._deltas.items():
            self._hooks.append(self._model.get_submodule(path).register_forward_hook(_add(delta)))

    def __exit__(self, *exc_info: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _add(delta: LoraDelta):
    def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        a, b = (torch.from_numpy(side).to(x.device, x.dtype) for side in (delta.a, delta.b))
        return output + delta.scaling * functional.linear(functional.linear(x, a), b)

    return hook
