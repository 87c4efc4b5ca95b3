"""adapters/merge_rows.py: the C pass and the NumPy steps do the same, and that is the arithmetic it says."""

import numpy as np
import pytest

from adapters import ggml, merge_rows
from adapters.errors import GgmlUnavailable
from adapters.native import NativeUnavailable


def tensor(kind: str, rows: int, columns: int, rank: int = 3, scale: float = 0.05):
    """Blocks of random weights, and A and B of a change about `scale` their size."""
    rng, found = np.random.default_rng(rows), ggml.type_by_name(kind)
    blocks = np.empty(rows * found.row_bytes(columns), np.uint8)
    ggml.quantize(rng.standard_normal((rows, columns), np.float32), found, blocks)
    a = rng.standard_normal((rank, columns), np.float32)
    return blocks, found, a, rng.standard_normal((rows, rank), np.float32) * scale


def merged(blocks, kind, a, b, stored):
    target = np.zeros(len(b) * stored.row_bytes(a.shape[1]), np.uint8)
    return target, merge_rows.merge_rows(blocks, kind, a, b, stored, target)


def read(blocks, kind, rows):
    out = np.empty((rows, blocks.size // rows // kind.block_bytes * kind.block), np.float32)
    ggml.dequantize(blocks, kind, out)
    return out.astype(np.float64)


@pytest.fixture(params=["native", "steps"])
def way(request, monkeypatch):
    if request.param == "steps":
        monkeypatch.setattr(merge_rows, "_library", lambda: None)
    else:
        assert merge_rows._library() is not None, "a C compiler is part of the set-up"
    return request.param


@pytest.mark.parametrize("rows", [1, 4, 7])
@pytest.mark.parametrize(
    ("kind", "stored", "columns"),
    [("q5_0", "q8_0", 96), ("q4_k", "q6_k", 512), ("f16", "f16", 21), ("f32", "f32", 5), ("q8_0", "bf16", 32)],
)
def test_rows_hold_the_sum_and_the_products_tell_what_was_kept(way, kind, stored, columns, rows):
    blocks, kind, a, b = tensor(kind, rows, columns)
    stored = ggml.type_by_name(stored)
    target, sums = merged(blocks, kind, a, b, stored)
    weight, change, kept = read(blocks, kind, rows), b.astype(float) @ a, read(target, stored, rows)
    exact = np.empty_like(target)
    ggml.quantize((weight + change).astype(np.float32), stored, exact)
    step = np.abs(read(exact, stored, rows) - weight - change).max()
    np.testing.assert_allclose(kept, read(exact, stored, rows), atol=1e-6 + step)  # a tie may go either way
    error = kept - weight
    expected = [(error * change).sum(), (change**2).sum(), (error**2).sum(), (weight**2).sum()]
    np.testing.assert_allclose(sums, expected, rtol=1e-4)


def test_both_ways_store_the_same(monkeypatch):
    blocks, kind, a, b = tensor("q5_0", 33, 224)
    stored = ggml.type_by_name("q8_0")
    native, native_sums = merged(blocks, kind, a, b, stored)
    monkeypatch.setattr(merge_rows, "_library", lambda: None)
    steps, steps_sums = merged(blocks, kind, a, b, stored)
    assert np.mean(native != steps) < 0.001  # sums in another order end in another code where they meet a tie
    np.testing.assert_allclose(native_sums, steps_sums, rtol=1e-3)


def test_without_a_compiler_it_says_so_and_takes_the_steps(monkeypatch, caplog):
    def unavailable(source):
        raise NativeUnavailable("no compiler")

    monkeypatch.setattr(merge_rows, "built", unavailable)
    merge_rows._library.cache_clear()
    try:
        blocks, kind, a, b = tensor("q8_0", 2, 32)
        target, _ = merged(blocks, kind, a, b, kind)
        assert target.any() and "no compiler" in caplog.text
    finally:
        merge_rows._library.cache_clear()


def test_arrays_that_do_not_fit_are_refused_before_c_sees_them(way):
    blocks, kind, a, b = tensor("q8_0", 4, 32)
    target = np.zeros_like(blocks)
    for wrong in (
        (blocks[:-1], kind, a, b, kind, target),
        (blocks, kind, a.astype(np.float64), b, kind, target),
        (blocks, kind, np.asfortranarray(a), b, kind, target),
        (blocks, kind, a, b, kind, target[:-34]),
    ):
        with pytest.raises(ValueError, match="contiguous"):
            merge_rows.merge_rows(*wrong)
    with pytest.raises(GgmlUnavailable, match="importance"):
        imatrix = ggml.type_by_name("iq2_xxs")
        blocks, kind, a, b = tensor("q8_0", 1, 256)
        merge_rows.merge_rows(blocks, kind, a, b, imatrix, np.zeros(imatrix.row_bytes(256), np.uint8))
