"""adapters/gguf_file.py and gguf_io.py: headers, names, row order, and adapters written and read back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from adapters.errors import AdapterCorrupt, AdapterMismatch, BaseModelCorrupt
from adapters.gguf_file import ROPE_PERMUTED, BaseModel, file_sha256, read_gguf, write_gguf
from adapters.gguf_io import read_header, write_file
from adapters.lora import LoraAdapter, LoraDelta
from tests.adapters.tiny import HEADS, HIDDEN, KV_HEADS, LAYERS, make_adapter, write_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return write_base(tmp_path_factory.mktemp("base") / "tiny.gguf", "llama")


def test_the_header_agrees_with_the_gguf_packages_reader(base: BaseModel):
    reader = gguf.GGUFReader(base.path)
    expected = {
        t.name: (tuple(int(n) for n in reversed(t.shape)), t.tensor_type.name, t.data_offset, t.n_bytes)
        for t in reader.tensors
    }
    assert {t.name: (t.shape, t.type, t.offset, t.size_bytes) for t in base.tensors.values()} == expected
    assert base.header.metadata["general.architecture"] == "llama"
    assert base.header.metadata["llama.attention.head_count"] == HEADS
    assert "tokenizer.ggml.tokens" not in base.header.metadata


@pytest.mark.model
def test_the_default_models_header_is_read_whole(default_model_path: Path):
    base = BaseModel.read(default_model_path)
    assert base.architecture == "qwen2"
    assert len(base.tensors) == 291
    assert len(base.linear_layers()) == 24 * 7
    assert base.tensor("model.layers.3.self_attn.k_proj").shape == (128, 896)
    assert base.tensors["blk.0.ffn_down.weight"].type == "Q6_K"


def test_the_digest_is_the_files_sha256_and_is_remembered_until_the_file_changes(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"first")
    assert file_sha256(path) == hashlib.sha256(b"first").hexdigest()
    note = tmp_path / "model.gguf.sha256.json"
    known = json.loads(note.read_text())
    note.write_text(json.dumps(known | {"sha256": "remembered"}))
    assert file_sha256(path) == "remembered"
    path.write_bytes(b"other")
    assert file_sha256(path) == hashlib.sha256(b"other").hexdigest()
    note.write_text("[1")
    assert file_sha256(path) == hashlib.sha256(b"other").hexdigest()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.gguf", "model.gguf.sha256.json"]


@pytest.mark.parametrize("architecture", [a for a in ROPE_PERMUTED if a != "mistral3"])
def test_names_agree_with_the_gguf_packages_name_map(architecture: str, tmp_path: Path):
    base = write_base(tmp_path / "tiny.gguf", architecture)
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, LAYERS)
    layers = base.linear_layers()
    assert len(layers) == 7 * LAYERS
    for path, info in layers.items():
        assert names.get_name(path) + ".weight" == info.name
        assert base.tensor(path) == info


@pytest.mark.parametrize("name", ["lm_head", "model.embed_tokens", "model.layers.2.mlp.up_proj", "x"])
def test_a_module_that_is_no_linear_layer_of_the_file_is_refused_by_name(base: BaseModel, name: str):
    with pytest.raises(AdapterMismatch, match=f"no linear layer {name}"):
        base.tensor(name)


def test_rows_of_q_and_k_are_interleaved_for_llama_and_come_back(base: BaseModel):
    """llama.cpp rotates rows 2i and 2i + 1 of a head together, transformers i and i + d/2."""
    rows = np.arange(HIDDEN).reshape(HIDDEN, 1)
    moved = base.rows_to_gguf("model.layers.0.self_attn.q_proj", rows)
    assert moved.flatten().tolist()[:4] == [0, 2, 1, 3]  # heads of 4 rows
    assert np.array_equal(base.rows_from_gguf("model.layers.0.self_attn.q_proj", moved), rows)
    keys = rows[: HIDDEN // HEADS * KV_HEADS]
    moved = base.rows_to_gguf("model.layers.0.self_attn.k_proj", keys)
    assert moved.flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert np.array_equal(base.rows_to_gguf("model.layers.0.self_attn.v_proj", keys), keys)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_an_adapter_comes_back_from_its_file(architecture: str, dtype: type, tmp_path: Path):
    base = write_base(tmp_path / "tiny.gguf", architecture)
    adapter = make_adapter(base, rank=3, scaling=0.5, dtype=dtype)
    write_gguf(adapter, tmp_path / "a.gguf", base)
    again = read_gguf(tmp_path / "a.gguf", base)
    assert again.deltas.keys() == adapter.deltas.keys()
    for path, delta in adapter.deltas.items():
        assert again.deltas[path].a.dtype == dtype
        assert np.array_equal(again.deltas[path].weight(), delta.weight())  # 0.5 is exact in binary


def test_ranks_and_scalings_that_differ_are_folded_so_that_alpha_over_rank_is_right(base: BaseModel, tmp_path: Path):
    """llama.cpp computes alpha / (rows of lora_b's first axis) itself: done here by hand from the file's bytes."""
    whole = make_adapter(base, dtype=np.float32)
    deltas = {
        path: LoraDelta(d.a[: 1 + i % 2], d.b[:, : 1 + i % 2], 0.1 * (i + 1))
        for i, (path, d) in enumerate(whole.deltas.items())
    }
    adapter = LoraAdapter(base.digest, deltas)
    write_gguf(adapter, tmp_path / "a.gguf", base)
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    alpha = reader.get_field("adapter.lora.alpha").contents()
    tensors = {t.name: np.array(t.data) for t in reader.tensors}
    for path, delta in deltas.items():
        name = base.tensor(path).name
        a, b = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
        update = base.rows_from_gguf(path, alpha / b.shape[1] * b @ a)
        assert np.allclose(update, delta.weight(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaling", [1e-7, 1e6])
def test_a_scaling_that_float16_cannot_hold_is_written_as_float32(base: BaseModel, tmp_path: Path, scaling: float):
    adapter = make_adapter(base, scaling=scaling)
    write_gguf(adapter, tmp_path / "a.gguf", base)
    tensors = read_header(tmp_path / "a.gguf").tensors
    assert tensors["blk.0.ffn_up.weight.lora_b"].type == "F32"
    assert tensors["blk.0.ffn_up.weight.lora_a"].type == "F16"
    again = read_gguf(tmp_path / "a.gguf", base)
    for path, delta in adapter.deltas.items():
        assert np.linalg.norm(again.deltas[path].weight() - delta.weight()) < 1e-6 * np.linalg.norm(delta.weight())


def test_an_adapter_for_another_model_is_refused(base: BaseModel, tmp_path: Path):
    adapter = make_adapter(base)
    other = replace(base, digest="f" * 64)
    with pytest.raises(AdapterMismatch, match=f"is for base {base.digest[:16]}, not ffffffffffffffff"):
        write_gguf(adapter, tmp_path / "a.gguf", other)
    write_gguf(adapter, tmp_path / "a.gguf", base)
    with pytest.raises(AdapterMismatch, match="not ffffffffffffffff"):
        read_gguf(tmp_path / "a.gguf", other)
    with pytest.raises(AdapterMismatch, match="is for llama, tiny llama is qwen2"):
        read_gguf(tmp_path / "a.gguf", replace(base, architecture="qwen2"))
    path, delta = next(iter(adapter.deltas.items()))
    narrow = LoraAdapter(base.digest, {path: LoraDelta(delta.a[:, 1:], delta.b, 1.0)})
    with pytest.raises(AdapterMismatch, match=r"the delta is .*, the layer"):
        write_gguf(narrow, tmp_path / "b.gguf", base)


def test_files_that_are_no_adapter_are_refused_with_the_reason(base: BaseModel, tmp_path: Path):
    path = tmp_path / "a.gguf"
    with pytest.raises(AdapterCorrupt, match="No such file"):
        read_gguf(path, base)
    path.write_bytes(b"PK\3\4 no model")
    with pytest.raises(AdapterCorrupt, match="not a GGUF file"):
        read_gguf(path, base)
    with pytest.raises(AdapterCorrupt, match="not a LoRA"):
        read_gguf(base.path, base)
    meta = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 1.0}
    one = np.ones((1, HIDDEN), np.float16)
    write_file(path, "llama", meta, {"blk.0.attn_q.weight.lora_a": one})
    with pytest.raises(AdapterCorrupt, match="lacks its lora_a or its lora_b"):
        read_gguf(path, base)
    write_file(path, "llama", meta, {"token_embd.weight.lora_a": one, "token_embd.weight.lora_b": one})
    with pytest.raises(AdapterMismatch, match="changes token_embd"):
        read_gguf(path, base)


def test_a_truncated_file_is_noticed_wherever_it_ends(base: BaseModel, tmp_path: Path):
    write_gguf(make_adapter(base), tmp_path / "whole.gguf", base)
    whole = (tmp_path / "whole.gguf").read_bytes()
    for length in [*range(0, 400, 7), len(whole) // 2, len(whole) - 40]:
        (tmp_path / "part.gguf").write_bytes(whole[:length])
        with pytest.raises(AdapterCorrupt):
            read_gguf(tmp_path / "part.gguf", base)


def test_base_models_we_do_not_know_are_refused(tmp_path: Path):
    path = tmp_path / "m.gguf"
    with pytest.raises(BaseModelCorrupt, match="No such file"):
        BaseModel.read(path)
    write_file(path, "mamba", {}, {"x": np.ones((2, 2), np.float32)})
    with pytest.raises(BaseModelCorrupt, match="'mamba'; known are llama"):
        BaseModel.read(path)
    write_file(path, "qwen2", {}, {"x": np.ones((2, 2), np.float32)})
    with pytest.raises(BaseModelCorrupt, match="want one number of heads"):
        BaseModel.read(path)
