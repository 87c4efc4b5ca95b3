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
    """An adapter, what the user called it, and its card where it comes from the store."""

    name: str
    adapter: LoraAdapter
    card: Card | None = None


def find_adapter(name: str, base: BaseModel, store_path: Path) -> NamedAdapter:
    """A path if there is such a file or folder, else a digest or a unique beginning of one.

    Raises AdapterNotFound, AdapterCorrupt, AdapterUnsupported, AdapterMismatch.
    """
    path = Path(name)
    if (path / CONFIG).is_file():
        return NamedAdapter(path.name, _checked(read_peft(path, base.digest), base))
    if path.is_file():
        return NamedAdapter(path.stem, read_gguf(path, base))
    if not store_path.is_dir():
        raise AdapterNotFound(f"{name} is no PEFT folder and no file, and there is no adapter store in {store_path}")
    store = Store(store_path)
    found = [digest for digest in store.digests() if digest.startswith(name)]
    if len(found) != 1:
        count = "no adapter begins" if not found else f"{len(found)} adapters begin"
        raise AdapterNotFound(f"{name} is no PEFT folder and no file, and {count} with it in {store_path}")
    stored = store.get(found[0])
    adapter = _checked(read_peft(stored.folder, stored.card.base_digest), base)
    return NamedAdapter(stored.digest, adapter, stored.card)


def _checked(adapter: LoraAdapter, base: BaseModel) -> LoraAdapter:
    base.check(adapter)
    return adapter


def weighted(named: Sequence[NamedAdapter], weights: Mapping[str, float]) -> tuple[LoraAdapter, dict[str, float]]:
    """One adapter of several, and each one's digest with its weight. No weights: equal shares of 1.

    weights: by the adapters' names. Raises ValueError unless they name all of them and nothing else.
    """
    names = [one.name for one in named]
    if weights and (set(weights) != set(names) or len(set(names)) != len(names)):
        raise ValueError(f"--weights names {', '.join(weights)}; the adapters are {', '.join(names)}")
    shares = [weights.get(name, 1 / len(named)) for name in names]
    parents = {one.adapter.digest: share for one, share in zip(named, shares, strict=True)}
    if shares == [1.0]:
        return named[0].adapter, parents
    return concat([one.adapter for one in named], shares), parents
