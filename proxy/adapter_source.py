"""Adapters as a command names them: a digest in the store, a PEFT folder, or a GGUF LoRA file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.card import Card
from adapters.compose import concat
from adapters.errors import AdapterNotFound
from adapters.gguf_file import BaseModel, read_gguf
from adapters.lora import LoraAdapter
from adapters.peft_file import CONFIG, read_peft
from adapters.store import Store


@dataclass(frozen=True, slots=True, eq=False)
class NamedAdapter:
    """An adapter, what it is called, and its card where it comes from the store.

    given: the path or digest by which the user named it. digest: the store's name for it. Tensors read back from a
    file may have their scalings folded in, so that `adapter.digest` is another.
    """

    name: str
    adapter: LoraAdapter
    digest: str
    card: Card | None = None
    given: str = ""


def find_adapter(name: str, base: BaseModel, store_path: Path) -> NamedAdapter:
    """A path if there is such a file or folder, else a digest or a unique beginning of one.

    Raises AdapterNotFound, AdapterCorrupt, AdapterUnsupported, AdapterMismatch.
    """
    path = Path(name)
    if (path / CONFIG).is_file():
        adapter = _checked(read_peft(path, base.digest), base)
        return NamedAdapter(path.name, adapter, adapter.digest, given=name)
    if path.is_file():
        adapter = read_gguf(path, base)
        return NamedAdapter(path.stem, adapter, adapter.digest, given=name)
    if not store_path.is_dir():
        raise AdapterNotFound(f"{name} is no PEFT folder and no file, and there is no adapter store in {store_path}")
    store = Store(store_path)
    found = [digest for digest in store.digests() if digest.startswith(name)]
    if len(found) != 1:
        count = "no adapter begins" if not found else f"{len(found)} adapters begin"
        raise AdapterNotFound(f"{name} is no PEFT folder and no file, and {count} with it in {store_path}")
    stored = store.get(found[0])
    adapter = _checked(read_peft(stored.folder, stored.card.base_digest), base)
    return NamedAdapter(stored.digest, adapter, stored.digest, stored.card, name)


def _checked(adapter: LoraAdapter, base: BaseModel) -> LoraAdapter:
    base.check(adapter)
    return adapter


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """One adapter made of several. parents: each one's digest with its weight."""

    adapter: LoraAdapter
    digest: str
    parents: Mapping[str, float]


def weighted(named: Sequence[NamedAdapter], weights: Mapping[str, float]) -> Weighted:
    """The adapters' weighted sum. No weights: equal shares of 1.

    weights: by the adapters as they were given, by their names, or by unique beginnings of those. Raises ValueError
    unless each gets one weight.
    """
    shares = [_share(one, named, weights) for one in named] if weights else [1 / len(named)] * len(named)
    if weights and len(weights) != len(named):
        raise ValueError(f"--weights has {len(weights)} names for {len(named)} adapters")
    parents = {one.digest: share for one, share in zip(named, shares, strict=True)}
    if shares == [1.0]:
        return Weighted(named[0].adapter, named[0].digest, parents)
    adapter = concat([one.adapter for one in named], shares)
    return Weighted(adapter, adapter.digest, parents)


def _share(one: NamedAdapter, named: Sequence[NamedAdapter], weights: Mapping[str, float]) -> float:
    for key in (one.given, one.name):
        if key in weights:
            return weights[key]
    keys = [key for key in weights if one.name.startswith(key)]
    if len(keys) != 1 or sum(other.name.startswith(keys[0]) for other in named) != 1:
        given, wanted = ", ".join(weights), ", ".join(other.name for other in named)
        raise ValueError(f"--weights names {given}; want one weight for each of {wanted}")
    return weights[keys[0]]
