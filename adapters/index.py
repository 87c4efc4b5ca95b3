"""The vector index over task hints: the one door to USearch. Derived from rows: it may be lost."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from usearch.index import Index

_MAGIC = b"ET2LVEC1"
_HEAD = len(_MAGIC) + 16 + 32  # magic, identity, sha256 of what follows


@dataclass(frozen=True, slots=True)
class Neighbour:
    """distance: 1 - cosine, small is near."""

    key: int
    distance: float


class VectorIndex:
    """Vectors by integer key. Not locked: `AdapterCache` owns it and holds its lock around every call."""

    def __init__(self, dim: int):
        self.dim = dim
        self._index = Index(ndim=dim, metric="cos", dtype="f32")

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: int) -> bool:
        return bool(self._index.contains(key))

    def keys(self) -> set[int]:
        return {int(key) for key in np.asarray(self._index.keys)}

    def add(self, key: int, vector: np.ndarray) -> None:
        """vector: (dim,) float32. The key must be new."""
        self._index.add(key, self._checked(vector), threads=1)

    def remove(self, key: int) -> None:
        """Does nothing if the key is not there."""
        self._index.remove(key)

    def search(self, vector: np.ndarray, count: int) -> list[Neighbour]:
        """The nearest, at most `count` of them, nearest first."""
        if len(self) == 0:
            return []
        found = self._index.search(self._checked(vector), min(count, len(self)), threads=1)
        return [Neighbour(int(match.key), float(match.distance)) for match in found]

    def _checked(self, vector: np.ndarray) -> np.ndarray:
        if vector.shape != (self.dim,):
            raise ValueError(f"a vector of shape {vector.shape} in an index of {self.dim} dimensions")
        return np.asarray(vector, dtype=np.float32)

    def save(self, path: Path, identity: str) -> None:
        """Replace the file at once. identity: 16 characters, of the database whose rows these are.

        Raises OSError, and leaves the file as it was.
        """
        payload = bytes(self._index.save())
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            with open(partial, "wb") as file:
                file.write(_MAGIC + identity.encode() + hashlib.sha256(payload).digest())
                file.write(payload)
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink()
            raise

    @classmethod
    def load(cls, path: Path, dim: int, identity: str) -> VectorIndex | None:
        """What `save` wrote; None if it is not there, damaged, or of another database or dimension.

        The checksum is ours because USearch trusts what it loads.
        """
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        head, payload = raw[:_HEAD], raw[_HEAD:]
        if head != _MAGIC + identity.encode() + hashlib.sha256(payload).digest():
            return None
        index = cls(dim)
        index._index.load(payload)
        return index if index._index.ndim == dim else None
