"""The rows of cache.db: the one door to SQLite besides its migrations. Knows no files and no index."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlite_utils import Database

from adapters.cache_key import CacheKey
from adapters.errors import CacheCorrupt, CacheUnavailable
from adapters.migrations import SchemaTooNew, migrate

BUSY_TIMEOUT_S = 10.0
_HINT = "id, partition, tenant, hint, digest, card"
"""The columns of a HintRow."""


@dataclass(frozen=True, slots=True)
class AdapterRow:
    """An adapter of the store: its size and its use. Times are seconds since 1970."""

    digest: str
    base_digest: str
    size_bytes: int
    created: float
    last_used: float
    hits_exact: int = 0
    hits_semantic: int = 0


@dataclass(frozen=True, slots=True)
class HintRow:
    """A task hint that was asked, and the adapter that answers it.

    card: how the adapter came to be for this hint, JSON: others' hints may have led to the same weights. None in rows
    of earlier versions.
    """

    id: int
    partition: str
    tenant: str
    hint: str
    digest: str
    card: str | None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a client said about an answer. rating: -1 to 1; skills: whether each skill fitted."""

    digest: str
    rating: float
    skills: Mapping[str, bool]
    tenant: str
    created: float

    def __post_init__(self) -> None:
        if not -1 <= self.rating <= 1:
            raise ValueError(f"rating is {self.rating}, want -1 to 1")


