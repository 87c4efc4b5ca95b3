"""Which stored adapter answers a task hint: rows, files and index together, the rows being the truth."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from adapters.cache_key import CacheKey
from adapters.card import Card
from adapters.errors import AdapterCorrupt, AdapterNotFound, CacheUnavailable
from adapters.gguf_file import BaseModel
from adapters.index import VectorIndex
from adapters.lora import LoraAdapter
from adapters.rows import AdapterRow, Feedback, HintRow, Rows
from adapters.store import Store, StoredAdapter

log = logging.getLogger(__name__)

Gate = Callable[[str, str], bool]
"""Whether two hints that are near in embedding ask for the same thing: opposites are near, too."""

_FIRST_NEIGHBOURS = 8
HINTS_KEPT = 1000
"""Hints that may lead to one adapter; the oldest go. Its bytes bound the adapters, not what leads to them."""


@dataclass(frozen=True, slots=True)
class CacheHit:
    """similarity: cosine of the two hints, 1.0 for an exact hit; hint: the one the adapter was made for."""

    stored: StoredAdapter
    source: Literal["exact", "semantic"]
    similarity: float
    hint: str


@dataclass(frozen=True, slots=True)
class CacheStats:
    """gate_refusals: neighbours above the threshold that the gate turned down. Counts never start anew."""

    hints: int
    adapters: int
    size_bytes: int
    max_bytes: int
    hits_exact: int
    hits_semantic: int
    misses: int
    gate_refusals: int
    evictions: int


@dataclass(frozen=True, slots=True)
class CacheCheck:
    """What does not fit together.

    damaged: rows whose folder is missing or not whole (digests). orphans: folders without a row (digests).
    leftovers: what a killed write left in the store (names). unindexed, stale: hints missing from the saved
    index, and entries of it without a hint (ids); both are put right whenever the cache is opened.
    """

    damaged: tuple[str, ...]
    orphans: tuple[str, ...]
    leftovers: tuple[str, ...]
    unindexed: tuple[int, ...]
    stale: tuple[int, ...]

    @property
    def ok(self) -> bool:
        return not (self.damaged or self.orphans or self.leftovers or self.unindexed or self.stale)


class AdapterCache:
    """Adapters by task hint, shared by threads and processes.

    To store: the file, then the row, then the index. To remove: the row, then the index, then the file. A
    process killed anywhere leaves an orphan folder or a stale index entry, never a row that points at
    nothing. One lock owns rows and index, for milliseconds at a time; who changes files takes `Store.lock`
    before it.
    Each look-up sees what other processes have stored and removed until then.
    """

    def __init__(self, path: Path, index_path: Path, files: Store, dim: int, max_bytes: int):
        """dim: dimensions of embeddings. max_bytes: disk budget of the files. Raises as `Rows`, and OSError."""
        index_path.parent.mkdir(parents=True, exist_ok=True)
        self._files = files
        self._max_bytes = max_bytes
        self._index_path = index_path
        self._lock = threading.RLock()
        self._rows = Rows(path)
        self._index = VectorIndex.load(index_path, dim, self._rows.identity) or VectorIndex(dim)
        self._seen = self._rows.changed_elsewhere()
        self._reconcile()

    def close(self) -> None:
        with self._lock:
            self._rows.close()

    # Looking up

    def lookup(
        self, key: CacheKey, embed: Callable[[], np.ndarray], threshold: float, gate: Gate
    ) -> CacheHit | None:
        """The adapter of this very hint; else that of the nearest hint of the same partition whose similarity
        is at least `threshold` and which the gate lets pass; else None. Counts what came of it, if it can.

        embed: gives the hint's embedding (E,), unit length; called only if the hint itself is not known.
        Raises AdapterCorrupt if the adapter's folder is damaged: a broken cache says so, it is not a miss.
        """
        with self._lock:
            row = self._rows.hint_by_key(key.exact)
            hit = self._hit(row, "exact", 1.0) if row else None
        if hit:
            return hit
        refused = 0
        for row, similarity in self._neighbours(embed(), key.partition, threshold):
            if not gate(key.hint, row.hint):
                refused += 1
                continue
            with self._lock:
                hit = self._hit(row, "semantic", similarity)
            if hit:
                break
        with self._lock, _best_effort():
            self._rows.count({"misses": 0 if hit else 1, "gate_refusals": refused})
        return hit

    def _hit(self, row: HintRow, source: Literal["exact", "semantic"], similarity: float) -> CacheHit | None:
        stored = self._stored(row.digest)
        if stored is None:
            return None
        with _best_effort():
            self._rows.record_hit(row.digest, source, time.time())
        return CacheHit(_of(row, stored), source, similarity, row.hint)

    def _stored(self, digest: str) -> StoredAdapter | None:
        """The folder of a row that was just read; None if the row has gone since, with its folder."""
        try:
            return self._files.get(digest)
        except (AdapterNotFound, AdapterCorrupt) as exc:
            if self._rows.adapter(digest) is None:
                return None
            raise AdapterCorrupt(f"{exc}; `et2l cache rebuild` removes what is damaged") from exc

    def _neighbours(
        self, embedding: np.ndarray, partition: str, threshold: float
    ) -> Iterator[tuple[HintRow, float]]:
        """Hints of the partition with their similarity, nearest first, down to the threshold.

        The index holds all partitions: it is asked for more until the farthest answer is below the threshold,
        so that other tenants' hints can never hide one's own. The lock is free while the caller has a hint: reading
        a long one takes the gate its time.
        """
        count, given = _FIRST_NEIGHBOURS, set()
        while True:
            with self._lock:
                self._catch_up()
                found = self._index.search(embedding, count)
                new = [(one.key, 1.0 - one.distance) for one in found if one.key not in given]
                near = [(self._rows.hint_by_id(key), similarity) for key, similarity in new if similarity >= threshold]
            for row, similarity in near:
                if row and row.partition == partition:
                    yield row, similarity
            if len(near) < len(new) or len(found) < count:
                return
            given.update(key for key, _ in new)
            count *= 4

    def use(self, digest: str, tenant: str | None = None) -> StoredAdapter:
        """An adapter somebody asked for by name, marked as used if it can be. Raises as `get`."""
        with self._lock:
            stored = self.get(digest, tenant)
            with _best_effort():
                self._rows.record_hit(digest, "pinned", time.time())
            return stored

    def get(self, digest: str, tenant: str | None = None) -> StoredAdapter:
        """With the card of the newest hint, of the tenant's if one is named, that points at it.

        Raises AdapterNotFound, also where only other tenants' hints point at it; AdapterCorrupt.
        """
        with self._lock:
            hint = self._rows.newest_hint(digest, tenant)
            stored = self._stored(digest) if hint else None
        if stored is None:
            raise AdapterNotFound(f"no adapter {digest} is stored")
        return _of(hint, stored)

    def adapters(self, tenant: str | None = None) -> list[AdapterRow]:
        """The most recently used first; with a tenant, those that its hints point at."""
        with self._lock:
            rows = self._rows.adapters()
            return [row for row in reversed(rows) if self._rows.newest_hint(row.digest, tenant)]

    def hints(self, digest: str) -> list[HintRow]:
        """The hints that point at an adapter, the oldest first."""
        with self._lock:
            return self._rows.hints(digest)

    # Storing and removing

    def store(
        self, key: CacheKey, embedding: np.ndarray, adapter: LoraAdapter, card: Card, base: BaseModel
    ) -> StoredAdapter:
        """Write the adapter, point the hint at it, evict what exceeds the budget. Raises as `Store.put`.

        A hint that has an adapter keeps it, and that one is returned: two that missed at the same time get the same.
        Hints that lead to the same weights share a folder, each with its own card.
        """
        with self._files.lock():
            with self._lock:
                known = self._rows.hint_by_key(key.exact)
            if known and self._whole(known.digest):
                return _of(known, self._files.get(known.digest))
            stored = self._files.put(adapter, card, base)
            with self._lock:
                told = json.dumps(card.to_json(), ensure_ascii=False)
                id = self._rows.add_hint(_row(stored), key, embedding, told)
                for old in self._rows.remove_oldest_hints(stored.digest, HINTS_KEPT):
                    self._index.remove(old)
                if id not in self._index:
                    self._index.add(id, embedding)
                self._save_index()
            self._evict(keep=stored.digest)
        return stored

    def delete(self, digest: str, tenant: str | None = None) -> None:
        """Remove an adapter, with every hint that points at it. Raises AdapterNotFound.

        With a tenant: its own hints alone, as long as others' point there, too.
        """
        with self._files.lock():
            with self._lock:
                shared = tenant is not None and any(hint.tenant != tenant for hint in self._rows.hints(digest))
                ids = self._rows.remove_hints(digest, tenant) if shared else self._rows.remove_adapter(digest)
                for id in ids or ():
                    self._index.remove(id)
                self._save_index()
            if shared:
                with self._lock:
                    rest = self._rows.newest_hint(digest, None)
                if rest:
                    with suppress(AdapterNotFound, AdapterCorrupt):  # nothing is left in the file of who leaves
                        self._files.tell(digest, _of(rest, self._files.get(digest)).card)
                return
            try:
                self._files.delete(digest)
            except AdapterNotFound:
                if ids is None:
                    raise

    def _evict(self, keep: str) -> None:
        """Remove the least recently used adapters until the rest fit the budget."""
        with self._lock:
            rows = self._rows.adapters()
        excess = sum(row.size_bytes for row in rows) - self._max_bytes
        for row in rows:
            if excess <= 0:
                return
            if row.digest != keep:
                log.info("evicting adapter %s, %d bytes", row.digest, row.size_bytes)
                self.delete(row.digest)
                excess -= row.size_bytes
                with self._lock:
                    self._rows.count({"evictions": 1})

    def clear(self) -> int:
        """Remove every adapter and every hint; returns the number of adapters. Feedback and counters stay."""
        with self._files.lock():
            with self._lock:
                digests = {row.digest for row in self._rows.adapters()}
            for digest in digests | set(self._files.digests()):
                self.delete(digest)
            return len(digests)

    # Feedback and figures

    def add_feedback(self, given: Feedback) -> None:
        """Raises AdapterNotFound if there is no such adapter."""
        with self._lock:
            if self._rows.adapter(given.digest) is None:
                raise AdapterNotFound(f"no adapter {given.digest} is stored")
            self._rows.add_feedback(given)

    def feedback(self) -> list[Feedback]:
        """All that was ever given, the oldest first, also about adapters that are gone."""
        with self._lock:
            return self._rows.feedback()

    def stats(self) -> CacheStats:
        with self._lock:
            hints, adapters, size = self._rows.totals()
            counted = self._rows.counters()
        names = ("hits_exact", "hits_semantic", "misses", "gate_refusals", "evictions")
        return CacheStats(hints, adapters, size, self._max_bytes, *(counted.get(name, 0) for name in names))

    # Keeping the three together

    def check(self) -> CacheCheck:
        """Compare rows, folders and the saved index; changes nothing."""
        with self._files.lock(), self._lock:
            rows = {row.digest for row in self._rows.adapters()}
            damaged = tuple(digest for digest in sorted(rows) if not self._whole(digest))
            orphans = tuple(digest for digest in self._files.digests() if digest not in rows)
            leftovers = tuple(path.name for path in self._files.leftovers())
            saved = VectorIndex.load(self._index_path, self._index.dim, self._rows.identity)
            ids, indexed = self._rows.embedding_ids(self._index.dim), saved.keys() if saved else set()
            return CacheCheck(
                damaged, orphans, leftovers, tuple(sorted(ids - indexed)), tuple(sorted(indexed - ids))
            )

    def _whole(self, digest: str) -> bool:
        try:
            self._files.get(digest)
        except (AdapterNotFound, AdapterCorrupt):
            return False
        return True

    def rebuild(self) -> CacheCheck:
        """Remove damaged adapters, orphans and leftovers, and make the index anew from the rows.

        Returns what `check` found before.
        """
        with self._files.lock(), self._lock:
            found = self.check()
            for digest in (*found.damaged, *found.orphans):
                self.delete(digest)
            self._files.clean()
            self._index = VectorIndex(self._index.dim)
            self._reconcile()
            self._save_index()
            return found

    def _catch_up(self) -> None:
        """Take in what other processes have stored or removed."""
        seen = self._rows.changed_elsewhere()
        if seen != self._seen:
            self._seen = seen
            self._reconcile()

    def _reconcile(self) -> None:
        """Make the index in memory agree with the rows; embeddings of other dimensions are left out."""
        ids, indexed = self._rows.embedding_ids(self._index.dim), self._index.keys()
        for id in indexed - ids:
            self._index.remove(id)
        for id in sorted(ids - indexed):
            embedding = self._rows.embedding(id)
            if embedding is not None:
                self._index.add(id, embedding)

    def _save_index(self) -> None:
        """As far as the disk lets: whoever opens the cache next makes it agree with the rows anyway."""
        try:
            self._index.save(self._index_path, self._rows.identity)
        except OSError as exc:
            log.warning("the vector index is not saved: %s", exc)


@contextmanager
def _best_effort() -> Iterator[None]:
    """Around counting: a database that cannot be written now can still be read, and so answers."""
    try:
        yield
    except CacheUnavailable as exc:
        log.warning("not counted: %s", exc)


def _of(hint: HintRow, stored: StoredAdapter) -> StoredAdapter:
    """The adapter with the card of one of the hints that lead to it, not of another's, who may be another tenant."""
    if hint.card is not None:
        try:
            return replace(stored, card=Card.from_json(json.loads(hint.card)))
        except ValueError as exc:
            log.warning("the card of hint %d is lost: %s", hint.id, exc)
    if stored.card.hint == hint.hint:
        return stored
    known = stored.card
    return replace(stored, card=Card(known.source, known.base_name, known.base_digest, known.created, hint.hint))


def _row(stored: StoredAdapter) -> AdapterRow:
    now = time.time()
    return AdapterRow(stored.digest, stored.card.base_digest, stored.size_bytes, now, now)
