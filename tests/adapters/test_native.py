"""adapters/native.py: C sources become shared libraries once, and a machine that cannot make them says why."""

import ctypes

import pytest

from adapters import native
from adapters.native import NativeUnavailable, built


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "seven.c"
    path.write_text("int seven(void) { return 7; }\n")
    return path


def test_a_source_is_compiled_once_and_again_when_it_or_the_processor_changes(source, monkeypatch):
    first = built(source)
    assert ctypes.CDLL(str(first)).seven() == 7
    stamp = first.stat().st_mtime_ns
    assert built(source) == first and first.stat().st_mtime_ns == stamp
    source.write_text("int seven(void) { return 8; }\n")
    changed = built(source)
    assert changed != first and ctypes.CDLL(str(changed)).seven() == 8
    monkeypatch.setattr(native, "_processor", lambda: "another")
    assert built(source) not in (first, changed)


def test_an_error_of_the_compiler_is_passed_on_and_leaves_nothing(source, tmp_path):
    source.write_text("int seven(void) { return }\n")
    with pytest.raises(NativeUnavailable, match=r"failed: [^\0]*error"):
        built(source)
    assert not list((tmp_path / "cache" / "et2l").iterdir())


def test_a_missing_compiler_and_a_folder_that_cannot_be_written_are_told(source, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(NativeUnavailable, match="cannot be compiled"):
        built(source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(NativeUnavailable, match="no-such-compiler"):
        built(source)
