"""adapters/compose.py against the dense formula sum_i w_i s_i B_i A_i."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.linalg import norm

from adapters.compose import concat, pad, recompress
from adapters.errors import AdapterMismatch
from adapters.lora import LoraAdapter, LoraDelta

SHAPES = {"model.layers.0.self_attn.q_proj": (6, 5), "model.layers.1.mlp.down_proj": (4, 9)}


DTYPES = [np.float32, np.float16]


def random_adapter(
    random: np.random.Generator,
    rank: int = 2,
    scaling: float = 1.0,
    dtype: type = np.float32,
    shared: LoraAdapter | None = None,
) -> LoraAdapter:
    """Random deltas of both layers; with the A of `shared`, as our hypernetwork makes them."""
    deltas = {}
    for path, (out, into) in SHAPES.items():
        a = shared.deltas[path].a if shared else random.standard_normal((rank, into)).astype(dtype)
        deltas[path] = LoraDelta(a, random.standard_normal((out, a.shape[0])).astype(dtype), scaling)
    return LoraAdapter("base", deltas)


def dense(parts, weights, path):
    """The formula, layer by layer, in float64."""
    return sum(
        w * p.deltas[path].scaling * (p.deltas[path].b.astype(float) @ p.deltas[path].a.astype(float))
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
    random = np.random.default_rng(seed)
    first = random_adapter(random, 3, dtype=dtype)
    parts = [
        random_adapter(random, rank, s, dtype, first if shared else None) for _, s, rank, shared in terms
    ]
    weights = [weight for weight, *_ in terms]
    whole = concat(parts, weights)
    tolerance = 1e-5 if dtype == np.float32 else 4e-3
    for path in SHAPES:
        size = sum(norm(dense([p], [w], path)) for p, w in zip(parts, weights, strict=True))
        assert norm(whole.deltas[path].weight() - dense(parts, weights, path)) <= tolerance * size


def test_parts_of_equal_a_keep_the_rank_and_the_others_add_theirs():
    random = np.random.default_rng(0)
    first = random_adapter(random, 3)
    second = random_adapter(random, shared=first)
    copy = LoraAdapter("base", {p: LoraDelta(d.a.copy(), d.b * 2, 1.0) for p, d in first.deltas.items()})
    other = random_adapter(random, 4)
    assert concat([first, second, copy], [0.2, 0.3, 0.5]).rank == 3
    assert concat([first, other, second], [0.2, 0.3, 0.5]).rank == 7


def test_averaging_a_and_b_separately_would_be_something_else():
    """The mistake this module exists to avoid: (sum w_i B_i)(sum w_i A_i) has cross terms."""
    random = np.random.default_rng(1)
    parts, weights = [random_adapter(random), random_adapter(random)], [0.5, 0.5]
    path = next(iter(SHAPES))
    a = sum(w * p.deltas[path].a for p, w in zip(parts, weights, strict=True))
    b = sum(w * p.deltas[path].b for p, w in zip(parts, weights, strict=True))
    want = dense(parts, weights, path)
    assert norm(concat(parts, weights).deltas[path].weight() - want) < 1e-5 * norm(want)
    assert norm(b @ a - want) > 0.2 * norm(want)


def test_a_part_may_lack_a_layer_and_a_weight_may_be_zero():
    random = np.random.default_rng(2)
    whole, third = random_adapter(random), random_adapter(random)
    path, missing = SHAPES
    partial = LoraAdapter("base", {path: third.deltas[path]})
    result = concat([whole, partial, third], [1.0, 0.5, 0.0])
    assert np.allclose(result.deltas[missing].weight(), whole.deltas[missing].weight())
    assert np.allclose(result.deltas[path].weight(), dense([whole, partial], [1.0, 0.5], path))


def test_one_part_keeps_its_tensors_and_its_weight_goes_into_the_scaling():
    part = random_adapter(np.random.default_rng(3), scaling=0.5)
    result = concat([part], [0.5])
    path = next(iter(SHAPES))
    assert result.deltas[path].b is part.deltas[path].b
    assert result.deltas[path].scaling == 0.25
    assert concat([part], [1.0]).digest == part.digest


def test_float16_parts_stay_float16_unless_it_would_lose_the_result():
    random = np.random.default_rng(4)
    parts = [random_adapter(random, dtype=np.float16) for _ in range(2)]
    path = next(iter(SHAPES))
    assert concat(parts, [0.5, 0.5]).deltas[path].b.dtype == np.float16
    tiny = concat(parts, [1e-7, 1e-7]).deltas[path]
    assert tiny.b.dtype == np.float32
    want = dense(parts, [1e-7, 1e-7], path)
    assert norm(tiny.weight() - want) < 1e-5 * norm(want)


def test_parts_that_do_not_belong_together_are_refused():
    random = np.random.default_rng(5)
    part = random_adapter(random)
    with pytest.raises(AdapterMismatch, match="different base models"):
        concat([part, LoraAdapter("other", part.deltas)], [0.5, 0.5])
    path = next(iter(SHAPES))
    wide = LoraAdapter("base", {path: LoraDelta(np.zeros((2, 8), np.float32), np.zeros((6, 2), np.float32), 1.0)})
    with pytest.raises(AdapterMismatch, match=r"\(6, 5\), \(6, 8\)"):
        concat([part, wide], [0.5, 0.5])
    with pytest.raises(ValueError, match="1 adapters and 2 weights"):
        concat([part], [0.5, 0.5])
    with pytest.raises(ValueError, match="other than 0"):
        concat([part], [0.0])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from(DTYPES), st.integers(0, 2**31))
def test_recompression_is_the_truncated_svd_and_tells_the_energy_it_kept(rank, target, dtype, seed):
    adapter = random_adapter(np.random.default_rng(seed), rank, 0.7, dtype)
    result = recompress(adapter, target)
    kept = total = 0.0
    for path, delta in adapter.deltas.items():
        u, s, vh = np.linalg.svd(delta.weight().astype(float), full_matrices=False)
        best = u[:, :target] * s[:target] @ vh[:target]
        tolerance = 1e-4 if dtype == np.float32 else 4e-3
        assert norm(result.adapter.deltas[path].weight() - best) <= tolerance * norm(s)
        assert result.adapter.deltas[path].rank <= target
        energy = s**2
        kept, total = kept + energy[:target].sum(), total + energy.sum()
        assert result.by_layer[path] == pytest.approx(float(energy[:target].sum() / energy.sum()), abs=1e-4)
    assert result.retained_energy == pytest.approx(float(kept / total), abs=1e-4)


def test_recompressing_a_stack_of_shared_directions_loses_nothing():
    random = np.random.default_rng(6)
    first = random_adapter(random, 2)
    doubled = LoraAdapter("base", {p: LoraDelta(d.a * 2, d.b, 1.0) for p, d in first.deltas.items()})
    stack = concat([first, doubled], [0.5, 0.5])
    assert stack.rank == 4
    result = recompress(stack, 2)
    assert result.adapter.rank == 2
    assert result.retained_energy == pytest.approx(1.0, abs=1e-6)


def test_a_zero_update_keeps_all_of_its_energy():
    zero = LoraAdapter("base", {"x": LoraDelta(np.ones((3, 4), np.float32), np.zeros((5, 3), np.float32), 1.0)})
    assert recompress(zero, 1).retained_energy == 1.0
    assert not recompress(zero, 1).adapter.deltas["x"].weight().any()


def test_padding_changes_the_rank_and_not_the_update():
    adapter = random_adapter(np.random.default_rng(7), 3, 0.3, np.float16)
    padded = pad(adapter, 8)
    for path, delta in padded.deltas.items():
        assert delta.rank == 8
        assert np.array_equal(delta.weight(), adapter.deltas[path].weight())
    with pytest.raises(ValueError, match="rank 3 cannot be padded to 2"):
        pad(adapter, 2)
    with pytest.raises(ValueError, match="at least 1"):
        recompress(adapter, 0)
