"""`et2l export`: folders that other programs load, and that do what the adapter did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adapters.base_files import BaseFiles
from adapters.card import Card
from adapters.gguf_file import read_gguf
from adapters.gguf_io import read_header
from adapters.lora import LoraAdapter
from adapters.peft_file import read_peft, write_peft
from adapters.store import Store
from proxy import probe as probing
from proxy.adapter_source import NamedAdapter
from proxy.cli import main
from proxy.model_files import QWEN
from proxy.take_away import RANKS, describe, of_rank, serving_rank
from tests.adapters.tiny_models import FEED_FORWARD, HEADS, HIDDEN, KV_HEADS, LAYERS, VOCAB, random_adapter, write_tiny

CARD = Card(
    "generated",
    "tiny",
    "",
    created=1.0,
    hint="Count the words\nin each line",
    enhanced="Count, precisely, the words in each line.",
    weights={"code_generation": 0.7, "mathematical_reasoning": 0.3},
    parents=("f" * 16,),
    versions={"hypernetwork": "abc"},
)


@pytest.fixture
def base(tmp_path, monkeypatch) -> BaseFiles:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probing, "TEXT", probing.TEXT[:60])
    Path("config.toml").write_text('[model]\nname = "tiny"\npath = "base.gguf"\n[cache]\nstore_path = "store"\n')
    return write_tiny(tmp_path / "base.gguf", "qwen2", "f32")


@pytest.fixture
def stored(base) -> LoraAdapter:
    """A rank-24 adapter in the store."""
    adapter = random_adapter(base, 0.2, rank=24)
    Store(Path("store")).put(adapter, replace(CARD, base_digest=base.model.digest), base.model)
    return adapter


def weights(adapter: LoraAdapter) -> dict[str, np.ndarray]:
    return {path: delta.weight() for path, delta in adapter.deltas.items()}


def test_a_peft_folder_has_a_rank_vllm_takes_and_the_same_change(base, stored, capsys):
    assert main(["export", stored.digest, "-o", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rank"] == 32
    config = json.loads(Path("out/adapter_config.json").read_text())
    assert config["r"] == 32
    assert config["rank_pattern"] == config["alpha_pattern"] == {}
    again = weights(read_peft(Path("out"), base.model.digest))
    for path, change in weights(stored).items():
        np.testing.assert_allclose(again[path], change, atol=1e-6)


def test_a_peft_folder_loads_in_peft_and_changes_the_answer_as_the_adapter_does(base, stored):
    import peft
    import transformers

    assert main(["export", stored.digest, "-o", "out"]) == 0
    config = transformers.Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=HIDDEN,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
    )
    torch.manual_seed(0)
    model = transformers.Qwen2ForCausalLM(config).eval()
    tokens = torch.tensor([[3, 7, 20, 33]])
    changed = transformers.Qwen2ForCausalLM(config).eval()
    changed.load_state_dict(model.state_dict())
    with torch.no_grad():
        for path, delta in stored.deltas.items():
            changed.get_submodule(path).weight += torch.from_numpy(delta.weight())
        expected = changed(tokens).logits
        found = peft.PeftModel.from_pretrained(model, "out")(tokens).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_lower_rank_is_recompressed_and_the_loss_told(base, stored, capsys):
    assert main(["export", stored.digest, "--rank", "16", "-o", "out", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rank"] == 16
    assert 0.5 < told["retained_energy"] < 1
    again, energy = weights(read_peft(Path("out"), base.model.digest)), 0.0
    for path, change in weights(stored).items():
        energy += 1 - np.sum((again[path] - change) ** 2) / np.sum(change**2)
    assert energy / len(again) == pytest.approx(told["retained_energy"], abs=0.02)
    assert f"{told['retained_energy']:.1%} of the change kept" in Path("out/README.md").read_text()


def test_a_gguf_lora_reads_back_as_the_adapter(base, stored):
    assert main(["export", stored.digest[:8], "--format", "gguf", "-o", "out"]) == 0
    again = read_gguf(Path("out/adapter.gguf"), base.model)
    assert again.rank == 24
    for path, change in weights(stored).items():
        np.testing.assert_allclose(weights(again)[path], change, atol=1e-6)
    assert "ADAPTER ./adapter.gguf" in Path("out/Modelfile").read_text()


def test_a_merged_folder_holds_a_whole_model_and_its_proof(base, stored):
    assert main(["export", stored.digest, "--format", "merged", "-o", "out"]) == 0
    header = read_header(Path("out/model.gguf"))
    assert list(header.tensors) == list(base.model.tensors)
    assert header.metadata["et2l.adapter.digest"] == stored.digest
    readme = Path("out/README.md").read_text()
    assert "KL 0.0" in readme
    assert "blk.0.attn_q.weight" in readme
    record = json.loads(Path("out/model.json").read_text())
    assert record["path"] == "model.gguf"


@pytest.mark.parametrize("form", ["peft", "gguf", "merged"])
def test_the_readme_says_what_it_is_and_what_it_was_made_of(base, stored, form):
    assert main(["export", stored.digest, "--format", form, "-o", "out"]) == 0
    readme = Path("out/README.md").read_text()
    for fact in (
        "> Count the words",
        "> in each line",
        "Count, precisely",
        "code_generation 0.70, mathematical_reasoning 0.30",
        "f" * 16,
        stored.digest,
        base.model.digest,
        "licence of the base model | not stated",
    ):
        assert fact in readme
    assert readme.startswith("---\nbase_model: tiny\n")
    assert json.loads(Path("out/card.json").read_text())["hint"] == CARD.hint


def test_the_licence_of_a_known_base_is_named(base, stored):
    known = replace(base, model=replace(base.model, digest=QWEN.sha256))
    named = NamedAdapter("x", stored, stored.digest)
    readme = describe(named, stored, known, 1.0, "", "peft")
    assert "license: apache-2.0" in readme
    assert f"base_model: {QWEN.hub_repo}" in readme


def test_an_adapter_outside_the_store_is_exported_too(base):
    Path("given").mkdir()
    write_peft(random_adapter(base, 0.1, rank=4), Path("given"), "tiny")
    assert main(["export", "given", "-o", "out"]) == 0
    assert json.loads(Path("out/adapter_config.json").read_text())["r"] == 8
    assert not Path("out/card.json").exists()


def test_a_folder_that_exists_is_left_alone(base, stored, capsys):
    Path("out").mkdir()
    Path("out/mine").write_text("x")
    assert main(["export", stored.digest, "-o", "out"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in Path("out").iterdir()] == ["mine"]


def test_a_refused_merge_leaves_no_folder(base, capsys, tmp_path, monkeypatch):
    quantised = write_tiny(tmp_path / "q.gguf", "qwen2", "q5_0")
    Path("given").mkdir()
    write_peft(random_adapter(quantised, 0.005), Path("given"), "tiny")
    monkeypatch.setenv("ET2L__BUILDS__STORE", "same")
    assert main(["export", "given", "--base", "q.gguf", "--format", "merged", "-o", "out"]) == 1
    assert "keep less than 90%" in capsys.readouterr().err
    assert list(Path().glob("out*")) == []


def test_a_rank_below_one_is_refused(base, stored, capsys):
    assert main(["export", stored.digest, "--rank", "0", "-o", "out"]) == 1
    assert "--rank is 0" in capsys.readouterr().err


def test_ranks_beyond_the_largest_are_recompressed_to_it():
    assert [serving_rank(rank) for rank in (1, 8, 9, 48, 200, 300, 900)] == [8, 8, 16, 64, 256, 320, 512]
    assert max(RANKS) == 512


def test_padding_keeps_everything(base):
    adapter = random_adapter(base, 0.1, rank=4)
    padded, energy = of_rank(adapter, 8)
    assert (padded.rank, energy) == (8, 1.0)
