"""The doctor finds each fault it names, in a child process where the fault would end its own."""

import argparse
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy import doctor
from proxy.commands import doctor as doctor_command
from proxy.config import Config, load_config
from proxy.doctor import Probe, judge_probe, run_probe


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The defaults, with every path in an empty folder."""
    file = tmp_path / "config.toml"
    file.write_text('[model]\nname = "qwen2.5-coder-0.5b-instruct"\n')
    return load_config(file, {})


def with_model(config: Config, path: Path) -> Config:
    return replace(config, model=replace(config.model, path=path))


def child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.model
def test_the_default_model_decodes_here(config, default_model_path):
    found = doctor.check_llama(with_model(config, default_model_path))
    assert found.level == "ok", found
    assert "tokens/s" in found.detail


@pytest.mark.model
def test_the_default_model_is_verified_in_full(config, default_model_path):
    assert doctor.check_model(with_model(config, default_model_path)).level == "ok"


@pytest.mark.parametrize("name", ["SIGILL", "SIGSEGV"])
def test_a_library_that_kills_the_process_is_reported_not_died_of(name):
    said = json.dumps({"system": "AMX_INT8 = 1"})
    code = f"import os, signal; print({said!r}, flush=True); os.kill(os.getpid(), signal.{name})"
    found = judge_probe("0.3.36", run_probe(child(code)), 0)
    assert found.level == "fail"
    assert name in found.detail
    assert "built with AMX" in found.detail
    assert "make setup" in found.remedy


def test_a_library_that_cannot_load_the_model_is_a_failure_with_its_last_words(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    probe = run_probe([sys.executable, "-m", "proxy.decode_probe", str(broken), "0"])
    found = judge_probe("0.3.36", probe, 0)
    assert found.level == "fail"
    assert "broken.gguf" in found.detail
    assert "system" in probe.facts  # said before the attempt


def test_a_probe_that_hangs_is_given_up():
    found = judge_probe("0.3.36", run_probe(child("import time; time.sleep(60)"), timeout_s=0.5), 0)
    assert found.level == "fail"
    assert "no end within" in found.detail


def test_numbers_that_are_not_finite_are_a_failure():
    probe = Probe(0, {"system": "", "gpu": False, "finite": False, "tokens_per_s": 9.0}, "")
    assert judge_probe("0.3.36", probe, 0).level == "fail"


def test_gpu_layers_without_a_gpu_build_is_a_warning():
    probe = Probe(0, {"system": "", "gpu": False, "finite": True, "tokens_per_s": 9.0}, "")
    assert judge_probe("0.3.36", probe, 0).level == "ok"
    found = judge_probe("0.3.36", probe, -1)
    assert found.level == "warn"
    assert "GGML_CUDA" in found.remedy


def test_a_missing_model_says_how_to_get_it(config):
    assert "et2l model fetch" in doctor.check_model(config).remedy
    assert doctor.check_llama(config).level == "warn"


def test_a_wrong_model_file_is_found(config):
    config.model.path.parent.mkdir()
    config.model.path.write_bytes(b"another model")
    found = doctor.check_model(config)
    assert found.level == "fail"
    assert "13 bytes" in found.detail


def test_a_model_of_the_users_own_is_not_judged_by_our_hash(config):
    config.model.path.parent.mkdir()
    config.model.path.write_bytes(b"another model")
    own = replace(config, model=replace(config.model, name="mine"))
    assert doctor.check_model(own).level == "ok"


def test_a_port_in_use_is_found(config):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        taken = replace(config, server=replace(config.server, port=port))
        assert doctor.check_port(taken).level == "warn"
    assert doctor.check_port(taken).level == "ok"


def test_an_embedder_that_is_not_there_is_a_failure(config, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lost = replace(config, embedder=replace(config.embedder, path=tmp_path / "nowhere"))
    assert doctor.check_embedder(lost).level == "fail"


def test_the_packaged_embedder_loads(config):
    found = doctor.check_embedder(config)
    assert found.level == "ok"
    assert "384" in found.detail


def test_no_checkpoint_is_a_warning_and_a_broken_one_a_failure(config, tmp_path):
    unknown = replace(config, model=replace(config.model, name="mine"))
    assert doctor.check_hypernetwork(unknown).level == "warn"
    empty = replace(config, hypernetwork=replace(config.hypernetwork, path=tmp_path))
    assert doctor.check_hypernetwork(empty).level == "fail"


def test_a_checkpoint_for_another_model_file_is_a_failure(config, monkeypatch, tmp_path):
    config.model.path.parent.mkdir()
    config.model.path.write_bytes(b"another model")
    monkeypatch.setattr(doctor, "open_hypernetwork", lambda *_: SimpleNamespace(base_digest="0" * 64))
    here = replace(config, hypernetwork=replace(config.hypernetwork, path=tmp_path))
    found = doctor.check_hypernetwork(here)
    assert found.level == "fail"
    assert "another model file" in found.detail


def test_a_cache_that_is_not_a_database_is_a_failure(config):
    assert doctor.check_cache(config).level == "ok"
    config.cache.path.write_bytes(b"this is no database" * 100)
    assert doctor.check_cache(config).level == "fail"


def test_an_adapter_folder_without_a_row_is_a_warning(config):
    from adapters.cache import AdapterCache
    from adapters.store import Store

    store = Store(config.cache.store_path)
    AdapterCache(config.cache.path, config.cache.index_path, store, 384, 1).close()
    (config.cache.store_path / "0123456789abcdef").mkdir(parents=True)
    found = doctor.check_cache(config)
    assert found.level == "warn"
    assert "1 orphans" in found.detail


def test_a_folder_we_may_not_write_is_found(config, monkeypatch):
    assert doctor.check_disk(config).level in ("ok", "warn")
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert doctor.check_disk(config).level == "fail"


def test_a_check_that_raises_is_a_finding_and_the_round_goes_on(config, monkeypatch):
    def broken(_config: Config) -> doctor.Finding:
        raise OSError("the disk is gone")

    for name in [name for name in vars(doctor) if name.startswith("check_")]:
        monkeypatch.setattr(doctor, name, broken)
    found = list(doctor.examine(config))
    assert len(found) > 8
    assert {one.level for one in found} == {"fail"}
    assert "the disk is gone" in found[0].detail


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    doctor_command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["doctor", *words])
    return args.run(args)


def test_an_invalid_configuration_is_a_failure_that_names_the_key(tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text("[server]\nport = 70000\n")
    assert run("--config", str(file), "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert "server.port" in answer["checks"][0]["detail"]


def test_the_command_ends_with_1_only_if_a_check_fails(tmp_path, monkeypatch, capsys):
    file = tmp_path / "config.toml"
    file.write_text("")
    for level, status in (("ok", 0), ("warn", 0), ("fail", 1)):
        found = doctor.Finding("part", level, "detail", "remedy")
        monkeypatch.setattr(doctor_command, "examine", lambda config, found=found: iter([found]))
        assert run("--config", str(file)) == status
        assert "-> remedy" in capsys.readouterr().out
