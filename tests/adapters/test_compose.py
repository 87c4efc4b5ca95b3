"""adapters/compose.py against the dense formula sum_i w_i s_i B_i A_i."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.compose import concat, pad, recompress
from adapters.errors import AdapterMismatch
from adapters.lora import LoraAdapter, LoraDelta

SHAPES = {"model.layers.0.self_attn.q_proj": (6, 5), "model.layers.1.mlp.down_proj": (4, 9)}


DTYPES = [torch.float32, torch.float16]


def random_adapter(
    generator: torch.Generator,
    rank: int = 2,
    scaling: float = 1.0,
    dtype: torch.dtype = torch.float32,
    shared: LoraAdapter | None = None,
) -> LoraAdapter:
    """Random deltas of both layers; with the A of `shared`, as our hypernetwork makes them."""
    deltas = {}
    for path, (out, into) in SHAPES.items():
        a = shared.deltas[path].a if shared else torch.randn(rank, into, generator=generator).to(dtype)
        deltas[path] = LoraDelta(a, torch.randn(out, a.shape[0], generator=generator).to(dtype), scaling)
    return LoraAdapter("base", deltas)


def dense(parts, weights, path):
    """The formula, layer by layer, in float64."""
    return sum(
        w * p.deltas[path].scaling * (p.deltas[path].b.double() @ p.deltas[path].a.double())
        for p, w in zip(parts, weights, strict=True)
        if path in p.deltas
    )


finite = st.floats(-2, 2).filter(lambda w: abs(w) > 1e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(finite, finite, st.integers(1, 5), st.booleans()), min_size=1, max_size=5),
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)
def test_the_composition_is_the_weighted_sum_of_the_updates(terms, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    first = random_adapter(generator, 3, dtype=dtype)
    parts = [
        random_adapter(generator, rank, s, dtype, first if shared else None) for _, s, rank, shared in terms
    ]
    weights = [weight for weight, *_ in terms]
    whole = concat(parts, weights)
    tolerance = 1e-5 if dtype == torch.float32 else 4e-3
    for path in SHAPES:
        size = sum(dense([p], [w], path).norm() for p, w in zip(parts, weights, strict=True))
        assert (whole.deltas[path].weight() - dense(parts, weights, path)).norm() <= tolerance * size


def test_parts_of_equal_a_keep_the_rank_and_the_others_add_theirs():
    generator = torch.Generator().manual_seed(0)
    first = random_adapter(generator, 3)
    second = random_adapter(generator, shared=first)
    copy = LoraAdapter("base", {p: LoraDelta(d.a.clone(), d.b * 2, 1.0) for p, d in first.deltas.items()})
    other = random_adapter(generator, 4)
    assert concat([first, second, copy], [0.2, 0.3, 0.5]).rank == 3
    assert concat([first, other, second], [0.2, 0.3, 0.5]).rank == 7


def test_averaging_a_and_b_separately_would_be_something_else():
    """The mistake this module exists to avoid: (sum w_i B_i)(sum w_i A_i) has cross terms."""
    generator = torch.Generator().manual_seed(1)
    parts, weights = [random_adapter(generator), random_adapter(generator)], [0.5, 0.5]
    path = next(iter(SHAPES))
    a = sum(w * p.deltas[path].a for p, w in zip(parts, weights, strict=True))
    b = sum(w * p.deltas[path].b for p, w in zip(parts, weights, strict=True))
    want = dense(parts, weights, path)
    assert (concat(parts, weights).deltas[path].weight() - want).norm() < 1e-5 * want.norm()
    assert (b @ a - want).norm() > 0.2 * want.norm()


def test_a_part_may_lack_a_layer_and_a_weight_may_be_zero():
    generator = torch.Generator().manual_seed(2)
    whole, third = random_adapter(generator), random_adapter(generator)
    path, missing = SHAPES
    partial = LoraAdapter("base", {path: third.deltas[path]})
    result = concat([whole, partial, third], [1.0, 0.5, 0.0])
    assert torch.allclose(result.deltas[missing].weight(), whole.deltas[missing].weight())
    assert torch.allclose(result.deltas[path].weight().double(), dense([whole, partial], [1.0, 0.5], path))


def test_one_part_keeps_its_tensors_and_its_weight_goes_into_the_scaling():
    part = random_adapter(torch.Generator().manual_seed(3), scaling=0.5)
    result = concat([part], [0.5])
    path = next(iter(SHAPES))
    assert result.deltas[path].b is part.deltas[path].b
    assert result.deltas[path].scaling == 0.25
    assert concat([part], [1.0]).digest == part.digest


def test_float16_parts_stay_float16_unless_it_would_lose_the_result():
    generator = torch.Generator().manual_seed(4)
    parts = [random_adapter(generator, dtype=torch.float16) for _ in range(2)]
    path = next(iter(SHAPES))
    assert concat(parts, [0.5, 0.5]).deltas[path].b.dtype == torch.float16
    tiny = concat(parts, [1e-7, 1e-7]).deltas[path]
    assert tiny.b.dtype == torch.float32
    want = dense(parts, [1e-7, 1e-7], path)
    assert (tiny.weight() - want).norm() < 1e-5 * want.norm()


def test_parts_that_do_not_belong_together_are_refused():
    generator = torch.Generator().manual_seed(5)
    part = random_adapter(generator)
    with pytest.raises(AdapterMismatch, match="different base models"):
        concat([part, LoraAdapter("other", part.deltas)], [0.5, 0.5])
    path = next(iter(SHAPES))
    wide = LoraAdapter("base", {path: LoraDelta(torch.zeros(2, 8), torch.zeros(6, 2), 1.0)})
    with pytest.raises(AdapterMismatch, match=r"\(6, 5\), \(6, 8\)"):
        concat([part, wide], [0.5, 0.5])
    with pytest.raises(ValueError, match="1 adapters and 2 weights"):
        concat([part], [0.5, 0.5])
    with pytest.raises(ValueError, match="other than 0"):
        concat([part], [0.0])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from(DTYPES), st.integers(0, 2**31))
def test_recompression_is_the_truncated_svd_and_tells_the_energy_it_kept(rank, target, dtype, seed):
    adapter = random_adapter(torch.Generator().manual_seed(seed), rank, 0.7, dtype)
    result = recompress(adapter, target)
    kept = total = 0.0
    for path, delta in adapter.deltas.items():
        u, s, vh = torch.linalg.svd(delta.weight().double(), full_matrices=False)
        best = u[:, :target] * s[:target] @ vh[:target]
        tolerance = 1e-4 if dtype == torch.float32 else 4e-3
        assert (result.adapter.deltas[path].weight() - best).norm() <= tolerance * s.norm()
        assert result.adapter.deltas[path].rank <= target
        energy = s.square()
        kept, total = kept + energy[:target].sum(), total + energy.sum()
        assert result.by_layer[path] == pytest.approx(float(energy[:target].sum() / energy.sum()), abs=1e-4)
    assert result.retained_energy == pytest.approx(float(kept / total), abs=1e-4)


def test_recompressing_a_stack_of_shared_directions_loses_nothing():
    generator = torch.Generator().manual_seed(6)
    first = random_adapter(generator, 2)
    doubled = LoraAdapter("base", {p: LoraDelta(d.a * 2, d.b, 1.0) for p, d in first.deltas.items()})
    stack = concat([first, doubled], [0.5, 0.5])
    assert stack.rank == 4
    result = recompress(stack, 2)
    assert result.adapter.rank == 2
    assert result.retained_energy == pytest.approx(1.0, abs=1e-6)


def test_a_zero_update_keeps_all_of_its_energy():
    zero = LoraAdapter("base", {"x": LoraDelta(torch.ones(3, 4), torch.zeros(5, 3), 1.0)})
    assert recompress(zero, 1).retained_energy == 1.0
    assert recompress(zero, 1).adapter.deltas["x"].weight().abs().max() == 0


def test_padding_changes_the_rank_and_not_the_update():
    adapter = random_adapter(torch.Generator().manual_seed(7), 3, 0.3, torch.float16)
    padded = pad(adapter, 8)
    for path, delta in padded.deltas.items():
        assert delta.rank == 8
        assert torch.equal(delta.weight(), adapter.deltas[path].weight())
    with pytest.raises(ValueError, match="rank 3 cannot be padded to 2"):
        pad(adapter, 2)
    with pytest.raises(ValueError, match="at least 1"):
        recompress(adapter, 0)
