"""Adapters that somebody trained elsewhere: vLLM's load_lora_adapter and unload_lora_adapter.

Only PEFT folders under lora.allowed_root are read. Names last as long as the server, as they do in vLLM, or until
they are unloaded; the adapter's files stay in a folder of their own a while longer.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.errors import AdapterNotFound
from proxy.config import LoraConfig
from proxy.errors import BadRequest, LoadRefused

if TYPE_CHECKING:
    from adapters.gguf_file import BaseModel
    from adapters.store import Store, StoredAdapter

KEPT_S = 600.0
"""How long an adapter's files outlive its last name: an answer that waits in the queue has yet to open them."""


@dataclass(frozen=True, slots=True)
class Loaded:
    name: str
    tenant: str
    root: Path
    stored: StoredAdapter


class LoadedAdapters:
    """The adapters loaded by name, per tenant. Any thread may call."""

    def __init__(self, config: LoraConfig, taken: Callable[[str], bool], base: BaseModel, base_name: str) -> None:
        """taken: whether a name already means something else."""
        self.allowed_root = config.allowed_root.resolve() if config.allowed_root else None
        self.taken = taken
        self.base = base
        self.base_name = base_name
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, str], Loaded] = {}
        self._unloaded: dict[str, float] = {}  # digest -> time.monotonic() of its latest unload
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def load(self, name: str, path: str, tenant: str) -> None:
        """Raises LoadRefused, BadRequest (name in use), or what reading and storing it raises."""
        folder = self.allowed(path)
        from adapters.card import Card
        from adapters.peft_file import read_peft

        if self.taken(name) or (tenant, name) in self._loaded:
            raise BadRequest(f"The lora adapter '{name}' has already been loaded.", param="lora_name")
        adapter = read_peft(folder, self.base.digest)
        card = Card("loaded", self.base_name, self.base.digest, time.time(), hint=f"loaded as {name}")
        with self._lock:
            self._remove_unused()
            stored = self.store().put(adapter, card, self.base)
            self._loaded[tenant, name] = Loaded(name, tenant, folder, stored)

    def unload(self, name: str, tenant: str) -> None:
        """Raises AdapterNotFound. Answers under way with it are finished."""
        with self._lock:
            one = self._loaded.pop((tenant, name), None)
            if one is None:
                raise AdapterNotFound(f"The lora adapter '{name}' cannot be found.")
            self._unloaded[one.stored.digest] = time.monotonic()

    def _remove_unused(self) -> None:
        """The files of adapters that have had no name for KEPT_S."""
        used = {one.stored.digest for one in self._loaded.values()}
        for digest, since in list(self._unloaded.items()):
            if time.monotonic() - since > KEPT_S:
                del self._unloaded[digest]
                if digest not in used:
                    with suppress(AdapterNotFound):  # the system tidies its temporary folder, too
                        self.store().delete(digest)

    def list(self, tenant: str) -> list[Loaded]:
        with self._lock:
            return [one for one in self._loaded.values() if one.tenant == tenant]

    def get(self, digest: str, tenant: str) -> StoredAdapter | None:
        return next((one.stored for one in self.list(tenant) if one.stored.digest == digest), None)

    def close(self) -> None:
        if self._folder:
            self._folder.cleanup()

    def store(self) -> Store:
        from adapters.store import Store

        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="et2l-loaded-")
        return Store(Path(self._folder.name))

    def allowed(self, path: str) -> Path:
        """The folder, every link followed, if it lies under the allowed root. Raises LoadRefused.

        One message for all that is refused: it must not tell what exists elsewhere.
        """
        if self.allowed_root is None:
            raise LoadRefused("loading adapters is off; set lora.allowed_root to the folder they may come from")
        folder = (self.allowed_root / path).resolve()
        inside = folder.is_relative_to(self.allowed_root) and folder.is_dir()
        files = [file.resolve() for file in folder.iterdir()] if inside else []
        if not inside or not all(file.is_relative_to(self.allowed_root) for file in files):
            raise LoadRefused(f"{path!r} is no folder under lora.allowed_root")
        return folder
