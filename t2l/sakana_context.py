"""What a T2L checkpoint was trained around: its text encoder and its base model's chat template.

A checkpoint is only as good as its inputs: adapters from another encoder's embeddings are noise, and adapters
under another template answer worse. Formats: SakanaAI/text-to-lora, which embeds descriptions with a named
encoder and trains on templates that differ from the vendors' in small ways.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F

from t2l.embedder import Reading
from t2l.hypernetwork import CheckpointError
from t2l.sakana_files import SakanaConfig, base_name

MAX_TOKENS = 8192

MISTRAL = (
    "{{ bos_token }}{% set ns = namespace(system='') %}"
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{% set ns.system = m.content + '\\n\\n' %}"
    "{% elif m.role == 'user' %}{{ ' [INST] ' + ns.system + m.content + ' [/INST]' }}{% set ns.system = '' %}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}"
    "{% endfor %}"
)
LLAMA3 = (
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
GEMMA2 = (  # a turn of its own for the system text, which Gemma's own template refuses
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim }}"
    "{{ '<end_of_turn>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
TEMPLATES = {"mistral-7b-instruct": MISTRAL, "llama-3.1-8b-instruct": LLAMA3, "gemma-2-2b-it": GEMMA2}
"""By the start of the base model's name: the templates the published checkpoints were trained with."""


def chat_template(folder: Path) -> str | None:
    """The Jinja chat template of a checkpoint; None = the served model's own.

    `chat_template.jinja` in the folder wins; otherwise that of a published base model. Raises CheckpointError.
    """
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    name = base_name(folder).rstrip("/").rsplit("/", 1)[-1].lower()
    return next((text for start, text in TEMPLATES.items() if name.startswith(start)), None)


@dataclass(frozen=True, slots=True)
class EncoderFormat:
    """How T2L uses an encoder. pooling: hidden state of the first token, or of the last."""

    pooling: Literal["cls", "last_token"]
    instruction: str
    full_stop: bool
    dtype: torch.dtype


def encoder_format(emb_model: str) -> EncoderFormat:
    """The conventions of the encoder families T2L was trained with, by name as it does."""
    if "SFR" in emb_model:
        return EncoderFormat(
            "last_token", "Instruct: Retrieve semantically similar text.\nQuery: ", False, torch.bfloat16
        )
    if "gte" in emb_model:
        return EncoderFormat("cls", "", True, torch.float32)
    return EncoderFormat("last_token", "", True, torch.bfloat16)


class CheckpointEmbedder:
    """The text encoder of a T2L checkpoint, through transformers. Holds the model; `embed` may run on any
    thread.

    `embed` gives unit vectors like every embedder here; `SakanaHypernetwork.generate` sets the length it
    wants.
    """

    def __init__(
        self, config: SakanaConfig, location: str = "", device: str = "cpu", trust_remote_code: bool = False
    ) -> None:
        """location: folder or hub name, "" = the checkpoint's `emb_model`. Raises CheckpointError.

        trust_remote_code: some encoders (gte-large-en-v1.5) bring their own Python; it runs only if asked
        for.
        """
        if config.one_hot_tasks:
            raise CheckpointError(
                "this T2L checkpoint was trained on one-hot tasks: no text can be embedded for it"
            )
        name = location or config.emb_model
        if not name:
            raise CheckpointError(
                "this T2L checkpoint embeds descriptions with its base model: "
                "give that model's transformers folder"
            )
        # transformers takes seconds to import, and only these checkpoints need it.
        from transformers import AutoModel, AutoTokenizer

        self.format = encoder_format(config.emb_model)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
            model = AutoModel.from_pretrained(
                name, dtype=self.format.dtype, trust_remote_code=trust_remote_code
            )
        except (OSError, ValueError, ImportError, KeyError) as exc:
            raise CheckpointError(
                f"cannot load the encoder {name!r} this T2L checkpoint was trained with: {exc}. "
                "Put it in a local folder and name that folder; "
                "an encoder with its own Python code needs embedder.trust_remote_code"
            ) from exc
        self._tokenizer.padding_side = "right"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model = model.to(device).eval()
        self.dim = int(model.config.hidden_size)
        if self.dim != config.embedding_dim:
            raise CheckpointError(
                f"encoder {name!r} is {self.dim} wide, the checkpoint wants {config.embedding_dim}"
            )
        self.digest = self._digest()

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, E) float32 on the CPU, unit length."""
        limit = min(MAX_TOKENS, self._tokenizer.model_max_length)
        batch = self._tokenizer(
            [self._formatted(text) for text in texts],
            padding=True,
            truncation=True,
            max_length=limit,
            return_tensors="pt",
        ).to(self._model.device)
        hidden = self._model(**batch).last_hidden_state  # (n, tokens, E)
        if self.format.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            last = batch["attention_mask"].sum(dim=1) - 1
            pooled = hidden[torch.arange(len(texts), device=hidden.device), last]
        return F.normalize(pooled.float(), dim=-1).cpu()

    def read(self, texts: Sequence[str]) -> Reading:
        """Vectors alone: these hypernetworks read nothing else."""
        return Reading(self.embed(texts))

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Over all texts, with the encoder's own special tokens."""
        return sum(len(ids) for ids in self._tokenizer([self._formatted(text) for text in texts])["input_ids"])

    def _formatted(self, text: str) -> str:
        text = text.strip()
        if self.format.full_stop and text and text[-1].isalpha():
            text += "."
        return self.format.instruction + text

    def _digest(self) -> str:
        sha = hashlib.sha256(repr(self.format).encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            sha.update(name.encode())
            sha.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
        return sha.hexdigest()
