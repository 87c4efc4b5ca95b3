"""adapters/peft_file.py: our folders are what peft computes with, and peft's folders are what we read."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from adapters.errors import AdapterCorrupt, AdapterUnsupported
from adapters.lora import LoraAdapter, LoraDelta
from adapters.peft_file import CONFIG, WEIGHTS, read_peft, write_peft

FIRST, SECOND = "first", "block.second"


class TwoLayers(torch.nn.Module):
    """All that peft needs to put an adapter on."""

    def __init__(self):
        super().__init__()
        self.config = {"model_type": "custom"}
        self.first = torch.nn.Linear(5, 6)
        self.block = torch.nn.ModuleDict({"second": torch.nn.Linear(6, 4)})

    def prepare_inputs_for_generation(self) -> None:
        """peft looks for it on whatever claims to be a causal language model."""


def make(ranks=(2, 2), scalings=(0.5, 0.5), dtype=np.float32) -> LoraAdapter:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> np.ndarray:
        return torch.randn(*shape, generator=generator).numpy().astype(dtype)

    first = LoraDelta(normal(ranks[0], 5), normal(6, ranks[0]), scalings[0])
    second = LoraDelta(normal(ranks[1], 6), normal(4, ranks[1]), scalings[1])
    return LoraAdapter("base", {FIRST: first, SECOND: second})


def updates_in_peft(folder: Path) -> dict[str, np.ndarray]:
    """What peft adds to each layer's weight when it merges the folder's adapter."""
    model = TwoLayers()
    before = {FIRST: model.first.weight.clone(), SECOND: model.block["second"].weight.clone()}
    merged = PeftModel.from_pretrained(model, folder).merge_and_unload()
    after = {FIRST: merged.first.weight, SECOND: merged.block["second"].weight}
    return {path: (after[path] - before[path]).detach().numpy() for path in before}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("ranks", "scalings"), [((2, 2), (0.5, 0.5)), ((1, 3), (0.7, 0.7)), ((2, 2), (0.3, 2.0)), ((1, 4), (0.3, 2.0))]
)
def test_peft_computes_the_update_we_mean(tmp_path: Path, ranks, scalings, dtype):
    adapter = make(ranks, scalings, dtype)
    write_peft(adapter, tmp_path, base_name="base")
    for path, update in updates_in_peft(tmp_path).items():
        assert np.allclose(update, adapter.deltas[path].weight(), rtol=1e-3, atol=1e-3)
        half_wrong = np.linalg.norm(update - 1.01 * adapter.deltas[path].weight())
        assert half_wrong > 5 * np.linalg.norm(update - adapter.deltas[path].weight())


@settings(max_examples=50, deadline=None)
@given(st.tuples(st.integers(1, 5), st.integers(1, 5)), st.tuples(st.floats(1e-3, 10), st.floats(1e-3, 10)))
@example((2, 4), (1.0, 5.536118006065755))
def test_a_folder_comes_back_as_the_same_updates(tmp_path_factory, ranks, scalings):
    folder = tmp_path_factory.mktemp("peft")
    adapter = make(ranks, scalings)
    write_peft(adapter, folder, base_name="base")
    again = read_peft(folder, "base")
    for path, delta in adapter.deltas.items():
        off = np.abs(again.deltas[path].weight() - delta.weight())
        summed = delta.scaling * np.abs(delta.b) @ np.abs(delta.a)  # a sum's rounding goes by its terms, not by itself
        assert (off <= 2e-6 * summed).all()


def test_the_same_adapter_comes_back_with_the_same_digest(tmp_path: Path):
    adapter = make((4, 4), (0.25, 0.25), np.float16)
    write_peft(adapter, tmp_path, base_name="base")
    assert read_peft(tmp_path, "base").digest == adapter.digest


def test_a_full_disk_is_an_os_error_with_the_files_name(tmp_path: Path):
    """safetensors raises an error of its own, which is none."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=f"{WEIGHTS}: .*File too large"):
            write_peft(make(), tmp_path, "base")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_the_config_says_what_vllm_reads(tmp_path: Path):
    """vLLM takes r and lora_alpha alone, the same for all layers, and wants a whole alpha."""
    write_peft(make((4, 4), (2.0, 2.0)), tmp_path, base_name="qwen")
    config = json.loads((tmp_path / CONFIG).read_text())
    assert (config["r"], config["lora_alpha"], config["rank_pattern"]) == (4, 8, {})
    assert isinstance(config["lora_alpha"], int)
    assert config["base_model_name_or_path"] == "qwen"
    assert config["task_type"] == "CAUSAL_LM"
    write_peft(make((4, 4), (2.0, 0.5)), tmp_path, base_name="qwen")
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["lora_alpha"] / config["r"] == 1, "different scalings are in B, not in the config"


