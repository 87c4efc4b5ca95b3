"""The probe on tiny models: exact for an exact merge, large for a lost adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BuildRefused
from adapters.gguf_file import write_gguf
from adapters.merge import merge
from proxy import probe as probing
from proxy.probe import probe, verify
from tests.adapters.tiny_models import NORMS, random_adapter, write_tiny


@pytest.fixture(autouse=True)
def short_text(monkeypatch):
    monkeypatch.setattr(probing, "TEXT", probing.TEXT[:150])


def build(folder: Path, family: str, kind: str, ratio: float) -> tuple[Path, Path, Path]:
    base = write_tiny(folder / "base.gguf", family, kind)
    adapter = random_adapter(base, ratio)
    write_gguf(adapter, folder / "adapter.gguf", base.model)
    merge(base, adapter, folder / "merged.gguf", store="f16")
    return folder / "base.gguf", folder / "adapter.gguf", folder / "merged.gguf"


@pytest.mark.parametrize("family", NORMS)
def test_a_merged_build_answers_as_the_attached_adapter_in_every_family(tmp_path, monkeypatch, family):
    monkeypatch.setattr(probing, "CLEAR", -1)  # to the end of the text
    found = probe(*build(tmp_path, family, "f32", 0.3), threads=1)
    assert found.kl < 1e-4 < 0.05 < found.base_kl
    assert found.top1 >= 0.99
    assert found.tokens == 146  # of 150 bytes; "he" is one token, and occurs four times


def test_a_clear_case_is_decided_on_the_beginning_and_a_close_one_on_the_whole_text(tmp_path, monkeypatch):
    monkeypatch.setattr(probing, "FIRST_TOKENS", 64)
    base, adapter, merged = build(tmp_path, "qwen2", "f32", 0.3)
    assert probe(base, adapter, merged, threads=1).tokens == 64
    whole = probe(base, adapter, base, threads=1)  # the adapter is not in it
    assert whole.tokens > 140 and whole.kl == pytest.approx(whole.base_kl)


def test_a_build_without_the_adapter_is_refused(tmp_path):
    base, adapter, _ = build(tmp_path, "qwen2", "q5_0", 0.5)
    with pytest.raises(BuildRefused, match="answers otherwise"):
        verify(base, adapter, base, threads=1)


def test_a_file_llama_cpp_cannot_run_is_refused(tmp_path):
    base, adapter, merged = build(tmp_path, "qwen2", "q5_0", 0.5)
    merged.write_bytes(merged.read_bytes()[:-5000])
    with pytest.raises(BuildRefused, match="cannot run"):
        verify(base, adapter, merged, threads=1)
