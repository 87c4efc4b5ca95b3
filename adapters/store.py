"""The folder of generated adapters: one sub-folder per digest, there as a whole or not at all.

`<digest>/` holds adapter_config.json and adapter_model.safetensors (PEFT), adapter.gguf and card.json.
Knows nothing of rows or of the index (adapters/cache.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from adapters import peft_file
from adapters.card import Card
from adapters.errors import AdapterCorrupt, AdapterNotFound
from adapters.gguf_file import BaseModel, write_gguf
from adapters.lora import DIGEST_HEX, LoraAdapter, is_finite

GGUF = "adapter.gguf"
CARD = "card.json"
FILES = (peft_file.CONFIG, peft_file.WEIGHTS, GGUF)
_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_HEX}}}")
_LEFTOVER = re.compile(r"\.(new|old)-.+")


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """An adapter on disk, complete when it was read."""

    digest: str
    folder: Path
    card: Card
    size_bytes: int

    @property
    def gguf_path(self) -> Path:
        return self.folder / GGUF


class Store:
    """Adapters by digest under one folder, shared by threads and processes.

    A folder is written under a temporary name, synced and renamed; it is removed by renaming it away first.
    So a name that is a digest is always a whole adapter, also after a kill or a power cut; `leftovers` are
    what those leave. card.json, written last, names the size of every other file: `get` compares.
    Whoever changes the store holds `lock`: one thread of one process; the system releases a dead one's.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._thread_lock = threading.RLock()
        self._depth = 0
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """The right to change the store and what follows from it: one thread of one process; re-entrant."""
        with self._thread_lock:
            if self._depth:
                yield
                return
            with open(self.folder / ".lock", "w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._depth = 1
                try:
                    yield
                finally:
                    self._depth = 0

    def put(self, adapter: LoraAdapter, card: Card, base: BaseModel) -> StoredAdapter:
        """Write the adapter, or give the one that is there this card: same digest, same weights.

        Raises AdapterMismatch (not for this base), AdapterCorrupt (values not finite), OSError (disk full).
        """
        with self.lock():
            final = self.folder / adapter.digest
            if final.exists():
                try:
                    return self.tell(adapter.digest, card)
                except AdapterCorrupt:
                    self._remove(final)
            base.check(adapter)
            _check_finite(adapter)
            partial = self.folder / f".new-{adapter.digest}"
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
            try:
                _write(adapter, card, base, partial)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            partial.rename(final)
            _sync(self.folder)
            return self.get(adapter.digest)

    def tell(self, digest: str, card: Card) -> StoredAdapter:
        """Give an adapter another card: several tasks may lead to the same weights. Raises as `get`, and OSError."""
        with self.lock():
            stored = self.get(digest)
            _write_card(stored.folder, digest, card)
            return replace(stored, card=card)

    def get(self, digest: str) -> StoredAdapter:
        """Raises AdapterNotFound, or AdapterCorrupt if a file is missing or has not the size written."""
        folder = self.folder / digest
        if not _DIGEST.fullmatch(digest) or not folder.is_dir():
            raise AdapterNotFound(f"no adapter {digest} is stored")
        try:
            raw = json.loads((folder / CARD).read_text())
            card, sizes = Card.from_json(raw), raw["files"]
            for name in FILES:
                found = (folder / name).stat().st_size
                if found != sizes[name]:
                    raise AdapterCorrupt(f"{folder / name} has {found} bytes, {sizes[name]} were written")
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise AdapterCorrupt(f"{folder}: {exc}") from exc
        return StoredAdapter(digest, folder, card, sum(sizes[name] for name in FILES))

    def digests(self) -> list[str]:
        """Names of all adapter folders, whole or not; sorted."""
        return sorted(path.name for path in self.folder.iterdir() if _DIGEST.fullmatch(path.name))

    def delete(self, digest: str) -> None:
        """Remove an adapter's folder, whole or damaged. Raises AdapterNotFound."""
        with self.lock():
            folder = self.folder / digest
            if not _DIGEST.fullmatch(digest) or not folder.exists():
                raise AdapterNotFound(f"no adapter {digest} is stored")
            self._remove(folder)

    def leftovers(self) -> list[Path]:
        """What a killed `put` or `delete` left behind. Meaningful under `lock` only."""
        return sorted(path for path in self.folder.iterdir() if _LEFTOVER.fullmatch(path.name))

    def clean(self) -> list[Path]:
        """Remove leftovers; returns what was removed."""
        with self.lock():
            found = self.leftovers()
            for path in found:
                shutil.rmtree(path)
            return found

    def _remove(self, folder: Path) -> None:
        """Rename, then delete: a kill in between leaves no half adapter under its digest."""
        old = self.folder / f".old-{folder.name}"
        if old.exists():
            shutil.rmtree(old)
        folder.rename(old)
        shutil.rmtree(old)


def _write(adapter: LoraAdapter, card: Card, base: BaseModel, folder: Path) -> None:
    """All four files, on the disk when this returns."""
    with ThreadPoolExecutor(max_workers=1) as second:  # most of the time is the kernel's
        gguf = second.submit(_write_gguf, adapter, folder / GGUF, base)
        peft_file.write_peft(adapter, folder, base_name=card.base_name)
        _sync(folder / peft_file.WEIGHTS)
        gguf.result()
    _sync(folder / peft_file.CONFIG)
    _write_card(folder, adapter.digest, card)


def _write_card(folder: Path, digest: str, card: Card) -> None:
    """card.json with the other files' sizes, on the disk when this returns; an old one is replaced as a whole."""
    sizes = {name: (folder / name).stat().st_size for name in FILES}
    raw = {"digest": digest, "files": sizes} | card.to_json()
    temporary = folder / f"{CARD}.tmp"
    temporary.write_text(json.dumps(raw, ensure_ascii=False, indent=1), encoding="utf-8")
    _sync(temporary)
    temporary.replace(folder / CARD)
    _sync(folder)


def _write_gguf(adapter: LoraAdapter, path: Path, base: BaseModel) -> None:
    write_gguf(adapter, path, base)
    _sync(path)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that a row committed later cannot outlive it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_finite(adapter: LoraAdapter) -> None:
    for path, delta in adapter.deltas.items():
        if not (is_finite(delta.a) and is_finite(delta.b)):
            raise AdapterCorrupt(f"adapter {adapter.digest}: {path} has values that are not finite")
