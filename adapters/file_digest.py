"""The sha256 of large files, remembered beside them. Standard library only, so that it is quick to import."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CHUNK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file, remembered beside it in `<file>.sha256.json` with the file's size and times.

    Hashing half a gigabyte takes about a second, at every start. Where the folder cannot be written it is
    hashed again each time.
    """
    return remembered_sha256(path) or remember_sha256(path, read_sha256(path))


def read_sha256(path: Path, progress: Callable[[int], None] = lambda done_bytes: None) -> str:
    """sha256 (hex) of a file's bytes as they are now."""
    digest, done = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress(done)
    return digest.hexdigest()


def remembered_sha256(path: Path) -> str | None:
    """What was remembered of this very file (by size and times); None if there is no such note."""
    try:
        found = json.loads(_note(path).read_text())
        state = _state(path)
        return str(found["sha256"]) if {key: found[key] for key in state} == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no note, or not one of ours


def remember_sha256(path: Path, sha256: str) -> str:
    """Note the sha256 of the file as it is now, where its folder can be written. Returns it."""
    note = _note(path)
    partial = note.with_name(f"{note.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(_state(path) | {"sha256": sha256}))
        partial.replace(note)
    except OSError:
        with suppress(OSError):  # a read-only file system refuses this, too, whether the file is there or not
            partial.unlink()
    return sha256


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256.json")


def _state(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}
