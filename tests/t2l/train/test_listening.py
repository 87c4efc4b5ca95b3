"""t2l/train/listening.py: shares between the mean adapter and the text's own, what is measured, chosen, written."""

import json

import pytest
import torch

from t2l.gated import load_gated
from t2l.hypernetwork import CheckpointError
from t2l.train import listening
from t2l.train.data import Example
from t2l.train.listening import LOWS, SHARES, Listening, listening_sets, measure_listening, write_listening
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
    torch.testing.assert_close(always.gates(reading), raw)
    low, high = 0.3, 0.6
    rewrite(folder, listening=[low, high])
    network = load_gated(folder)
    nearest = network.nearest(reading.vectors)
    assert nearest[0] > high > nearest[1] > low > nearest[2]
    got, mean = network.gates(reading), network.unconditional
    torch.testing.assert_close(got[0], raw[0])
    torch.testing.assert_close(got[1], mean + (nearest[1] - low) / (high - low) * (raw[1] - mean))
    torch.testing.assert_close(got[2], mean)
    torch.testing.assert_close(network.gates(reading, 0.25), mean + 0.25 * (raw - mean))
    assert network.digest != always.digest
    assert network.generate(reading)[2].digest == network.multi_task().digest


@pytest.mark.parametrize("given", [0.5, [0.6, 0.3], [0.5, 0.5], [0.5], ["a", "b"], [0.1, 0.2, 0.3], None])
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
    torch.testing.assert_close(found.nearest["a"], network.nearest(WordEmbedder().embed(["up", "down", "right"])))
    assert found.at_low("a")[0] == found.at_share("a")[-1]
    assert found.at_low("a")[-1] == found.at_share("a")[0]
    write_listening(folder, found)
    assert load_gated(folder).config.listening == found.chosen
    written = json.loads((folder / "config.json").read_text())["training"]["listening"]["a"]
    assert written["loss_at_share"]["0.5"] == found.at_share("a")[2] and written["examples"] == 3


def test_where_near_texts_gain_by_listening_and_far_ones_lose_it_begins_between_them():
    falling, rising = torch.linspace(2, 1, len(SHARES))[:, None], torch.linspace(1, 2, len(SHARES))[:, None]
    found = Listening(
        {"near": falling.repeat(1, 2), "far": rising}, {"near": torch.tensor([0.8, 0.9]), "far": torch.tensor([0.5])}
    )
    assert found.at_share("near") == (2.0, 1.75, 1.5, 1.25, 1.0)
    low, high = found.chosen
    assert low >= 0.5 and high <= 0.8
    halfway = Listening({"near": falling}, {"near": torch.tensor([0.6 + 0.15 / 2])})
    assert halfway.at_low("near")[LOWS.index(0.6)] == pytest.approx(1.5, abs=1e-3)


def test_real_tasks_are_asked_as_served_and_pairs_by_the_description_alone(data):
    sets = listening_sets(data, 6, 0, 4)
    assert all(one.system == one.description for one in sets["unseen_task"])
    assert all(one.system == "" for one in sets["unseen_pair"])
    assert len(sets["unseen_task"]) == len(sets["unseen_pair"]) == 6
