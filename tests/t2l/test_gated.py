"""The gate network: what an untrained one is, what bounds it, and that the batch around a text does not matter."""

import pytest
import torch

from t2l.embedder import Reading
from t2l.gated import GATE_RANGE, GateNetwork, load_gated
from t2l.hypernetwork import CheckpointError
from tests.t2l.train.test_strengths import checkpoint


def texts(*lengths):
    torch.manual_seed(1)
    return [torch.randn(length, 6) for length in lengths]


def network():
    torch.manual_seed(0)
    return GateNetwork(embedding_dim=6, code_width=8, modules=3, rank=2)


def test_an_untrained_network_is_the_multi_task_lora_for_any_text():
    gates = network()(texts(4, 1))
    assert torch.equal(gates, torch.eye(2).expand(2, 3, 2, 2))


def test_no_text_moves_a_gate_further_than_the_range():
    wild = network()
    for parameter in wild.parameters():
        torch.nn.init.normal_(parameter, std=50)
    far = (wild(texts(5, 3)) - torch.eye(2)).abs()
    assert 2 < far.max() <= GATE_RANGE


def test_a_texts_gates_do_not_depend_on_its_batch():
    moved = network()
    for parameter in moved.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    short, long = texts(2, 9)
    torch.testing.assert_close(moved([short, long])[0], moved([short])[0])


def test_what_two_heads_find_adds():
    """With attention fixed on one token each, changing one part of a text moves the gates alike, whatever the rest."""
    one = network()
    torch.nn.init.normal_(one.gate.weight, std=0.01)
    torch.nn.init.normal_(one.mix[1].weight, std=0.01)
    with torch.no_grad():
        one.query.bias.zero_()
        one.query.weight.zero_()
        one.query.weight[0, 0] = one.query.weight[1, 1] = 50  # head 0 reads tokens strong in 0, head 1 in 1
    first = [torch.tensor([4.0, 0, a, -a, 0, 0]) for a in (1.0, -1.0)]
    second = [torch.tensor([0, 4.0, 0, 0, b, -b]) for b in (1.0, -1.0)]
    for head in range(2, 8):  # the others see both parts: silence them
        one.code.weight.data[:, head * 64 : (head + 1) * 64] = 0
    gates = {(a, b): one([torch.stack([first[a], second[b]])])[0] for a in (0, 1) for b in (0, 1)}
    moved = gates[1, 0] - gates[0, 0]
    assert moved.abs().max() > 1e-3
    torch.testing.assert_close(gates[1, 1] - gates[0, 1], moved, atol=2e-4, rtol=0.02)


def test_readings_that_do_not_fit_are_refused(tmp_path):
    hypernetwork = load_gated(checkpoint(tmp_path / "checkpoint"))
    with pytest.raises(ValueError, match="reads tokens"):
        hypernetwork.generate(Reading(torch.zeros(2, 6)))
    with pytest.raises(ValueError, match=r"want \(k, 6\)"):
        hypernetwork.generate(Reading(torch.zeros(2, 5), tuple(texts(1, 1))))


def test_a_checkpoint_of_another_layout_is_refused_by_name(tmp_path):
    folder = checkpoint(tmp_path / "checkpoint")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"code_width": 4', '"code_width": 5'))
    with pytest.raises(CheckpointError, match="does not match"):
        load_gated(folder)
