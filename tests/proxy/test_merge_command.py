"""`et2l merge` from its arguments to the files it leaves, on tiny models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adapters.base_files import BaseFiles
from adapters.card import Card
from adapters.compose import concat
from adapters.gguf_file import write_gguf
from adapters.gguf_io import read_header
from adapters.lora import LoraAdapter, LoraDelta
from adapters.peft_file import read_peft, write_peft
from adapters.store import Store
from proxy import probe as probing
from proxy.cli import main
from tests.adapters.tiny_models import random_adapter, write_tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def base(tmp_path, monkeypatch) -> BaseFiles:
    """A tiny model in a folder of its own, with a configuration that points at it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probing, "TEXT", probing.TEXT[:60])
    Path("config.toml").write_text('[model]\nname = "tiny"\npath = "base.gguf"\n[cache]\nstore_path = "store"\n')
    return write_tiny(tmp_path / "base.gguf", "qwen2", "q5_0")


def peft(base: BaseFiles, name: str, ratio: float = 0.1, seed: int = 1) -> str:
    folder = Path(name)
    folder.mkdir()
    write_peft(random_adapter(base, ratio, seed=seed), folder, "tiny")
    return name


def test_a_peft_folder_merges_and_the_numbers_are_printed_as_json(base, capsys):
    assert main(["merge", peft(base, "a"), "-o", "out.gguf", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["path"]) == Path("out.gguf").absolute()
    assert told["bytes"] == Path("out.gguf").stat().st_size
    assert told["seconds"] > 0
    assert told["gain"]["mean"] >= told["gain"]["min"] >= 0.9
    assert told["cosine"]["min"] > 0.9
    assert 0 <= told["kl"] < 0.01
    assert told["top1"] > 0.9
    record = json.loads(Path("out.json").read_text())
    assert record["kl"] == told["kl"]
    assert len(record["tensors"]) == 14
    assert Path("out.svg").read_text().startswith("<svg")
    assert read_header(Path("out.gguf")).metadata["et2l.probe.kl"] == pytest.approx(told["kl"])


NO_TORCH = """
import sys
from proxy import probe
from proxy.cli import main
probe.TEXT = probe.TEXT[:60]
print(main(["merge", "a", "-o", "out.gguf"]), "torch" in sys.modules)
"""


def test_the_whole_command_does_without_torch(base):
    """Its import takes longer than a merge."""
    peft(base, "a")
    command, env = [sys.executable, "-c", NO_TORCH], {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert told.stdout.splitlines()[-1] == "0 False", told.stdout + told.stderr


STOPPED = """
import os, signal
from adapters import builds
from proxy import probe
from proxy.cli import main

def stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)

{stopped} = stop
print(main(["merge", "a", "-o", "out.gguf"]))
"""


@pytest.mark.parametrize("stopped", ["probe.verify", "builds.plot"])
def test_a_merge_that_is_told_to_end_leaves_nothing(base, stopped):
    """A server that stops ends its merge so: that once left half a gigabyte, and a temporary folder."""
    peft(base, "a")
    before = set(Path().iterdir())
    Path("temporary").mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": "temporary"}
    command = [sys.executable, "-c", STOPPED.format(stopped=stopped)]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert told.stdout.splitlines()[-1] == "130", told.stdout + told.stderr
    assert list(Path("temporary").iterdir()) == []
    assert set(Path().iterdir()) == before | {Path("temporary")}


def test_without_an_output_the_build_goes_to_the_builds_folder(base, capsys):
    adapter = random_adapter(base, 0.1)
    write_gguf(adapter, Path("a.gguf"), base.model)
    assert main(["merge", "a.gguf", "--store", "f16", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["path"]).name == f"{told['adapter']}-f16.gguf"
    assert Path(told["path"]).parent == Path("models/builds").absolute()


def test_a_stored_adapter_merges_by_a_beginning_of_its_digest(base, capsys):
    adapter = random_adapter(base, 0.1)
    card = Card("generated", "tiny", base.model.digest, created=1.0, hint="count")
    Store(Path("store")).put(adapter, card, base.model)
    assert main(["merge", adapter.digest[:6], "-o", "out.gguf", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["adapter"] == adapter.digest


def test_several_adapters_merge_with_their_weights(base, capsys):
    names = [peft(base, "a", seed=1), peft(base, "b", seed=2)]
    assert main(["merge", *names, "--weights", "a=0.6,b=0.4", "-o", "out.gguf", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    parts = [read_peft(Path(name), base.model.digest) for name in names]
    assert told["adapter"] == concat(parts, [0.6, 0.4]).digest
    assert told["parents"] == {parts[0].digest: 0.6, parts[1].digest: 0.4}


def test_weights_of_files_go_by_the_paths_given(base, capsys):
    """Files are called alike where each lies in a folder of its own."""
    for seed, folder in enumerate(("one", "two")):
        Path(folder).mkdir()
        write_gguf(random_adapter(base, 0.1, seed=seed), Path(folder) / "adapter.gguf", base.model)
    names = ["one/adapter.gguf", "two/adapter.gguf"]
    weights = f"{names[0]}=0.7,{names[1]}=0.3"
    assert main(["merge", *names, "--weights", weights, "-o", "out.gguf", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["parents"].values()) == [0.7, 0.3]


def test_several_adapters_without_weights_have_equal_shares(base, capsys):
    assert main(["merge", peft(base, "a"), peft(base, "b", seed=2), "-o", "out.gguf", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["parents"].values()) == {0.5}


def test_weights_of_stored_adapters_go_by_a_beginning_of_their_digests(base, capsys):
    store, card = Store(Path("store")), Card("generated", "tiny", base.model.digest, created=1.0)
    one, two = (store.put(random_adapter(base, 0.1, seed=seed), card, base.model).digest[:7] for seed in (1, 2))
    assert main(["merge", one, two, "--weights", f"{one}=0.7,{two}=0.3", "-o", "out.gguf", "--json"]) == 0
    parents = json.loads(capsys.readouterr().out)["parents"]
    assert {digest[:7]: share for digest, share in parents.items()} == {one: 0.7, two: 0.3}


@pytest.mark.parametrize("weights", ["a=1", "a=0.5,c=0.5", "a=x", "a=0.2,b=0.3,c=0.5"])
def test_weights_that_do_not_fit_the_adapters_are_refused(base, capsys, weights):
    assert main(["merge", peft(base, "a"), peft(base, "b"), "--weights", weights, "-o", "out.gguf"]) == 1
    assert "--weights" in capsys.readouterr().err
    assert not Path("out.gguf").exists()


def test_a_lost_adapter_is_refused_with_the_table_and_the_reason(base, capsys):
    assert main(["merge", peft(base, "a", ratio=0.005), "--store", "same", "-o", "out.gguf"]) == 1
    told = capsys.readouterr().err
    assert "refused: 14 of 14 changed tensors keep less than 90%" in told
    assert "blk.0.attn_q.weight" in told
    assert list(Path().glob("out*")) == []


def test_the_table_is_printed_for_people(base, capsys):
    assert main(["merge", peft(base, "a"), "-o", "out.gguf"]) == 0
    told = capsys.readouterr().out
    assert "blk.1.ffn_down.weight" in told
    assert "KL 0.0" in told


def test_an_adapter_that_is_nowhere_is_named(base, capsys):
    assert main(["merge", "abcdef"]) == 1
    assert "abcdef is no PEFT folder and no file" in capsys.readouterr().err


def test_another_base_than_the_configured_one_can_be_given(base, tmp_path, capsys):
    other = write_tiny(tmp_path / "other.gguf", "llama", "q4_k", seed=3)
    assert main(["merge", peft(other, "a"), "--base", "other.gguf", "-o", "out.gguf", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["base"] == other.model.digest


@pytest.mark.model
def test_the_default_model_takes_a_change_of_a_few_percent_and_still_answers_as_attached(
    default_model_path, tmp_path, monkeypatch, capsys
):
    """Q5_0 tensors in a Q4_K_M file: their own grid would keep less than a quarter of a 2 % change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probing, "TEXT", probing.TEXT[:600])
    base = BaseFiles.read(default_model_path)
    random = np.random.default_rng(0)
    deltas = {}
    for path, info in base.model.linear_layers().items():
        if path.endswith(("q_proj", "v_proj")):
            rows, columns = info.shape
            a, b = (random.standard_normal(shape, dtype=np.float32) for shape in ((8, columns), (rows, 8)))
            deltas[path] = LoraDelta(a, b, 0.0006 / 8**0.5)
    write_gguf(LoraAdapter(base.model.digest, deltas), Path("a.gguf"), base.model)
    assert main(["merge", "a.gguf", "--base", str(default_model_path), "-o", "out.gguf", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["gain"]["min"] >= 0.9
    assert told["kl"] < 0.01
    assert told["top1"] > 0.95
    changed = {tensor["name"]: tensor for tensor in json.loads(Path("out.json").read_text())["tensors"]}
    assert len(changed) == 48
    assert {tensor["type_after"] for tensor in changed.values()} <= {"q8_0", "f16"}
    before, after = read_header(default_model_path).tensors, read_header(Path("out.gguf")).tensors
    assert all(after[name].type == info.type for name, info in before.items() if name not in changed)
