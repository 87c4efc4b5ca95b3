"""adapters/lora.py: what a delta is, and when two adapters are the same."""

import numpy as np
import pytest

from adapters.lora import LoraAdapter, LoraDelta, is_finite, is_zero, to_float, to_half

PATH = "model.layers.0.mlp.up_proj"


def adapter(scaling: float = 0.5, base: str = "base", path: str = PATH, bump: float = 0.0) -> LoraAdapter:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    b = np.arange(8, dtype=np.float32).reshape(4, 2) + np.float32(bump)
    return LoraAdapter(base, {path: LoraDelta(a, b, scaling)})


def test_a_delta_is_scaling_times_b_times_a():
    delta = LoraDelta(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), 0.5)
    assert delta.weight().tolist() == [[1.5, 3.0], [2.0, 4.0]]
    assert delta.rank == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((2, 3)), np.zeros((4, 3))),
        (np.zeros((2, 3)), np.zeros((4, 2, 1))),
        (np.zeros((2, 3)), np.zeros((4, 2), np.float16)),
        (np.zeros((2, 3), np.int32), np.zeros((4, 2), np.int32)),
    ],
)
def test_tensors_that_make_no_delta_are_refused(a, b):
    with pytest.raises(ValueError, match="lora_a"):
        LoraDelta(a, b, 1.0)


def test_an_adapter_without_deltas_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        LoraAdapter("base", {})


def test_the_digest_depends_on_base_path_tensors_and_scale_and_on_nothing_else():
    digests = [
        adapter().digest,
        adapter(scaling=0.25).digest,
        adapter(base="other").digest,
        adapter(path="model.layers.1.mlp.up_proj").digest,
        adapter(bump=1e-3).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert adapter().digest == digests[0]
    assert len(digests[0]) == 16


@pytest.mark.parametrize(
    ("dtype", "digest"),
    [(np.float16, "980d644a3d3c6aaf"), (np.float32, "4ed8bcda61d5b046"), (np.float64, "48c6006f31a5b32f")],
)
def test_the_digest_of_given_tensors_never_changes(dtype, digest):
    """Stores, caches and builds are named by it. These were computed when deltas still held torch tensors."""
    a = (np.arange(24).reshape(2, 12) / 16 - 0.5).astype(dtype)
    b = (np.arange(10).reshape(5, 2) / 8 - 0.25).astype(dtype)
    deltas = {"model.layers.1.mlp.up_proj": LoraDelta(a, b, 2.0)}
    deltas["model.layers.0.self_attn.q_proj"] = LoraDelta(a[:1], b[:, :1], 0.5)
    assert LoraAdapter("0" * 64, deltas).digest == digest


def test_the_digest_ignores_the_order_deltas_are_given_in_and_how_tensors_lie_in_memory():
    one, two = adapter().deltas[PATH], adapter(bump=1.0).deltas[PATH]
    turned = LoraDelta(np.asfortranarray(one.a), one.b, one.scaling)
    assert not turned.a.flags.c_contiguous
    assert LoraAdapter("b", {"x": one, "y": two}).digest == LoraAdapter("b", {"y": two, "x": turned}).digest


def test_float16_and_float32_are_converted_as_numpy_does_it():
    """Every float16 there is, and float32 values between them, ties included."""
    half = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    half = half[np.isfinite(half)].reshape(-1, 4)
    np.testing.assert_array_equal(to_float(half), half.astype(np.float32))
    np.testing.assert_array_equal(to_float(half.T), half.T.astype(np.float32))
    steps = np.arange(0x3F000000, 0x40000000, 0x123, dtype=np.uint32)
    ties = np.arange(0x3F001000, 0x40000000, 0x2000, dtype=np.uint32)
    wide = np.concatenate([steps, ties]).view(np.float32)[None]
    np.testing.assert_array_equal(to_half(wide), wide.astype(np.float16))
    np.testing.assert_array_equal(to_half(wide.T), wide.T.astype(np.float16))


def test_float16_is_refused_where_it_would_lose_the_tensor():
    ones = np.ones((8, 8), np.float32)
    assert to_half(ones).dtype == np.float16
    assert to_half(ones * 0).dtype == np.float16
    assert to_half(ones * np.float32(1e5)) is None
    assert to_half(ones * np.float32(1e-6)) is None
    assert to_half(ones * float("nan")) is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_one_bad_value_makes_a_tensor_not_finite(bad, dtype):
    tensor = np.full((3, 3), np.finfo(dtype).max)
    assert is_finite(tensor)
    tensor[1, 2] = bad
    assert not is_finite(tensor)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_zero_is_zero_whatever_its_sign(dtype):
    zeros = np.array([[0.0, -0.0], [0.0, 0.0]], dtype)
    assert is_zero(zeros) and is_zero(zeros.T)
    smallest = zeros.copy()
    smallest[1, 0] = -np.finfo(dtype).smallest_subnormal
    assert not is_zero(smallest) and not is_zero(smallest.T)