@pytest.mark.parametrize(
    "options",
    [
        {"r": 4, "lora_alpha": 6},
        {"r": 4, "lora_alpha": 6, "use_rslora": True},
        {"r": 4, "lora_alpha": 6, "rank_pattern": {"second": 2}, "alpha_pattern": {"first": 1}},
        {"r": 4, "lora_alpha": 6, "rank_pattern": {"block.second": 2}, "alpha_pattern": {"second": 3}},
    ],
    ids=["plain", "rslora", "patterns", "patterns by path"],
)
def test_a_folder_that_peft_wrote_is_read_as_peft_means_it(tmp_path: Path, options):
    torch.manual_seed(0)
    config = LoraConfig(target_modules=["first", "second"], init_lora_weights=False, **options)
    get_peft_model(TwoLayers(), config).save_pretrained(tmp_path)
    adapter = read_peft(tmp_path, "base")
    for path, update in updates_in_peft(tmp_path).items():
        assert np.allclose(update, adapter.deltas[path].weight(), atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("use_dora", True),
        ("bias", "all"),
        ("fan_in_fan_out", True),
        ("modules_to_save", ["lm_head"]),
        ("layer_replication", [[0, 2]]),
        ("trainable_token_indices", [1]),
        ("init_lora_weights", "pissa"),
        ("lora_bias", True),
        ("peft_type", "IA3"),
    ],
)
def test_what_a_plain_lora_cannot_represent_is_refused_by_name(tmp_path: Path, setting, value):
    write_peft(make(), tmp_path, base_name="base")
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | {setting: value}))
    with pytest.raises(AdapterUnsupported, match=setting):
        read_peft(tmp_path, "base")


def test_foreign_tensors_are_refused_by_name(tmp_path: Path):
    write_peft(make(), tmp_path, base_name="base")
    tensors = load_file(tmp_path / WEIGHTS)
    save_file(tensors | {"base_model.model.first.lora_magnitude_vector": torch.ones(6)}, tmp_path / WEIGHTS)
    with pytest.raises(AdapterUnsupported, match="lora_magnitude_vector"):
        read_peft(tmp_path, "base")


def test_bfloat16_becomes_float32_exactly(tmp_path: Path):
    write_peft(make(), tmp_path, base_name="base")
    stored = {key: t.bfloat16() for key, t in load_file(tmp_path / WEIGHTS).items()}
    save_file(stored, tmp_path / WEIGHTS)
    delta = read_peft(tmp_path, "base").deltas[FIRST]
    assert delta.a.dtype == delta.b.dtype == np.float32
    for side, array in (("A", delta.a), ("B", delta.b)):
        wanted = stored[f"base_model.model.{FIRST}.lora_{side}.weight"].float().numpy()
        np.testing.assert_array_equal(array, wanted, strict=True)


def test_a_pair_of_two_types_becomes_float32(tmp_path: Path):
    write_peft(make(dtype=np.float16), tmp_path, base_name="base")
    stored = load_file(tmp_path / WEIGHTS)
    stored = {key: t.bfloat16() if "lora_B" in key else t for key, t in stored.items()}
    save_file(stored, tmp_path / WEIGHTS)
    delta = read_peft(tmp_path, "base").deltas[FIRST]
    assert delta.a.dtype == delta.b.dtype == np.float32
    wanted = stored[f"base_model.model.{FIRST}.lora_A.weight"].float().numpy()
    np.testing.assert_array_equal(delta.a, wanted, strict=True)


def test_tensors_of_a_type_without_weights_are_refused_by_name(tmp_path: Path):
    write_peft(make(), tmp_path, base_name="base")
    stored = {key: t.to(torch.float8_e4m3fn) for key, t in load_file(tmp_path / WEIGHTS).items()}
    save_file(stored, tmp_path / WEIGHTS)
    with pytest.raises(AdapterUnsupported, match="F8_E4M3, want one of F16, F32, F64, BF16"):
        read_peft(tmp_path, "base")


def _cut(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-10])


def _lose_half_a_pair(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors.pop(next(key for key in tensors if "lora_B" in key))
    save_file(tensors, folder / WEIGHTS)


def _change_rank(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"r": 3}))


def _lose_rank(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    del config["r"]
    (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / CONFIG).unlink(), "No such file"),
        (lambda folder: (folder / WEIGHTS).unlink(), "No such file"),
        (lambda folder: (folder / CONFIG).write_text("{"), "Expecting property name"),
        (_cut, "PEFT folder"),
        (_lose_half_a_pair, "only lora_A"),
        (_change_rank, "the config says rank 3"),
        (_lose_rank, "'r'"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_reason(tmp_path: Path, damage, reason):
    write_peft(make(), tmp_path, base_name="base")
    damage(tmp_path)
    with pytest.raises(AdapterCorrupt, match=reason):
        read_peft(tmp_path, "base")
