"""adapters/lora.py: what a delta is, and when two adapters are the same."""

import pytest
import torch

from adapters.lora import LoraAdapter, LoraDelta, is_finite, to_half

PATH = "model.layers.0.mlp.up_proj"


def adapter(scaling: float = 0.5, base: str = "base", path: str = PATH, bump: float = 0.0) -> LoraAdapter:
    a = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    b = torch.arange(8, dtype=torch.float32).reshape(4, 2) + bump
    return LoraAdapter(base, {path: LoraDelta(a, b, scaling)})


def test_a_delta_is_scaling_times_b_times_a():
    delta = LoraDelta(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]), 0.5)
    assert delta.weight().tolist() == [[1.5, 3.0], [2.0, 4.0]]
    assert delta.rank == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(2, 3), torch.zeros(4, 3)),
        (torch.zeros(2, 3), torch.zeros(4, 2, 1)),
        (torch.zeros(2, 3), torch.zeros(4, 2).half()),
        (torch.zeros(2, 3, dtype=torch.int32), torch.zeros(4, 2, dtype=torch.int32)),
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


def test_the_digest_ignores_the_order_deltas_are_given_in_and_how_tensors_lie_in_memory():
    one, two = adapter().deltas[PATH], adapter(bump=1.0).deltas[PATH]
    turned = LoraDelta(one.a.T.contiguous().T, one.b, one.scaling)
    assert not turned.a.is_contiguous()
    assert LoraAdapter("b", {"x": one, "y": two}).digest == LoraAdapter("b", {"y": two, "x": turned}).digest


def test_float16_is_refused_where_it_would_lose_the_tensor():
    ones = torch.ones(8, 8)
    assert to_half(ones).dtype == torch.float16
    assert to_half(ones * 0).dtype == torch.float16
    assert to_half(ones * 1e5) is None
    assert to_half(ones * 1e-6) is None
    assert to_half(ones * float("nan")) is None


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_one_bad_value_makes_a_tensor_not_finite(bad):
    tensor = torch.zeros(3, 3)
    assert is_finite(tensor)
    tensor[1, 2] = bad
    assert not is_finite(tensor)
