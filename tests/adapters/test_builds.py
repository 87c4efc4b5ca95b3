"""The builds folder: what counts as a build, and which one goes when the budget is spent."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from adapters.build_plot import plot
from adapters.build_report import MergeReport, Probe, TensorGain
from adapters.builds import Build, Builds, plot_path, record_path, write_record
from adapters.errors import BuildNotFound, DiskFull
from adapters.gguf_rewrite import PartialFile

A, B, C = "a" * 16, "b" * 16, "c" * 16


def gains(count: int = 3) -> tuple[TensorGain, ...]:
    return tuple(
        TensorGain(f"blk.{layer}.{module}.weight", layer, module, "q5_0", "q8_0", 22, 34, 0.97, 0.8, 0.01, 0.005)
        for layer in range(count)
        for module in ("attn_q", "attn_v")
    )


def add(builds: Builds, digest: str, size: int, used: float) -> Build:
    path = builds.path(digest, "q8_0")
    path.write_bytes(bytes(size))
    probe = Probe(kl=0.001, top1=0.99, base_kl=0.4, tokens=300)
    write_record(MergeReport(path, size, 1.5, digest, "0" * 64, {digest: 1.0}, "q8_0", gains(), probe))
    os.utime(record_path(path), (used, used))
    return builds.get(digest, "q8_0")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_build_is_found_with_its_record(tmp_path):
    build = add(Builds(tmp_path, 1000), A, 100, 1.0)
    assert (build.digest, build.store, build.size_bytes) == (A, "q8_0", 100)
    assert build.record["kl"] == 0.001
    assert build.record["gain"] == {"min": 0.97, "mean": pytest.approx(0.97)}
    assert len(build.record["tensors"]) == 6


def test_a_file_without_a_record_or_of_another_size_is_no_build(tmp_path):
    builds = Builds(tmp_path, 1000)
    build = add(builds, A, 100, 1.0)
    build.path.write_bytes(bytes(99))
    with pytest.raises(BuildNotFound, match="99 bytes"):
        builds.get(A, "q8_0")
    builds.path(B, "q8_0").write_bytes(b"x")
    with pytest.raises(BuildNotFound):
        builds.get(B, "q8_0")
    assert builds.list() == []


def test_the_least_recently_used_goes_first_and_no_more_than_needed(tmp_path):
    builds = Builds(tmp_path, 300)
    for digest, used in ((A, 3.0), (B, 1.0), (C, 2.0)):
        add(builds, digest, 100, used)
    builds.use(B, "q8_0")
    assert [build.digest for build in builds.make_room(50)] == [C]
    assert [build.digest for build in builds.list()] == [B, A]
    assert not any(name.startswith(C) for name in names(tmp_path))


def test_what_a_killed_merge_left_goes_and_what_another_is_writing_stays(tmp_path):
    builds = Builds(tmp_path, 300)
    builds.path(A, "q8_0").with_suffix(".gguf.partial").write_bytes(bytes(500))
    with PartialFile(builds.path(B, "q8_0")) as writing:
        writing.write(b"half", 0)
        builds.make_room(50)
        assert names(tmp_path) == {writing.path.name}
        assert writing.path.read_bytes() == b"half"


def test_a_build_in_use_stays(tmp_path):
    builds = Builds(tmp_path, 250)
    kept = add(builds, A, 100, 1.0)
    add(builds, B, 100, 2.0)
    builds.make_room(100, keep={kept.name})
    assert [build.digest for build in builds.list()] == [A]


def test_what_cannot_fit_is_refused_and_nothing_is_removed(tmp_path):
    builds = Builds(tmp_path, 250)
    kept = add(builds, A, 100, 1.0)
    add(builds, B, 100, 2.0)
    with pytest.raises(DiskFull, match=r"needs 200 bytes and the builds' budget .* has 150 free"):
        builds.make_room(200, keep={kept.name})
    assert len(builds.list()) == 2


def test_deleting_takes_record_file_and_plot(tmp_path):
    builds = Builds(tmp_path, 1000)
    builds.delete(add(builds, A, 100, 1.0))
    assert names(tmp_path) == set()


def test_a_record_that_cannot_be_written_takes_the_build_with_it(tmp_path):
    builds = Builds(tmp_path, 1000)
    path = builds.path(A, "q8_0")
    record_path(path).with_suffix(".json.partial").symlink_to(tmp_path / "nowhere" / "else")
    with pytest.raises(FileNotFoundError):
        add(builds, A, 100, 1.0)
    assert names(tmp_path) == set()


def test_the_plot_has_a_line_per_module_in_both_panels(tmp_path):
    build = add(Builds(tmp_path, 1000), A, 100, 1.0)
    root = ElementTree.fromstring(plot_path(build.path).read_text())
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4
    assert {line.get("stroke") for line in lines} == {"#1b6ca8", "#d1495b"}


def test_the_plot_of_a_single_layer_is_drawn_too():
    assert plot(gains(1)).count("<circle") == 4
