import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_the_list_names_every_command_module_and_no_other():
    modules = {file.stem for file in (ROOT / "proxy" / "commands").glob("*.py")} - {"__init__"}
    assert set(COMMANDS) == modules


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_says_what_it_does(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"et2l {command}" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown and about[:20] in shown for name, about in COMMANDS.items())


def test_help_imports_nothing_heavy():
    code = "import sys, proxy.cli\ntry: proxy.cli.main(['--help'])\nexcept SystemExit: print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert "'argparse'" in shown
    for heavy in ("torch", "llama_cpp", "starlette", "litellm", "numpy", "proxy.config"):
        assert f"'{heavy}'" not in shown


def test_an_unknown_command_is_an_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["fly"])
    assert stopped.value.code == 2 and "invalid choice: 'fly'" in capsys.readouterr().err


def test_a_bad_configuration_stops_a_command_with_its_key(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("[server]\nprt = 1\n")
    for command in (["serve"], ["chat"], ["adapt", "x"], ["adapters", "list"], ["cache", "stats"]):
        assert main([*command, "--config", str(tmp_path / "c.toml")]) == 1
        assert "server.prt: no such key" in capsys.readouterr().err


def test_a_missing_model_is_told_with_the_command_that_fetches_it(tmp_path, capsys):
    (tmp_path / "c.toml").write_text('[model]\npath = "none.gguf"\n')
    for command in (["serve", "--port", "0"], ["chat"], ["adapt", "x"]):
        assert main([*command, "--config", str(tmp_path / "c.toml")]) == 1
        assert "run `et2l model fetch`" in capsys.readouterr().err


def test_a_port_in_use_is_told_before_anything_is_loaded(tmp_path, capsys):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "c.toml").write_text("")
        assert main(["serve", "--port", str(port), "--config", str(tmp_path / "c.toml")]) == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another" in capsys.readouterr().err


def test_serving_the_world_needs_a_key(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("")
    assert main(["serve", "--host", "0.0.0.0", "--config", str(tmp_path / "c.toml")]) == 1
    assert "server.api_keys: want at least one key" in capsys.readouterr().err


def test_cache_and_adapters_answer_on_an_empty_cache(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("")
    config = ["--config", str(tmp_path / "c.toml"), "--json"]
    assert main(["cache", "stats", *config]) == 0
    assert json.loads(capsys.readouterr().out)["adapters"] == 0
    assert main(["cache", "check", *config]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert main(["cache", "rebuild", *config]) == 0
    assert main(["cache", "clear", *config]) == 1
    assert "say so with --yes" in capsys.readouterr().err
    assert main(["cache", "clear", "--yes", *config]) == 0
    capsys.readouterr()
    assert main(["adapters", "list", *config]) == 0
    assert json.loads(capsys.readouterr().out) == {"adapters": []}
    assert main(["adapters", "show", "abc", *config]) == 1
    assert "no adapters begin with 'abc'" in capsys.readouterr().err


def test_a_store_that_cannot_be_locked_is_an_error_with_its_name(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("")
    lock = tmp_path / "adapters" / "store" / ".lock"
    lock.mkdir(parents=True)
    assert main(["cache", "check", "--config", str(tmp_path / "c.toml")]) == 1
    assert f"et2l cache: [Errno 21] Is a directory: '{lock}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "part", "left"),
    [("listening", "_open_checkpoint", "stopped; the checkpoint is as it was"), ("oracle", "open_base", "and saved;")],
)
def test_a_stopped_training_says_what_it_leaves(tmp_path, monkeypatch, capsys, kind, part, left):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    (tmp_path / "rows.jsonl").write_text('{"task": "t", "split": "train", "prompt": "p", "answer": "a"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"proxy.commands.train.{part}", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    more = ["--checkpoint", "."] if kind == "listening" else ["--tasks", "t", "--export", "out"]
    try:
        assert main(["train", kind, "--data", ".", *more]) == 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert left in capsys.readouterr().err
