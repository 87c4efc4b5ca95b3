"""Merging: exactness of what is stored, what is left alone, and what happens when it goes wrong."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import pytest

from adapters import ggml
from adapters.base_files import BaseFiles
from adapters.build_report import Probe, table
from adapters.compose import concat
from adapters.errors import AdapterMismatch, BaseModelCorrupt, BuildBusy, BuildRefused, DiskFull
from adapters.gguf_file import write_gguf
from adapters.gguf_io import read_header
from adapters.gguf_rewrite import BLOCK_BYTES, PartialFile
from adapters.lora import LoraAdapter, LoraDelta
from adapters.merge import VERSION, merge
from adapters.peft_file import write_peft
from adapters.tensor_merge import AUTO_COSINE, AUTO_GAIN, MIN_GAIN, Target, candidates
from tests.adapters.tiny_models import (
    HEADS,
    KV_HEADS,
    LINEAR,
    NORMS,
    dequantized,
    random_adapter,
    write_tiny,
)

ROOT = Path(__file__).parents[2]
QUANTISED = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl")


@pytest.fixture
def base(tmp_path) -> BaseFiles:
    return write_tiny(tmp_path / "base.gguf", "qwen2", "q5_0")


def deltas(base: BaseFiles, adapter: LoraAdapter) -> dict[str, np.ndarray]:
    """The plain formula: scaling * b @ a, its rows where the file has them."""
    out = {}
    for path, delta in adapter.deltas.items():
        name = base.model.tensor(path).name
        weight = delta.scaling * (delta.b.astype(float) @ delta.a.astype(float))
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name.split(".")[2])
        if base.model.architecture == "llama" and heads:
            # llama.cpp conversion/llama.py, LlamaModel.permute
            rows, columns = weight.shape
            halves = weight.reshape(heads, 2, rows // heads // 2, columns)
            weight = halves.swapaxes(1, 2).reshape(rows, columns)
        out[name] = weight
    return out


@pytest.mark.parametrize("family", NORMS)
def test_an_unquantised_base_gets_exactly_the_delta_in_every_family(tmp_path, family):
    base = write_tiny(tmp_path / "base.gguf", family, "f32")
    adapter = random_adapter(base, 0.01)
    report = merge(base, adapter, tmp_path / "out.gguf", store="f16")
    before, after = dequantized(base.model.path), dequantized(tmp_path / "out.gguf")
    for name, delta in deltas(base, adapter).items():
        np.testing.assert_allclose(after[name] - before[name], delta, atol=1e-7)
    assert {t.type_after for t in report.tensors} == {"f32"}, "a wider type than the one asked for is kept"


@pytest.mark.parametrize("kind", QUANTISED)
def test_a_quantised_base_becomes_q8_0_of_weights_plus_delta(tmp_path, kind):
    base = write_tiny(tmp_path / "base.gguf", "llama", kind)
    adapter = random_adapter(base, 0.02)
    report = merge(base, adapter, tmp_path / "out.gguf")
    before, after = dequantized(base.model.path), dequantized(tmp_path / "out.gguf")
    for name, delta in deltas(base, adapter).items():
        wanted = before[name] + delta
        step = np.abs(wanted).reshape(len(wanted), -1, 32).max(axis=2).repeat(32, axis=1) / 127
        # half a step of the codes, and the step itself is rounded to half precision: 127 * 2**-11
        assert (np.abs(after[name] - wanted) <= (0.5 + 0.07) * step).all(), name
    assert {t.type_after for t in report.tensors} == {"q8_0"}


def test_gain_and_cosine_are_those_of_the_stored_file(base, tmp_path):
    adapter = random_adapter(base, 0.01)
    report = merge(base, adapter, tmp_path / "out.gguf")
    before, after = dequantized(base.model.path), dequantized(tmp_path / "out.gguf")
    expected = deltas(base, adapter)
    assert [t.name for t in report.tensors] == [name for name in before if name in expected]
    for tensor in report.tensors:
        w, d = before[tensor.name], expected[tensor.name]
        e = after[tensor.name] - w
        cosine = np.sum(e * d) / np.sqrt(np.sum(e * e) * np.sum(d * d))
        assert tensor.gain == pytest.approx(np.sum(e * d) / np.sum(d * d), abs=1e-4)
        assert tensor.cosine == pytest.approx(cosine, abs=1e-4)
        assert tensor.delta_ratio == pytest.approx(np.linalg.norm(d) / np.linalg.norm(w), rel=1e-4)
        assert tensor.noise_ratio == pytest.approx(np.linalg.norm(e - d) / np.linalg.norm(w), rel=1e-3)


def test_untouched_tensors_and_metadata_are_byte_for_byte_the_bases(base, tmp_path):
    adapter = random_adapter(base, 0.02)
    only = {path: d for path, d in adapter.deltas.items() if path.endswith("layers.1.self_attn.v_proj")}
    merge(base, LoraAdapter(adapter.base_digest, only), tmp_path / "out.gguf")
    old, new = base.model.header, read_header(tmp_path / "out.gguf")
    old_bytes, new_bytes = base.model.path.read_bytes(), (tmp_path / "out.gguf").read_bytes()
    changed = [name for name in old.tensors if _tensor(old_bytes, old, name) != _tensor(new_bytes, new, name)]
    assert changed == ["blk.1.attn_v.weight"]
    assert list(new.tensors) == list(old.tensors)
    for key, span in old.key_spans.items():
        assert old_bytes[slice(*span)] == new_bytes[slice(*new.key_spans[key])]


def _tensor(data: bytes, header, name: str) -> bytes:
    info = header.tensors[name]
    return data[info.offset : info.offset + info.size_bytes]


def test_unchanged_data_keeps_its_place_within_a_block_so_that_extents_can_be_shared(base, tmp_path):
    merge(base, random_adapter(base, 0.02), tmp_path / "out.gguf")
    new = read_header(tmp_path / "out.gguf")
    assert (new.data_offset - base.model.header.data_offset) % BLOCK_BYTES == 0
    assert new.data_offset % new.alignment == 0


def test_a_delta_of_zeros_leaves_its_tensor_alone(base, tmp_path):
    adapter = random_adapter(base, 0.02)
    silent = "model.layers.0.mlp.down_proj"
    zero = LoraDelta(adapter.deltas[silent].a, np.zeros_like(adapter.deltas[silent].b), 1.0)
    adapter = LoraAdapter(adapter.base_digest, {**adapter.deltas, silent: zero})
    report = merge(base, adapter, tmp_path / "out.gguf")
    assert "blk.0.ffn_down.weight" not in {t.name for t in report.tensors}
    assert read_header(tmp_path / "out.gguf").tensors["blk.0.ffn_down.weight"].type == "Q5_0"


NO_TORCH = """
import sys
from pathlib import Path
from adapters.base_files import BaseFiles
from adapters.compose import concat
from adapters.gguf_file import read_gguf
from adapters.merge import merge
from adapters.peft_file import read_peft
base = BaseFiles.read(Path("base.gguf"))
adapters = [read_gguf(Path("a.gguf"), base.model), read_peft(Path("peft"), base.model.digest)]
print(merge(base, concat(adapters, [0.5, 0.5]), Path("out.gguf")).path, "torch" in sys.modules)
"""


def test_merging_does_not_import_torch(base, tmp_path):
    """It would take longer than the merge."""
    adapter = random_adapter(base, 0.02)
    write_gguf(adapter, tmp_path / "a.gguf", base.model)
    (tmp_path / "peft").mkdir()
    write_peft(adapter, tmp_path / "peft", "base")
    command = [sys.executable, "-c", NO_TORCH]
    told = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert told.stdout.split() == [b"out.gguf", b"False"], told.stderr.decode()


def test_a_build_is_the_same_whatever_the_pieces_it_was_made_in(base, tmp_path, monkeypatch):
    """Large files are worked on in many chunks, by several threads, and go to the disk while they are written."""
    adapter = random_adapter(base, 0.02)
    whole = merge(base, adapter, tmp_path / "whole.gguf", threads=1)
    monkeypatch.setattr("adapters.tensor_merge.CHUNK_ELEMENTS", 5000)
    monkeypatch.setattr("adapters.tensor_merge.LEAST_ELEMENTS", 0)
    monkeypatch.setattr("adapters.merge.COPY_BYTES", 1000)
    monkeypatch.setattr("adapters.merge.WRITEBACK_BYTES", 500)
    pieces = merge(base, adapter, tmp_path / "pieces.gguf", threads=3)
    assert (tmp_path / "pieces.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    for one, other in zip(whole.tensors, pieces.tensors, strict=True):
        assert one.gain == pytest.approx(other.gain, rel=1e-5)
        assert one.noise_ratio == pytest.approx(other.noise_ratio, rel=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
@pytest.mark.parametrize("shape", [(1, 32), (128, 896), (4864, 896), (896, 4864), (7, 1 << 21)])
def test_chunks_hold_every_row_once(shape, threads):
    info = SimpleNamespace(shape=shape)
    chunks = Target(info, 0, ggml.type_by_name("f16"), np.empty(0), np.empty(0)).chunks(threads)
    assert [row for rows in chunks for row in range(rows.start, rows.stop)] == list(range(shape[0]))


def test_an_adapter_of_zeros_is_refused(base, tmp_path):
    a, b = np.ones((2, 256), np.float32), np.zeros((256, 2), np.float32)
    adapter = LoraAdapter(base.model.digest, {"model.layers.0.self_attn.q_proj": LoraDelta(a, b, 1.0)})
    with pytest.raises(BuildRefused, match="changes nothing"):
        merge(base, adapter, tmp_path / "out.gguf")


def test_the_tensors_own_5_bit_type_loses_a_small_delta_and_the_build_is_refused(base, tmp_path):
    with pytest.raises(BuildRefused, match=r"14 of 14 .* keep less than 90%.*auto or f16") as refused:
        merge(base, random_adapter(base, 0.005), tmp_path / "out.gguf", store="same")
    assert "blk.0.attn_q.weight" in refused.value.details
    assert list(tmp_path.glob("out*")) == []


def test_a_large_delta_may_stay_in_the_own_type(base, tmp_path):
    report = merge(base, random_adapter(base, 0.5), tmp_path / "out.gguf", store="same")
    assert {t.type_after for t in report.tensors} == {"q5_0"}
    assert min(t.gain for t in report.tensors) >= MIN_GAIN


SMALLEST = {0.5: "q5_0", 0.04: "q6_k", 0.01: "q8_0", 1e-3: "f16", 1e-5: "f32"}


@pytest.mark.parametrize(("ratio", "kind"), SMALLEST.items())
def test_auto_takes_the_smallest_type_that_keeps_the_delta(base, tmp_path, ratio, kind):
    adapter = random_adapter(base, ratio)
    report = merge(base, adapter, tmp_path / "out.gguf", store="auto")
    assert kind in {t.type_after for t in report.tensors}
    before, expected = dequantized(base.model.path), deltas(base, adapter)
    for tensor in report.tensors:
        assert tensor.gain >= AUTO_GAIN
        for smaller in ("q5_0", "q6_k", "q8_0", "f16"):
            if smaller == tensor.type_after:
                break
            weight, delta = before[tensor.name], expected[tensor.name].astype(np.float32)
            gain, cosine = _kept(weight, delta, ggml.type_by_name(smaller))
            assert gain < AUTO_GAIN + 0.01 or cosine < AUTO_COSINE + 0.01


def _kept(weight: np.ndarray, delta: np.ndarray, kind: ggml.GgmlType) -> tuple[float, float]:
    stored = np.empty(len(weight) * kind.row_bytes(weight.shape[1]), np.uint8)
    merged = weight + delta
    ggml.quantize(merged, kind, stored)
    ggml.dequantize(stored, kind, merged)
    e = merged - weight
    if not e.any():
        return 0.0, 0.0
    return np.sum(e * delta) / np.sum(delta**2), np.sum(e * delta) / np.sqrt(np.sum(e**2) * np.sum(delta**2))


def test_a_tensor_that_q8_0_would_lose_is_widened_alone(tmp_path, base):
    """One large weight in each block of 32 makes Q8_0's steps too coarse for the delta of the others."""
    path = base.model.path
    data, info = bytearray(path.read_bytes()), base.model.tensors["blk.1.attn_v.weight"]
    kind = ggml.type_by_name("q5_0")
    weights = np.empty(info.shape, np.float32)
    ggml.dequantize(np.frombuffer(data, np.uint8, info.size_bytes, info.offset), kind, weights)
    weights[:, ::32] = 4.0
    stored = np.empty(info.size_bytes, np.uint8)
    ggml.quantize(weights, kind, stored)
    data[info.offset : info.offset + info.size_bytes] = stored.tobytes()
    path.write_bytes(data)
    base = BaseFiles.read(path)
    report = merge(base, random_adapter(base, 0.01), tmp_path / "out.gguf")
    assert {t.name: t.type_after for t in report.tensors if t.type_after != "q8_0"} == {info.name: "f16"}


