"""The adapters a model has loaded, within a budget of bytes. The least recently used goes first, never one in
use.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from proxy.engine.api import AdapterFile, AdapterUnusable
from proxy.engine.llama import Adapter, Context, LlamaError, Model


class AdapterPool:
    """Owned by the engine's thread: loading and freeing change the model that decoding reads."""

    def __init__(self, model: Model, context: Context, budget_bytes: int) -> None:
        self._model = model
        self._context = context
        self._budget_bytes = budget_bytes
        self._loaded: OrderedDict[str, Adapter] = OrderedDict()
        self._users: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._loaded)

    @property
    def size_bytes(self) -> int:
        return sum(adapter.size_bytes for adapter in list(self._loaded.values()))

    def __contains__(self, digest: str) -> bool:
        return digest in self._loaded

    def get(self, digest: str) -> Adapter:
        return self._loaded[digest]

    def take(self, file: AdapterFile) -> None:
        """Counts a user of the adapter, loading it where needed. Raises AdapterUnusable."""
        if file.digest not in self._loaded:
            try:
                self._loaded[file.digest] = Adapter(self._model, file.path)
            except (LlamaError, OSError) as exc:
                raise AdapterUnusable(file.digest, str(exc)) from exc
        self._loaded.move_to_end(file.digest)
        self._users[file.digest] += 1
        self._shrink()

    def give_back(self, digest: str) -> None:
        self._users[digest] -= 1
        if not self._users[digest]:
            del self._users[digest]
        self._shrink()

    def close(self) -> None:
        self._context.attach(())
        while self._loaded:
            self._loaded.popitem()[1].free()

    def _shrink(self) -> None:
        for digest in list(self._loaded):
            if self.size_bytes <= self._budget_bytes:
                return
            if digest not in self._users:
                adapter = self._loaded.pop(digest)
                self._context.detach(adapter)
                adapter.free()