class Rows:
    """One connection, used by one thread at a time: `AdapterCache` holds its lock around every call.

    WAL, so that readers in other processes never wait. Every method raises CacheUnavailable for what may pass
    (locked for too long, disk full, no right to write) and CacheCorrupt for what SQLite cannot read.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._speaking():
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
            self._db = Database(connection)
            self._db.enable_wal()
            connection.execute(
                "PRAGMA synchronous = NORMAL"
            )  # a power cut may lose the last rows, not mix them
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(self._db)
            (self.identity,) = connection.execute("SELECT id FROM identity").fetchone()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """SQLite's errors in our words."""
        try:
            yield
        except sqlite3.OperationalError as exc:
            raise CacheUnavailable(f"{self.path}: {exc}") from exc
        except (sqlite3.DatabaseError, SchemaTooNew) as exc:
            advice = "Move it away and run `et2l cache rebuild` to begin a new one"
            raise CacheCorrupt(f"{self.path}: {exc}. {advice}") from exc

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The one owner of transactions: all of the block, or nothing. Takes the write lock at its start."""
        with self._speaking():
            connection = self._db.conn
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def _read(self, sql: str, values: Sequence[object] = ()) -> list[dict]:
        with self._speaking():
            return list(self._db.query(sql, values))

    def changed_elsewhere(self) -> int:
        """A number that changes when another connection has committed."""
        return self._read("PRAGMA data_version")[0]["data_version"]

    def add_adapter(self, row: AdapterRow) -> None:
        """Insert, or mark as used the one that is there."""
        with self._writing() as connection:
            self._add_adapter(connection, row)

    def add_hint(self, row: AdapterRow, key: CacheKey, embedding: np.ndarray, card: str) -> int:
        """Point the key at the adapter, making the adapter's row with it; returns the hint's id.

        A key that is there keeps its id: the hint, and with it the embedding, is the same.
        """
        with self._writing() as connection:
            self._add_adapter(connection, row)
            values = [
                key.exact,
                key.partition,
                key.tenant,
                key.hint,
                row.digest,
                _to_blob(embedding),
                row.created,
                card,
            ]
            (id,) = connection.execute(
                "INSERT INTO hints (key, partition, tenant, hint, digest, embedding, created, card)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET digest = excluded.digest, card = excluded.card RETURNING id",
                values,
            ).fetchone()
            return id

    @staticmethod
    def _add_adapter(connection: sqlite3.Connection, row: AdapterRow) -> None:
        connection.execute(
            "INSERT INTO adapters (digest, base_digest, size_bytes, created, last_used)"
            " VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (digest) DO UPDATE SET last_used = excluded.last_used",
            [row.digest, row.base_digest, row.size_bytes, row.created, row.last_used],
        )

    def adapter(self, digest: str) -> AdapterRow | None:
        found = self._read("SELECT * FROM adapters WHERE digest = ?", [digest])
        return AdapterRow(**found[0]) if found else None

    def adapters(self) -> list[AdapterRow]:
        """All, the least recently used first."""
        return [AdapterRow(**row) for row in self._read("SELECT * FROM adapters ORDER BY last_used, rowid")]

    def hint_by_key(self, key: str) -> HintRow | None:
        found = self._read(f"SELECT {_HINT} FROM hints WHERE key = ?", [key])
        return HintRow(**found[0]) if found else None

    def hint_by_id(self, id: int) -> HintRow | None:
        found = self._read(f"SELECT {_HINT} FROM hints WHERE id = ?", [id])
        return HintRow(**found[0]) if found else None

    def hints(self, digest: str) -> list[HintRow]:
        """All that point at an adapter, the oldest first."""
        sql = f"SELECT {_HINT} FROM hints WHERE digest = ? ORDER BY id"
        return [HintRow(**row) for row in self._read(sql, [digest])]

    def newest_hint(self, digest: str, tenant: str | None) -> HintRow | None:
        """Of those that point at an adapter, a tenant's or anybody's."""
        sql = f"SELECT {_HINT} FROM hints WHERE digest = ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY id DESC LIMIT 1"
        found = self._read(sql, [digest, tenant])
        return HintRow(**found[0]) if found else None

    def remove_oldest_hints(self, digest: str, kept: int) -> list[int]:
        """Remove hints that point at an adapter, but for the newest `kept`; returns their ids."""
        with self._writing() as connection:
            sql = ("DELETE FROM hints WHERE id IN (SELECT id FROM hints WHERE digest = ? ORDER BY id DESC"
                   " LIMIT -1 OFFSET ?) RETURNING id")  # fmt: skip
            return [id for (id,) in connection.execute(sql, [digest, kept]).fetchall()]

    def embedding_ids(self, dim: int) -> set[int]:
        """Ids of the hints whose embedding has this many dimensions."""
        return {
            row["id"] for row in self._read("SELECT id FROM hints WHERE length(embedding) = ?", [4 * dim])
        }

    def embedding(self, id: int) -> np.ndarray | None:
        """(E,) float32."""
        found = self._read("SELECT embedding FROM hints WHERE id = ?", [id])
        return np.frombuffer(found[0]["embedding"], dtype="<f4") if found else None

    def remove_adapter(self, digest: str) -> list[int] | None:
        """Remove an adapter's row and its hints; returns the hints' ids, None if there is no such row."""
        with self._writing() as connection:
            ids = [id for (id,) in connection.execute("SELECT id FROM hints WHERE digest = ?", [digest])]
            gone = connection.execute("DELETE FROM adapters WHERE digest = ?", [digest]).rowcount
            return ids if gone else None

    def remove_hints(self, digest: str, tenant: str) -> list[int]:
        """Remove a tenant's hints that point at an adapter; returns their ids."""
        with self._writing() as connection:
            sql = "DELETE FROM hints WHERE digest = ? AND tenant = ? RETURNING id"
            return [id for (id,) in connection.execute(sql, [digest, tenant]).fetchall()]

    def record_hit(self, digest: str, source: str, now: float) -> None:
        """source: "exact" or "semantic" are counted, of the row and overall; "pinned" only marks as used."""
        with self._writing() as connection:
            connection.execute("UPDATE adapters SET last_used = ? WHERE digest = ?", [now, digest])
            if source != "pinned":
                column = {"exact": "hits_exact", "semantic": "hits_semantic"}[source]
                connection.execute(f"UPDATE adapters SET {column} = {column} + 1 WHERE digest = ?", [digest])
                _count(connection, {column: 1})

    def count(self, amounts: Mapping[str, int]) -> None:
        with self._writing() as connection:
            _count(connection, amounts)

    def counters(self) -> dict[str, int]:
        return {row["name"]: row["value"] for row in self._read("SELECT name, value FROM counters")}

    def totals(self) -> tuple[int, int, int]:
        """Number of hints, number of adapters, bytes of adapters."""
        (row,) = self._read(
            "SELECT (SELECT count(*) FROM hints) AS hints, count(*) AS adapters,"
            " coalesce(sum(size_bytes), 0) AS bytes FROM adapters"
        )
        return row["hints"], row["adapters"], row["bytes"]

    def add_feedback(self, given: Feedback) -> None:
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO feedback (digest, rating, skills, tenant, created) VALUES (?, ?, ?, ?, ?)",
                [given.digest, given.rating, json.dumps(dict(given.skills)), given.tenant, given.created],
            )

    def feedback(self) -> list[Feedback]:
        """All, the oldest first."""
        rows = self._read("SELECT digest, rating, skills, tenant, created FROM feedback ORDER BY id")
        return [Feedback(**(row | {"skills": json.loads(row["skills"])})) for row in rows]


def _count(connection: sqlite3.Connection, amounts: Mapping[str, int]) -> None:
    connection.executemany(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        list(amounts.items()),
    )


def _to_blob(embedding: np.ndarray) -> bytes:
    return np.ascontiguousarray(embedding, dtype="<f4").tobytes()