def test_rows_that_are_no_whole_blocks_fall_back_to_a_type_they_fit():
    assert [kind.name for kind in candidates("q8_0", ggml.type_by_name("f16"), 40)] == ["f16", "f32"]
    assert [kind.name for kind in candidates("auto", ggml.type_by_name("q5_0"), 96)] == ["q5_0", "q8_0", "f16", "f32"]


def test_what_was_merged_stands_in_the_files_metadata(base, tmp_path):
    adapter = random_adapter(base, 0.02)
    probe = Probe(kl=0.25, top1=0.5, base_kl=1.0, tokens=3)
    merge(base, adapter, tmp_path / "out.gguf", parents={"aaaa": 0.75, "bbbb": 0.25}, verify=lambda path: probe)
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    values = {key: field.contents() for key, field in reader.fields.items() if key.startswith("et2l.")}
    assert values.pop("et2l.padding").strip() == ""
    assert values.pop("et2l.version")
    assert values == {
        "et2l.adapter.digest": adapter.digest,
        "et2l.base.digest": base.model.digest,
        "et2l.parents": ["aaaa", "bbbb"],
        "et2l.weights": [0.75, 0.25],
        "et2l.store": "q8_0",
        "et2l.probe.kl": 0.25,
        "et2l.probe.top1": 0.5,
    }


