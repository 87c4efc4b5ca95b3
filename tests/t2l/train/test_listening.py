"""t2l/train/listening.py: shares between the mean adapter and the text's own, what is measured, chosen, written."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from t2l.gated import MEAN_GATES, load_gated
from t2l.hypernetwork import CheckpointError
from t2l.train import listening
from t2l.train.data import Example
from t2l.train.listening import SHARES, Listening, listening_sets, measure_listening, write_listening
from tests.t2l.train.test_hypernet import WordEmbedder, data, tiny_base
from tests.t2l.train.test_strengths import checkpoint

__all__ = ["data"]  # the fixture


@pytest.fixture
def folder(tmp_path):
    """The tiny checkpoint with mean gates of its own."""
    made = checkpoint(tmp_path / "checkpoint")
    tensors = load_file(made / "model.safetensors")
    network = load_gated(made)
    tensors[MEAN_GATES] = torch.rand(len(network.config.shapes), network.config.rank)
    save_file(tensors, made / "model.safetensors")
    return made


def rewrite(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_share_lies_between_the_mean_gates_and_the_texts_own(folder):
    embeddings = WordEmbedder().embed(["up", "left right"])
    whole = load_gated(folder)
    raw = whole.network(embeddings)
    torch.testing.assert_close(whole.gates(embeddings), raw, rtol=0, atol=0)
    rewrite(folder, listening=0.25)
    quarter = load_gated(folder)
    torch.testing.assert_close(quarter.gates(embeddings), whole.mean_gates + 0.25 * (raw - whole.mean_gates))
    torch.testing.assert_close(quarter.gates(embeddings, 1.0), raw)
    assert quarter.digest != whole.digest
    rewrite(folder, listening=0.0)
    (deaf, other) = load_gated(folder).generate(embeddings)
    assert deaf.digest == other.digest == whole.multi_task().digest


@pytest.mark.parametrize("share", [-0.1, 1.5, "much"])
def test_a_share_outside_0_to_1_is_refused(folder, share):
    rewrite(folder, listening=share)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_gated(folder)


def test_every_share_is_measured_and_the_best_of_both_sorts_is_written(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(listening, "load_base", tiny_base)
    examples = [Example(text, text, "", "one two", "left") for text in ("up", "down", "right")]
    network = load_gated(folder)
    found = measure_listening(network, tmp_path / "x.gguf", WordEmbedder(), {"a": examples, "b": examples[:1]})
    assert set(found.losses) == {"a", "b"} and all(len(row) == len(SHARES) for row in found.losses.values())
    assert len(set(found.losses["a"])) == len(SHARES)
    write_listening(folder, found)
    assert load_gated(folder).config.listening == found.share
    written = json.loads((folder / "config.json").read_text())["training"]["listening"]
    assert written["loss"]["a"]["0.5"] == found.losses["a"][2]


def test_both_sorts_count_the_same():
    assert Listening({"a": (3.0, 2.0, 1.0, 1.1, 1.2), "b": (1.0, 1.1, 1.3, 1.6, 2.0)}, 5).share == 0.5


def test_real_tasks_are_asked_as_served_and_pairs_by_the_description_alone(data):
    sets = listening_sets(data, 6, 0, 4)
    assert all(one.system == one.description for one in sets["unseen_task"])
    assert all(one.system == "" for one in sets["unseen_pair"])
    assert len(sets["unseen_task"]) == len(sets["unseen_pair"]) == 6
