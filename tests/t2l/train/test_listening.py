"""t2l/train/listening.py: whose adapter a text gets, what is learnt, measured, chosen, written."""

import json

import numpy as np
import pytest
import torch

from t2l.gated import load_gated
from t2l.listening import Classifier, save_listening
from t2l.train import listening
from t2l.train.data import Example
from t2l.train.listening import LOWS, MOST_FOLLOWED, NEVER, SHARES, Found, calibrated, learn, listening_sets, measure
from tests.t2l.train.test_hypernet import WordEmbedder, data, tiny_base
from tests.t2l.train.test_strengths import checkpoint, listen_to

__all__ = ["data"]  # the fixture


@pytest.fixture
def folder(tmp_path):
    return checkpoint(tmp_path / "checkpoint")


def test_a_known_text_is_followed_a_strange_one_gets_the_unconditional_and_between_them_a_mixture(folder):
    reading = WordEmbedder().read(["left", "left right right", "down"])
    always = load_gated(folder)
    raw = always.network(reading.tokens)
    own = torch.zeros(3, len(always.config.shapes), 5, 5)
    own[..., :2, :2] = raw
    torch.testing.assert_close(always.gates(reading), own)
    cosines = WordEmbedder().embed(["left right right", "down"]) @ WordEmbedder().embed(["left"])[0]
    low, high = 0.3, 0.6
    assert high > cosines[0] > low > cosines[1]
    network = load_gated(listen_to(folder, "left", low, high))
    got, strange, share = network.gates(reading), network.unconditional_gates, float(cosines[0] - low) / (high - low)
    torch.testing.assert_close(got[0], own[0])
    torch.testing.assert_close(got[1], strange + share * (own[1] - strange), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(got[2], strange)
    torch.testing.assert_close(network.gates(reading, 0.25), strange + 0.25 * (own - strange))
    assert network.digest != always.digest, "caches must not serve adapters of another listening"
    assert network.strengths(["a", "b", "c"], reading) == (1, 1, 1)
    assert network.known(reading) == pytest.approx((1, share, 0), abs=1e-3)
    assert always.known(reading) == (0, 0, 0), "before it is calibrated it cannot tell"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"strengths": {"a": 0.5, "b": 0.5, "c": 0.0}}))
    expected = pytest.approx([1, 0.5 + share / 2, 0], abs=1e-3)
    assert load_gated(folder).strengths(["a", "b", "c"], reading) == expected


def test_adapters_have_the_rank_of_what_their_texts_need_and_one_a(folder):
    network = load_gated(listen_to(folder, "left", 0.3, 0.6))
    for texts, rank in ((["left"], 2), (["down", "right"], 3), (["left", "down"], 5), (["left right right"], 5)):
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


def test_a_classifier_learns_to_tell_texts_apart_and_the_same_one_for_a_seed():
    embed = WordEmbedder().embed
    known, strange = embed(["left", "left up", "up left left"] * 40), embed(["down", "down right", "right one"] * 40)
    state = torch.random.get_rng_state()
    classifier = learn(known, strange, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert classifier(known).min() > 1 and classifier(strange).max() < -1
    torch.testing.assert_close(learn(known, strange, 1)(known), classifier(known))


def test_every_share_is_measured_and_the_best_range_is_written(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(listening, "load_base", tiny_base)
    monkeypatch.setattr(listening, "PROMPTS", 20)
    examples = [Example(text, text, "", "one two", "left") for text in ("up", "down", "right")]
    torch.manual_seed(0)
    classifier = Classifier(WordEmbedder.dim)
    sets = {"a": examples, "b": examples[:1]}
    found = measure(load_gated(folder), classifier, tmp_path / "x.gguf", WordEmbedder(), sets, 0)
    assert found.losses["a"].shape == (len(SHARES), 3) and found.losses["b"].shape == (len(SHARES), 1)
    assert len(set(found.at_share("a"))) == len(SHARES)
    torch.testing.assert_close(found.logits["a"], classifier(WordEmbedder().embed(["up", "down", "right"])))
    assert found.prompts.shape == (60,), "bare and in the pipeline's two wordings"
    assert found.at_low("a")[-1] == found.at_share("a")[0]
    save_listening(calibrated(classifier, found), folder)
    written = load_gated(folder).listening
    assert written.low == found.chosen
    assert written.training["a"]["loss_at_share"]["0.5"] == found.at_share("a")[2]
    assert written.training["a"]["examples"] == 3


FALLING, RISING = torch.linspace(2, 1, len(SHARES))[:, None], torch.linspace(1, 2, len(SHARES))[:, None]


def test_where_known_texts_gain_by_listening_and_strange_ones_lose_it_begins_between_them():
    near, far, silent = torch.tensor([3.0, 3.5]), torch.tensor([0.5]), torch.full((100,), -9.0)
    found = Found({"near": FALLING.repeat(1, 2), "far": RISING}, {"near": near, "far": far}, silent)
    assert found.at_share("near") == (2.0, 1.75, 1.5, 1.25, 1.0)
    assert 0.5 <= found.chosen <= 2
    halfway = Found({"near": FALLING}, {"near": torch.tensor([1.5])}, silent)
    assert halfway.at_low("near")[LOWS.index(1.0)] == pytest.approx(1.5, abs=1e-3)


def test_system_prompts_are_not_followed_whatever_the_loss_would_gain():
    prompts = torch.cat([torch.full((148,), -9.0), torch.tensor([2.5, 2.9])])
    found = Found({"near": FALLING}, {"near": torch.tensor([3.0])}, prompts)
    assert found.chosen == 2.0
    assert found.prompts_followed()[LOWS.index(2.0)] <= MOST_FOLLOWED < found.prompts_followed()[LOWS.index(1.0)]
    loud = Found({"near": FALLING}, {"near": torch.tensor([3.0])}, torch.full((10,), 9.0))
    assert loud.chosen == NEVER


def test_real_tasks_are_asked_as_served_and_pairs_by_the_description_alone(data):
    sets = listening_sets(data, 6, 0, 4)
    assert all(one.system == one.description for one in sets["unseen_task"])
    assert all(one.system == "" for one in sets["unseen_pair"])
    assert len(sets["unseen_task"]) == len(sets["unseen_pair"]) == 6
