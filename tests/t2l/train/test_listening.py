"""t2l/train/listening.py: whose adapter a text gets, what is measured, chosen, written."""

import json

import numpy as np
import pytest
import torch

from t2l.gated import followed, load_gated
from t2l.hypernetwork import CheckpointError
from t2l.train import listening
from t2l.train.data import Example
from t2l.train.listening import LOWS, SHARES, WIDTH, Listening, listening_sets, measure_listening, write_listening
from tests.t2l.train.test_hypernet import WordEmbedder, data, tiny_base
from tests.t2l.train.test_strengths import checkpoint

__all__ = ["data"]  # the fixture


@pytest.fixture
def folder(tmp_path):
    return checkpoint(tmp_path / "checkpoint")


def rewrite(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_known_text_is_followed_a_strange_one_gets_the_unconditional_and_between_them_a_mixture(folder):
    """The tiny checkpoint knows "up" and "left"."""
    reading = WordEmbedder().read(["up", "left right right", "down"])
    always = load_gated(folder)
    raw = always.network(reading.tokens)
    own = torch.zeros(3, len(always.config.shapes), 5, 5)
    own[..., :2, :2] = raw
    torch.testing.assert_close(always.gates(reading), own)
    low, high = 0.3, 0.6
    rewrite(folder, listening=[low, high])
    network = load_gated(folder)
    nearest, strange = network.nearest(reading.vectors)
    assert (strange < low).all()
    assert nearest[0] > high > nearest[1] > low > nearest[2]
    got, strange, share = network.gates(reading), network.unconditional_gates, float(nearest[1] - low) / (high - low)
    torch.testing.assert_close(got[0], own[0])
    torch.testing.assert_close(got[1], strange + share * (own[1] - strange))
    torch.testing.assert_close(got[2], strange)
    torch.testing.assert_close(network.gates(reading, 0.25), strange + 0.25 * (own - strange))
    assert network.digest != always.digest
    assert network.strengths(["a", "b", "c"], reading) == (1, 1, 1)
    rewrite(folder, listening=[low, high], strengths={"a": 0.5, "b": 0.5, "c": 0.0})
    assert load_gated(folder).strengths(["a", "b", "c"], reading) == pytest.approx([1, 0.5 + share / 2, 0])


def test_adapters_have_the_rank_of_what_their_texts_need_and_one_a(folder):
    rewrite(folder, listening=[0.3, 0.6])
    network = load_gated(folder)
    for texts, rank in ((["up", "left"], 2), (["down", "right"], 3), (["up", "down"], 5), (["left right right"], 5)):
        adapters = network.generate(reading := WordEmbedder().read(texts))
        assert {adapter.rank for adapter in adapters} == {rank}
        gates = network.gates(reading)
        for index, path in enumerate(network.config.shapes):
            a, b = network.stacked(path)
            for adapter, own in zip(adapters, gates, strict=True):
                wanted = network.config.scaling * b @ own[index] @ a.float()
                found = torch.from_numpy(adapter.deltas[path].weight())
                assert (found - wanted).norm() < 1e-3 * wanted.norm()  # float16's rounding of B
        assert all(adapters[0].deltas[path].a is adapters[-1].deltas[path].a for path in network.config.shapes)
    strange = network.generate(WordEmbedder().read(["down"]))[0]
    for path, delta in network.multi_task().deltas.items():
        np.testing.assert_allclose(strange.deltas[path].weight(), delta.weight(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("given", [0.5, [0.6, 0.3], [0.5, 0.5], [0.5], ["a", "b"], [0.1, 0.2, 0.3]])
def test_listening_that_is_no_range_is_refused(folder, given):
    rewrite(folder, listening=given)
    with pytest.raises(CheckpointError, match=r"config\.json: listening"):
        load_gated(folder)


def test_every_share_is_measured_and_the_best_range_is_written(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(listening, "load_base", tiny_base)
    examples = [Example(text, text, "", "one two", "left") for text in ("up", "down", "right")]
    network = load_gated(folder)
    found = measure_listening(network, tmp_path / "x.gguf", WordEmbedder(), {"a": examples, "b": examples[:1]})
    assert found.losses["a"].shape == (len(SHARES), 3) and found.losses["b"].shape == (len(SHARES), 1)
    assert len(set(found.at_share("a"))) == len(SHARES)
    nearest = network.nearest(WordEmbedder().embed(["up", "down", "right"]))
    for got, wanted in zip(found.nearest["a"], nearest, strict=True):
        torch.testing.assert_close(got, wanted)
    assert found.at_low("b")[0] == found.at_share("b")[-1]
    assert found.at_low("a")[-1] == found.at_share("a")[0]
    write_listening(folder, found)
    assert load_gated(folder).config.listening == found.chosen
    written = json.loads((folder / "config.json").read_text())["training"]["listening"]["a"]
    assert written["loss_at_share"]["0.5"] == found.at_share("a")[2] and written["examples"] == 3


def test_where_near_texts_gain_by_listening_and_far_ones_lose_it_begins_between_them():
    falling, rising = torch.linspace(2, 1, len(SHARES))[:, None], torch.linspace(1, 2, len(SHARES))[:, None]
    none = torch.zeros(1)
    near, far = (torch.tensor([0.8, 0.9]), none.expand(2)), (torch.tensor([0.5]), none)
    found = Listening({"near": falling.repeat(1, 2), "far": rising}, {"near": near, "far": far})
    assert found.at_share("near") == (2.0, 1.75, 1.5, 1.25, 1.0)
    low, high = found.chosen
    assert low >= 0.5 and high <= 0.8
    halfway = Listening({"near": falling}, {"near": (torch.tensor([0.6 + WIDTH / 2]), none)})
    assert halfway.at_low("near")[LOWS.index(0.6)] == pytest.approx(1.5, abs=1e-3)


def test_what_is_nearer_to_strange_texts_is_not_followed_however_near_to_known_ones():
    known, strange = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.4]), torch.tensor([0.2, 0.7, 0.85, 0.95, 0.0])
    torch.testing.assert_close(followed(known, strange, (0.5, 0.6)), torch.tensor([1, 1, 0.5, 0, 0]))


def test_real_tasks_are_asked_as_served_and_pairs_by_the_description_alone(data):
    sets = listening_sets(data, 6, 0, 4)
    assert all(one.system == one.description for one in sets["unseen_task"])
    assert all(one.system == "" for one in sets["unseen_pair"])
    assert len(sets["unseen_task"]) == len(sets["unseen_pair"]) == 6