def test_the_version_written_is_the_projects():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_merging_onto_a_merged_build_names_each_key_once(base, tmp_path):
    merge(base, random_adapter(base, 0.02), tmp_path / "one.gguf")
    again = BaseFiles.read(tmp_path / "one.gguf")
    second = random_adapter(again, 0.02, seed=9)
    merge(again, second, tmp_path / "two.gguf")
    keys = list(gguf.GGUFReader(tmp_path / "two.gguf").fields)
    assert len(keys) == len(set(keys))
    assert read_header(tmp_path / "two.gguf").metadata["et2l.adapter.digest"] == second.digest


def test_several_adapters_merge_as_their_weighted_sum(base, tmp_path):
    one, two = random_adapter(base, 0.02, seed=1), random_adapter(base, 0.02, seed=2)
    merge(base, concat([one, two], [0.6, 0.4]), tmp_path / "out.gguf", store="f16")
    before, after = dequantized(base.model.path), dequantized(tmp_path / "out.gguf")
    first, second = deltas(base, one), deltas(base, two)
    for name in first:
        wanted = 0.6 * first[name] + 0.4 * second[name]
        assert np.linalg.norm(after[name] - before[name] - wanted) <= 0.03 * np.linalg.norm(wanted)


def test_a_base_in_parts_merges_to_the_same_tensors_as_the_whole(tmp_path):
    whole = write_tiny(tmp_path / "whole.gguf", "llama", "q4_k")
    parts = BaseFiles.read(_split(tmp_path / "whole.gguf")[1])
    assert parts.model.digest != whole.model.digest
    adapter = random_adapter(whole, 0.02)
    merge(whole, adapter, tmp_path / "a.gguf")
    merge(parts, LoraAdapter(parts.model.digest, adapter.deltas), tmp_path / "b.gguf")
    a, b = dequantized(tmp_path / "a.gguf"), dequantized(tmp_path / "b.gguf")
    assert a.keys() == b.keys()
    assert all((a[name] == b[name]).all() for name in a)
    assert not any(key.startswith("split.") for key in read_header(tmp_path / "b.gguf").metadata)


