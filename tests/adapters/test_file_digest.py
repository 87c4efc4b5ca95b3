"""A remembered sha256 stands for the file it was read from, and for no other."""

import errno
import hashlib
import os
from pathlib import Path

from adapters.file_digest import file_sha256, read_sha256, remember_sha256, remembered_sha256


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()
    assert remembered_sha256(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"two")
    assert remembered_sha256(path) is None
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_another_file_moved_in_with_the_old_times_is_not_taken_for_the_old_one(tmp_path: Path):
    path, other = tmp_path / "model.gguf", tmp_path / "other"
    path.write_bytes(b"one")
    file_sha256(path)
    other.write_bytes(b"two")
    stat = path.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_a_note_that_is_not_ours_is_ignored(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")
    for text in ("", "[]", "{}", '{"sha256": 1}', "\x00"):
        (tmp_path / "model.gguf.sha256.json").write_text(text)
        assert remembered_sha256(path) is None


def test_a_folder_that_cannot_be_written_costs_the_note_only(tmp_path: Path, monkeypatch):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert remember_sha256(path, "abc") == "abc"
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()


def test_a_file_on_a_read_only_file_system_is_hashed_each_time(tmp_path: Path, monkeypatch):
    """There even removing a file that was never made fails with EROFS, not with ENOENT."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for change in ("write_text", "unlink"):
        monkeypatch.setattr(Path, change, refuse)
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()
    assert remembered_sha256(path) is None


def test_progress_counts_the_bytes_read(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x" * 3_000_000)
    seen: list[int] = []
    read_sha256(path, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 3_000_000
