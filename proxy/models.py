"""Model names: what a client may put into `model`, what each means, and the cards of /v1/models."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.config import ModelConfig
from proxy.errors import ModelNotFound

DIGEST = re.compile(r"[0-9a-f]{6,16}")
"""A digest, or a beginning of one. A test compares 16 with adapters.lora.DIGEST_HEX, whose module imports torch."""


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """The base model, without an adapter."""


@dataclass(frozen=True, slots=True)
class AutoChoice:
    """The base model, adapted to the task hint."""


@dataclass(frozen=True, slots=True)
class PinnedChoice:
    """The base model with this adapter, whatever the hint says."""

    digest: str


@dataclass(frozen=True, slots=True)
class KnownAdapter:
    """An adapter that a tenant may name. `name`: what it was loaded under, if it was (vLLM's lora_name)."""

    digest: str
    created: float
    root: str
    name: str | None = None


ModelChoice = BaseChoice | AutoChoice | PinnedChoice


class ModelNames:
    """Resolves names: `<base>`, `<base>@auto`, `<base>@off`, `<base>@<digest>` (or a unique beginning of at
    least six digits), an alias in place of `<base>`, and the names of loaded adapters.
    """

    def __init__(
        self,
        model: ModelConfig,
        base_digest: str,
        context_tokens: int,
        embedder: str,
        known: Callable[[str], Sequence[KnownAdapter]],
        created: float = 0.0,
    ) -> None:
        """known: the adapters a tenant may name. embedder: name of the model behind /v1/embeddings. created:
        when the base model's file came here, in seconds since 1970.
        """
        self.base = model.name
        self.aliases = model.aliases
        self.base_digest = base_digest
        self.context_tokens = context_tokens
        self.embedder = embedder
        self.known = known
        self.created = int(created)

    def choose(self, name: str, tenant: str) -> ModelChoice:
        """What `name` means. Raises ModelNotFound."""
        base, at, suffix = name.partition("@")
        if base in (self.base, *self.aliases):
            if suffix == "auto" or not at:
                return AutoChoice()
            if suffix == "off":
                return BaseChoice()
        known = self.known(tenant)
        for adapter in known:
            if adapter.name == name:
                return PinnedChoice(adapter.digest)
        if base in (self.base, *self.aliases) and DIGEST.fullmatch(suffix):
            found = {adapter.digest for adapter in known if adapter.digest.startswith(suffix)}
            if len(found) == 1:
                return PinnedChoice(found.pop())
            if found:
                raise ModelNotFound(f"The model `{name}` is not unique: {', '.join(sorted(found))} begin so.")
        raise self.not_found(name, tenant)

    def not_found(self, name: str, tenant: str) -> ModelNotFound:
        names = [card["id"] for card in self.cards(tenant)]
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        return ModelNotFound(f"The model `{name}` does not exist. There are: {shown}.")

    def cards(self, tenant: str) -> list[dict[str, Any]]:
        """One card per name that `choose` takes (short digests aside), and the embedder's."""
        names = [self.base, f"{self.base}@off", f"{self.base}@auto", *self.aliases]
        cards = [self.card(name, self.base, None if name == self.base else self.base) for name in names]
        for adapter in self.known(tenant):
            name = adapter.name or f"{self.base}@{adapter.digest}"
            cards.append(self.card(name, adapter.root, self.base, int(adapter.created)))
        return [*cards, {**self.card(self.embedder, self.embedder, None), "max_model_len": 256}]

    def card(self, name: str, root: str, parent: str | None, created: int | None = None) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self.created if created is None else created,
            "owned_by": "et2l",
            "root": root,
            "parent": parent,
            "max_model_len": self.context_tokens,
        }

    def find_card(self, name: str, tenant: str) -> dict[str, Any]:
        """Raises ModelNotFound."""
        for card in self.cards(tenant):
            if card["id"] == name:
                return card
        choice = self.choose(name, tenant)  # a short digest or an alias with a suffix
        if isinstance(choice, PinnedChoice):
            found = next(adapter for adapter in self.known(tenant) if adapter.digest == choice.digest)
            return self.card(name, found.root, self.base, int(found.created))
        return self.card(name, self.base, self.base)
