"""Weights: softmax over gains to begin with, trained networks afterwards, and what a request may override."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from adapters.compose import concat
from adapters.lora import LoraAdapter, LoraDelta
from t2l.composer import (
    TASK,
    Composer,
    ComposerError,
    ComposerSettings,
    WeightNetwork,
    given_weights,
    hierarchical_shares,
    load_network,
    near_groups,
    save_network,
    start_network,
)

E = 8
NAMES = ["adding", "naming", "summing"]
VECTORS = {
    "adding": torch.nn.functional.normalize(torch.tensor([1.0, 0.1, 0, 0, 0, 0, 0, 0]), dim=0),
    "naming": torch.nn.functional.normalize(torch.tensor([0.0, 0, 1, 0, 0, 0, 0, 0]), dim=0),
    "summing": torch.nn.functional.normalize(torch.tensor([1.0, 0.3, 0, 0, 0, 0, 0, 0]), dim=0),
}
GAINS = {"adding": 0.1, "naming": 0.5, "summing": 0.0}
TASK_EMBEDDING = torch.nn.functional.normalize(torch.arange(1.0, E + 1), dim=0)


def composer(mode: str = "learned", network: WeightNetwork | None = None, **settings: float) -> Composer:
    chosen = ComposerSettings(**settings)
    return Composer(network or start_network(E, chosen), chosen, VECTORS, GAINS, mode)


def test_untrained_weights_are_the_softmax_of_the_scaled_gains() -> None:
    weights = composer(task_share=0.0).weights(TASK_EMBEDDING, NAMES)
    odds = {name: math.exp(4 * gain) for name, gain in GAINS.items()}
    for name in NAMES:
        assert weights[name] == pytest.approx(odds[name] / sum(odds.values()), abs=1e-6)
    assert weights[TASK] == 0


def test_the_task_and_the_base_model_get_their_shares() -> None:
    weights = composer(task_share=0.25, no_adapter_share=0.2).weights(TASK_EMBEDDING, NAMES)
    assert weights[TASK] == pytest.approx(0.8 * 0.25)
    assert sum(weights.values()) == pytest.approx(0.8)
    assert composer().weights(TASK_EMBEDDING, []) == {TASK: 1.0}


def test_equal_mode_ignores_gains() -> None:
    weights = composer("equal", task_share=0.4).weights(TASK_EMBEDDING, NAMES)
    assert [weights[name] for name in NAMES] == pytest.approx([0.2] * 3)


def test_a_trained_network_moves_the_weights_with_the_task() -> None:
    network = start_network(E, ComposerSettings())
    torch.nn.init.normal_(network.outer.weight, generator=torch.Generator().manual_seed(1))
    trained = composer(network=network)
    assert trained.weights(TASK_EMBEDDING, NAMES) != composer().weights(TASK_EMBEDDING, NAMES)
    other = torch.nn.functional.normalize(torch.arange(float(E), 0, -1), dim=0)
    assert trained.weights(TASK_EMBEDDING, NAMES) != trained.weights(other, NAMES)


def test_near_skills_are_merged_first() -> None:
    rows = [VECTORS[name] for name in NAMES]
    assert near_groups(rows, 0.9) == [[0, 2], [1]]
    shares = hierarchical_shares(torch.zeros(3), rows, NAMES, 0.9)
    assert shares == pytest.approx({"adding": 0.25, "summing": 0.25, "naming": 0.5})
    weights = composer("hierarchical", task_share=0.0, gain_scale=0.0, near=0.9).weights(TASK_EMBEDDING, NAMES)
    assert weights["naming"] == pytest.approx(0.5)


def test_hierarchical_weights_equal_merging_in_two_steps() -> None:
    """sum over groups of g * (sum inside of w * part) == sum of (g * w) * part, layer by layer."""
    torch.manual_seed(0)
    deltas = {name: LoraDelta(torch.randn(2, 5).numpy(), torch.randn(4, 2).numpy(), 0.5) for name in NAMES}
    parts = {name: LoraAdapter("base", {"x": delta}) for name, delta in deltas.items()}
    logits = torch.tensor([0.3, -0.2, 0.9])
    shares = hierarchical_shares(logits, [VECTORS[name] for name in NAMES], NAMES, 0.9)
    flat = concat([parts[name] for name in NAMES], [shares[name] for name in NAMES])
    inside = logits[[0, 2]].softmax(0).tolist()
    merged = concat([parts["adding"], parts["summing"]], inside)
    outer = torch.stack([logits[[0, 2]].mean(), logits[1]]).softmax(0).tolist()
    nested = concat([merged, parts["naming"]], outer)
    assert np.allclose(flat.deltas["x"].weight(), nested.deltas["x"].weight(), atol=1e-6)


def test_single_linkage_joins_groups_that_a_later_row_bridges() -> None:
    angles = torch.tensor([0.0, 1.0, 0.5])
    rows = list(torch.stack([angles.cos(), angles.sin()], dim=1))
    assert near_groups(rows[:2], 0.8) == [[0], [1]]
    assert near_groups(rows, 0.8) == [[0, 1, 2]]


def test_saved_weights_come_back_with_their_settings(tmp_path: Path) -> None:
    settings = ComposerSettings(hidden=5, task_share=0.7, near=0.8)
    network = start_network(E, settings, seed=3)
    torch.nn.init.ones_(network.outer.weight)
    save_network(network, settings, tmp_path)
    loaded, loaded_settings = load_network(tmp_path, E)
    assert loaded_settings == settings
    pairs = torch.randn(2, 2 * E)
    assert torch.equal(loaded(pairs), network(pairs))
    assert Composer(loaded, settings, VECTORS, GAINS).digest == Composer(network, settings, VECTORS, GAINS).digest


def test_without_a_file_the_start_is_the_same_every_time(tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    one, settings = load_network(tmp_path, E)
    assert torch.equal(torch.random.get_rng_state(), before)
    two, _ = load_network(tmp_path, E)
    assert settings == ComposerSettings()
    assert Composer(one, settings, VECTORS, GAINS).digest == Composer(two, settings, VECTORS, GAINS).digest


def test_the_digest_depends_on_everything_that_decides_weights() -> None:
    digests = {
        composer().digest,
        composer("equal").digest,
        composer(task_share=0.4).digest,
        composer(network=start_network(E, ComposerSettings(), seed=1)).digest,
        Composer(start_network(E, ComposerSettings()), ComposerSettings(), VECTORS, GAINS | {"adding": 0.2}).digest,
    }
    assert len(digests) == 5


def test_an_unreadable_or_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "composer.safetensors"
    path.write_bytes(b"rubbish")
    with pytest.raises(ComposerError, match=r"composer\.safetensors is no readable composer"):
        load_network(tmp_path, E)
    save_network(start_network(E, ComposerSettings()), ComposerSettings(), tmp_path)
    with pytest.raises(ComposerError, match="embeddings of 16"):
        load_network(tmp_path, 16)


def test_given_weights_are_normalised_and_zeros_dropped() -> None:
    assert given_weights({"adding": 3, TASK: 1, "naming": 0}, NAMES) == {"adding": 0.75, TASK: 0.25}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"juggling": 1}, r"weights\.juggling: no such skill; there are adding, naming, summing, task"),
        ({"adding": -1}, r"weights\.adding: expected a finite number >= 0, not -1"),
        ({"adding": math.nan}, r"weights\.adding"),
        ({"adding": "1"}, r"weights\.adding"),
        ({"adding": True}, r"weights\.adding"),
        ({"adding": 0}, "weights sum to 0"),
        ({}, "weights sum to 0"),
        ({"adding": 1e308, "naming": 1e308}, "weights sum to inf"),
    ],
)
def test_unusable_weights_are_refused_by_name(weights: dict, message: str) -> None:
    with pytest.raises(ComposerError, match=message):
        given_weights(weights, NAMES)


def test_shares_outside_0_to_1_are_refused() -> None:
    with pytest.raises(ComposerError, match=r"task_share 1\.5"):
        ComposerSettings(task_share=1.5)
