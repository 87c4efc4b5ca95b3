"""adapters/index.py: nearest first, and a file that is either whole or not read."""

import resource
from pathlib import Path

import numpy as np
import pytest

from adapters.index import VectorIndex

IDENTITY = "0123456789abcdef"


def unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle), 0], dtype=np.float32)


@pytest.fixture
def index() -> VectorIndex:
    index = VectorIndex(3)
    for key, angle in ((7, 0.0), (8, 0.5), (9, 2.0)):
        index.add(key, unit(angle))
    return index


def test_neighbours_come_nearest_first_with_one_minus_the_cosine(index: VectorIndex):
    found = index.search(unit(0.1), 10)
    assert [neighbour.key for neighbour in found] == [7, 8, 9]
    assert [n.distance for n in found] == pytest.approx([1 - np.cos(a) for a in (0.1, 0.4, 1.9)], abs=1e-5)
    assert len(index.search(unit(0.1), 2)) == 2


def test_removed_keys_are_gone(index: VectorIndex):
    index.remove(7)
    index.remove(12345)
    assert index.keys() == {8, 9}
    assert 7 not in index
    assert 8 in index
    assert [n.key for n in index.search(unit(0.0), 10)] == [8, 9]
    for key in (8, 9):
        index.remove(key)
    assert index.search(unit(0.0), 3) == []


def test_a_saved_index_is_the_same_and_can_go_on(index: VectorIndex, tmp_path: Path):
    index.remove(9)
    index.save(tmp_path / "x", IDENTITY)
    again = VectorIndex.load(tmp_path / "x", 3, IDENTITY)
    assert again.keys() == {7, 8}
    assert again.search(unit(0.1), 5) == index.search(unit(0.1), 5)
    again.add(10, unit(0.1))
    assert again.search(unit(0.1), 1)[0].key == 10
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(index: VectorIndex, tmp_path: Path):
    index.save(tmp_path / "x", IDENTITY)
    index.remove(9)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            index.save(tmp_path / "x", IDENTITY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert VectorIndex.load(tmp_path / "x", 3, IDENTITY).keys() == {7, 8, 9}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_that_is_damaged_or_of_another_database_or_dimension_is_not_read(index: VectorIndex, tmp_path: Path):
    path = tmp_path / "x"
    assert VectorIndex.load(path, 3, IDENTITY) is None
    index.save(path, IDENTITY)
    assert VectorIndex.load(path, 4, IDENTITY) is None
    assert VectorIndex.load(path, 3, "f" * 16) is None
    whole = path.read_bytes()
    for damaged in (b"", whole[:20], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"x"):
        path.write_bytes(damaged)
        assert VectorIndex.load(path, 3, IDENTITY) is None


def test_a_vector_of_another_dimension_is_refused(index: VectorIndex):
    with pytest.raises(ValueError, match=r"\(2,\) in an index of 3"):
        index.add(1, np.ones(2, np.float32))
    with pytest.raises(ValueError, match=r"\(4,\) in an index of 3"):
        index.search(np.ones(4, np.float32), 1)
