"""t2l/train/composer.py: mixtures as the pipeline makes them, learning which part helps, keeping what is no better."""

from dataclasses import replace

import pytest
import torch

from adapters.compose import concat
from t2l.composer import Composer, ComposerSettings, start_network
from t2l.gated import load_gated
from t2l.skills import TASK
from t2l.train import composer
from t2l.train.composer import Mixed, Mixer, train_composer
from t2l.train.data import Example
from tests.t2l.train.test_hypernet import WordEmbedder, tiny_base
from tests.t2l.train.test_strengths import checkpoint, listen_to

SETTINGS = ComposerSettings(task_share=0.3)
NAMES = ("up", "down")


@pytest.fixture
def network(tmp_path):
    return load_gated(checkpoint(tmp_path / "checkpoint"))


def mixed(network, example: Example, texts=("say up", "say down")) -> Mixed:
    reading = WordEmbedder().read([*texts, example.description])
    gates = network.gates(reading).detach()
    vectors = WordEmbedder().embed(list(NAMES))
    pairs = torch.stack([torch.cat([reading.vectors[-1], vector]) for vector in vectors])
    return Mixed(example, gates, pairs, torch.tensor([0.4, 0.1]))


@pytest.mark.parametrize("listening", [False, True])
def test_the_mixture_is_the_composers(tmp_path, listening):
    """Its gates, put into the network's adapter, equal the pipeline's stack of weighted adapters."""
    folder = checkpoint(tmp_path / "checkpoint")
    network = load_gated(listen_to(folder, "left", 0.3, 0.9) if listening else folder)
    one = mixed(network, Example("t", "go left", "", "one", "left"))
    f_w = start_network(WordEmbedder.dim, SETTINGS)
    torch.nn.init.normal_(f_w.outer.weight)
    gates = Mixer(f_w, SETTINGS)(one).detach()
    vectors = dict(zip(NAMES, WordEmbedder().embed(list(NAMES)), strict=True))
    gains = {name: float(logit) / SETTINGS.gain_scale for name, logit in zip(NAMES, one.prior, strict=True)}
    weights = Composer(f_w, SETTINGS, vectors, gains).weights(WordEmbedder().embed(["go left"])[0], NAMES)
    parts = network.generate(WordEmbedder().read(["say up", "say down", "go left"]))
    whole = concat(parts, [weights[name] for name in (*NAMES, TASK)])
    for path, core in zip(network.config.shapes, gates, strict=True):
        a, b = network.stacked(path)
        expected = b @ core @ a.float()
        ours = torch.from_numpy(whole.deltas[path].weight())
        torch.testing.assert_close(ours, expected, atol=5e-3, rtol=2e-2)


def test_a_task_without_skills_gets_its_own_adapter(network):
    one = mixed(network, Example("t", "go left", "", "one", "left"), texts=())
    bare = Mixed(one.example, one.gates[-1:], torch.zeros(0, 2 * WordEmbedder.dim), torch.zeros(0))
    assert torch.equal(Mixer(start_network(WordEmbedder.dim, SETTINGS), SETTINGS)(bare), bare.gates[0])


def test_training_lowers_the_loss_and_is_repeatable(network, tmp_path, monkeypatch):
    monkeypatch.setattr(composer, "load_base", tiny_base)
    monkeypatch.setattr(composer, "LEARNING_RATE", 0.01)
    given = [mixed(network, Example("t", "go left", "", "one " * n, "left")) for n in (1, 2, 3)]
    given = [replace(one, gates=one.gates * torch.tensor([0.0, 4.0, -4.0])[:, None, None, None]) for one in given]
    runs = [train_composer(network, tmp_path / "x.gguf", given, given, SETTINGS, 100, 3, 1) for _ in range(2)]
    assert runs[0].trained < runs[0].untrained - 0.01
    assert runs[0].network is not None and runs[0].task_share != pytest.approx(SETTINGS.task_share, abs=1e-3)
    assert runs[0].trained == runs[1].trained


def test_what_is_no_better_is_not_kept(network, tmp_path, monkeypatch):
    monkeypatch.setattr(composer, "load_base", tiny_base)
    given = [mixed(network, Example("t", "go left", "", "one", "left"))]
    found = train_composer(network, tmp_path / "x.gguf", given, given, SETTINGS, 0, 1, 1)
    assert found.trained == found.untrained and found.network is None