def test_a_base_whose_part_is_missing_is_refused(tmp_path):
    write_tiny(tmp_path / "whole.gguf")
    first, second = _split(tmp_path / "whole.gguf")
    second.unlink()
    with pytest.raises(BaseModelCorrupt, match="00002-of-00002"):
        BaseFiles.read(first)


def _split(path: Path) -> list[Path]:
    """What llama.cpp's gguf-split does: metadata in the first part, split.* keys in each, tensors divided."""
    reader = gguf.GGUFReader(path)
    tensors = reader.tensors
    out = []
    for number, share in enumerate((tensors[:9], tensors[9:])):
        part = path.with_name(f"part-{number + 1:05d}-of-00002.gguf")
        writer = gguf.GGUFWriter(part, "llama")
        for field in reader.fields.values():
            if not number and not field.name.startswith("GGUF.") and field.name != "general.architecture":
                writer.add_key_value(field.name, field.contents(), field.types[0])
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(tensors))
        for t in share:
            writer.add_tensor(t.name, t.data, raw_shape=t.data.shape, raw_dtype=t.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        out.append(part)
    return out


def test_an_adapter_of_another_base_is_refused(base, tmp_path):
    adapter = random_adapter(base, 0.02)
    with pytest.raises(AdapterMismatch):
        merge(base, LoraAdapter("0" * 64, adapter.deltas), tmp_path / "out.gguf")


def test_values_that_are_not_finite_are_refused(base, tmp_path):
    adapter = random_adapter(base, 0.02)
    adapter.deltas["model.layers.0.self_attn.q_proj"].a[0, 0] = float("nan")
    with pytest.raises(BuildRefused, match="not finite"):
        merge(base, adapter, tmp_path / "out.gguf", store="auto")


# --- when it goes wrong ------------------------------------------------------------------------------------


def test_a_build_that_fails_verification_leaves_nothing_and_keeps_the_old_file(base, tmp_path):
    out = tmp_path / "out.gguf"
    out.write_bytes(b"what was there")

    def verify(path: Path) -> Probe:
        assert read_header(path).tensors, "the file to verify is whole"
        raise BuildRefused("answers otherwise")

    with pytest.raises(BuildRefused, match="answers otherwise"):
        merge(base, random_adapter(base, 0.02), out, verify=verify)
    assert out.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.gguf"]


def test_a_full_disk_is_found_before_anything_is_written(base, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DiskFull, match="1000 free"):
        merge(base, random_adapter(base, 0.02), tmp_path / "out.gguf")
    assert list(tmp_path.glob("out*")) == []


def test_a_disk_that_fills_up_half_way_is_a_clear_error_and_leaves_nothing(base, tmp_path, monkeypatch):
    write = PartialFile.write

    def full(self: PartialFile, data, offset: int) -> None:
        if offset > 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data, offset)

    monkeypatch.setattr(PartialFile, "write", full)
    with pytest.raises(DiskFull, match=r"out\.gguf needs \d+ bytes"):
        merge(base, random_adapter(base, 0.02), tmp_path / "out.gguf")
    assert list(tmp_path.glob("out*")) == []


