"""The schema of cache.db, as numbered steps. Each is applied and recorded in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sqlite_utils import Database


def m001_create_tables(db: Database) -> None:
    """adapters: one row per folder of the store. hints: what was asked, pointing at an adapter; several may
    point at one. AUTOINCREMENT: the index names hints by id, so an id must never come back for another hint.
    feedback outlives its adapter: it is what the composer learns from."""
    db.execute("""
        CREATE TABLE adapters (
            digest TEXT PRIMARY KEY,
            base_digest TEXT NOT NULL,
            size_bytes INTEGER NOT NULL,
            created REAL NOT NULL,
            last_used REAL NOT NULL,
            hits_exact INTEGER NOT NULL DEFAULT 0,
            hits_semantic INTEGER NOT NULL DEFAULT 0
        )""")
    db.execute("""
        CREATE TABLE hints (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            partition TEXT NOT NULL,
            tenant TEXT NOT NULL,
            hint TEXT NOT NULL,
            digest TEXT NOT NULL REFERENCES adapters (digest) ON DELETE CASCADE,
            embedding BLOB NOT NULL,
            created REAL NOT NULL
        )""")
    db.execute("CREATE INDEX hints_digest ON hints (digest)")
    db.execute("""
        CREATE TABLE feedback (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            digest TEXT NOT NULL,
            rating REAL NOT NULL,
            skills TEXT NOT NULL,
            tenant TEXT NOT NULL,
            created REAL NOT NULL
        )""")
    db.execute("CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")
    db.execute("CREATE TABLE identity (id TEXT NOT NULL)")
    db.execute("INSERT INTO identity VALUES (?)", [secrets.token_hex(8)])


def m002_cards_of_hints(db: Database) -> None:
    """Hints that share an adapter each have a card of their own; NULL = the one in the adapter's folder."""
    db.execute("ALTER TABLE hints ADD COLUMN card TEXT")


MIGRATIONS: tuple[Callable[[Database], None], ...] = (m001_create_tables, m002_cards_of_hints)


class SchemaTooNew(Exception):
    """The database was written by a newer version of this program."""


def migrate(db: Database) -> None:
    """Apply what is missing. `PRAGMA user_version` counts the steps applied. Raises SchemaTooNew."""
    while True:
        db.conn.execute("BEGIN IMMEDIATE")  # before reading the version: two processes may start at once
        try:
            (version,) = db.conn.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise SchemaTooNew(f"schema version {version}, this program knows {len(MIGRATIONS)}")
            if version < len(MIGRATIONS):
                MIGRATIONS[version](db)
                db.conn.execute(f"PRAGMA user_version = {version + 1}")
        except BaseException:
            db.conn.rollback()
            raise
        db.conn.commit()
        if version >= len(MIGRATIONS):
            return
