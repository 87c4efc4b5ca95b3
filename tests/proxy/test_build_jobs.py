"""Builds made for the server by a child process, on a tiny model."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from adapters.card import Card
from adapters.errors import AdapterError, BuildRefused, DiskFull
from adapters.store import Store
from proxy.build_jobs import BuildJobs, error_of
from proxy.config import BuildsConfig
from tests.adapters.tiny_models import random_adapter, write_tiny


@pytest.fixture(autouse=True)
def one_core():
    """llama.cpp's threads wait for each other by spinning, which on a busy machine takes minutes."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


def stored(folder, ratio: float):
    base = write_tiny(folder / "base.gguf", "qwen2", "q5_0")
    card = Card("generated", "tiny", base.model.digest, created=1.0)
    return Store(folder / "store").put(random_adapter(base, ratio), card, base.model)


def test_a_build_is_made_once_and_then_found(tmp_path):
    adapter = stored(tmp_path, 0.1)
    jobs = BuildJobs(BuildsConfig(path=tmp_path / "builds"), tmp_path / "base.gguf", niceness=0)
    build = jobs.build(adapter.digest, adapter.folder)
    assert build.path == tmp_path / "builds" / f"{adapter.digest}-q8_0.gguf"
    assert build.record["kl"] < 0.02
    written = build.path.stat().st_mtime_ns
    assert jobs.build(adapter.digest, adapter.folder).path.stat().st_mtime_ns == written


def test_the_child_finds_a_configuration_that_is_named_relative_to_the_servers_folder(tmp_path, monkeypatch):
    adapter = stored(tmp_path, 0.005)
    (tmp_path / "mine.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ET2L_CONFIG", "mine.toml")
    jobs = BuildJobs(BuildsConfig(path=tmp_path / "builds", store="same"), tmp_path / "base.gguf", niceness=0)
    with pytest.raises(BuildRefused):  # no merge that fails to start
        jobs.build(adapter.digest, adapter.folder)


def test_a_refusal_comes_back_as_what_it_was(tmp_path):
    adapter = stored(tmp_path, 0.005)
    jobs = BuildJobs(BuildsConfig(path=tmp_path / "builds", store="same"), tmp_path / "base.gguf", niceness=0)
    with pytest.raises(BuildRefused, match="keep less than 90%"):
        jobs.build(adapter.digest, adapter.folder)


def test_closing_ends_a_merge_under_way(tmp_path):
    adapter = stored(tmp_path, 0.1)
    jobs = BuildJobs(BuildsConfig(path=tmp_path / "builds"), tmp_path / "base.gguf", niceness=0)
    failed: list[Exception] = []

    def build() -> None:
        try:
            jobs.build(adapter.digest, adapter.folder)
        except AdapterError as exc:
            failed.append(exc)

    worker = threading.Thread(target=build)
    worker.start()
    while jobs._child is None:
        time.sleep(0.01)
    jobs.close()
    worker.join(30)
    assert not worker.is_alive()
    assert "did not come to an end" in str(failed[0])


@pytest.mark.parametrize("said", ["", "no json", '{"error": {"type": "Nonsense", "message": "x"}}'])
def test_a_child_that_says_nothing_usable_is_an_error_with_its_last_words(said):
    assert "last words" in str(error_of(said, "last words"))


def test_an_error_of_ours_keeps_its_class_and_message():
    error = error_of(json.dumps({"error": {"type": "DiskFull", "message": "no room"}}), "")
    assert isinstance(error, DiskFull)
    assert str(error) == "no room"