def test_a_limit_on_file_size_is_a_clear_error_and_leaves_nothing(base, tmp_path):
    """The kernel's own refusal, by RLIMIT_FSIZE, in a process of its own."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (400000, -1))"
    result = _child(base.model.path, tmp_path / "out.gguf", limit)
    assert "DiskFull" in result.stderr
    assert list(tmp_path.glob("out*")) == []


CHILD = """
import resource, signal, sys
from pathlib import Path
from adapters.base_files import BaseFiles
from adapters.merge import merge, PartialFile
from tests.adapters.tiny_models import random_adapter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
base = BaseFiles.read(Path(sys.argv[1]))
{setup}
merge(base, random_adapter(base, 0.02), Path(sys.argv[2]), progress=progress)
"""


def _child(base: Path, out: Path, setup: str) -> subprocess.CompletedProcess[str]:
    code = CHILD.format(setup=f"progress = None\n{setup}")
    command = [sys.executable, "-c", code, str(base), str(out)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)


@pytest.mark.parametrize("done", [10, 99])
def test_killed_at_any_point_nothing_is_loadable_and_the_rerun_completes(base, tmp_path, done):
    out = tmp_path / "out.gguf"
    kill = f"progress = lambda n, of: n == min({done}, of) and __import__('os').kill(__import__('os').getpid(), 9)"
    assert _child(base.model.path, out, kill).returncode == -signal.SIGKILL
    assert not out.exists()
    partial = out.with_name("out.gguf.partial")
    assert partial.exists()
    with pytest.raises(ValueError, match=r"not a GGUF file|damaged|truncated"):
        read_header(partial)
    merge(base, random_adapter(base, 0.02), out)
    assert not partial.exists()
    assert len(read_header(out).tensors) == len(base.model.tensors)


def test_two_merges_to_one_place_do_not_mix(base, tmp_path):
    with PartialFile(tmp_path / "out.gguf"), pytest.raises(BuildBusy):
        merge(base, random_adapter(base, 0.02), tmp_path / "out.gguf")


def test_a_base_that_shrank_is_refused(base, tmp_path):
    os.truncate(base.model.path, base.model.path.stat().st_size - 200_000)
    with pytest.raises(BaseModelCorrupt):
        merge(base, random_adapter(base, 0.02), tmp_path / "out.gguf")
    assert list(tmp_path.glob("out*")) == []


def test_the_report_prints_a_line_for_each_tensor_and_goes_to_json(base, tmp_path):
    report = merge(base, random_adapter(base, 0.02), tmp_path / "out.gguf")
    assert table(report.tensors).count("\n") == 1 + len(LINEAR) * 2 + 1
    printed = json.loads(json.dumps(report.to_json()))
    assert {"path", "bytes", "seconds", "gain", "cosine", "kl", "top1"} <= printed.keys()
    assert set(printed["gain"]) == set(printed["cosine"]) == {"min", "mean"}
    assert printed["bytes"] == (tmp_path / "out.gguf").stat().st_size


def test_progress_counts_every_tensor(base, tmp_path):
    seen = []
    merge(base, random_adapter(base, 0.02), tmp_path / "out.gguf", progress=lambda *now: seen.append(now))
    total = len(base.model.tensors)
    assert seen == [(number, total) for number in range(1, total + 1)]
