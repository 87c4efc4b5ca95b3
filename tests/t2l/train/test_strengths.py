"""t2l/train/strengths.py: what is measured, what is chosen, what is written."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from adapters.lora import LoraAdapter, LoraDelta
from adapters.peft_file import write_peft
from t2l.decomposer import Decomposer
from t2l.embedder import open_embedder
from t2l.enhancer import Enhancer
from t2l.exemplars import Exemplars
from t2l.gated import UNCONDITIONAL, GateNetwork, load_gated
from t2l.listening import Classifier, Listening, save_listening
from t2l.skills import TASK, load_skills
from t2l.train import strengths
from t2l.train.base import adapted_shapes, answer_loss
from t2l.train.batches import collate, tokenize
from t2l.train.data import Example
from t2l.train.strengths import STRENGTHS, Calibration, calibrate, choose, collect, write_strengths
from tests.t2l.train.test_hypernet import WordEmbedder, tiny_base


def losses(*by_strength: list[float]) -> torch.Tensor:
    return torch.tensor(by_strength)


def test_a_strength_that_helps_beyond_the_noise_is_taken():
    assert choose(losses([2.0, 2.1, 1.9], [1.5, 1.6, 1.4], [1.0, 1.1, 0.9], [0.5, 0.6, 0.4], [0.8, 0.9, 0.7])) == 0.75


def test_an_adapter_that_harms_gets_strength_zero():
    assert choose(losses([1.0, 1.0, 1.0], [1.1, 1.2, 1.1], [1.5, 1.4, 1.3], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0])) == 0


def test_help_within_the_noise_is_not_taken():
    noisy = [1.9, 0.2, 0.8]  # better on the mean by 0.03, by luck with one of three
    assert choose(losses([1.0, 1.0, 1.0], *[noisy] * 4)) == 0


def test_items_are_collected_as_they_are_served_from_tasks_outside_training(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    infos = [
        {"task": "sums", "split": "eval", "descriptions": ["Solve the arithmetic problem."]},
        {"task": "more_sums", "split": "eval", "descriptions": ["Solve the equation for x."]},
    ]
    (folder / "task_descriptions.jsonl").write_text("\n".join(map(json.dumps, infos)))
    rows = [
        {"task": task, "split": split, "prompt": f"Q {split} {number} of {task}", "answer": "4"}
        for task in ("sums", "more_sums") for split in ("train", "dev", "test") for number in range(10)
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    skills, embedder = load_skills(None), open_embedder()
    decomposer = Decomposer(skills, embedder, Exemplars(skills, embedder), 0.4)
    found = collect(folder, Enhancer(skills), decomposer, 12, 0)
    assert TASK in found and len(found) > 1
    for candidates in found.values():
        assert len(candidates) == 12
        assert {one.task for one in candidates} == {"sums", "more_sums"}
        for one in candidates:
            assert " dev " in one.prompt
            assert one.system in ("Solve the arithmetic problem.", "Solve the equation for x.")
    assert found[TASK][0].description != found[next(name for name in found if name != TASK)][0].description


def checkpoint(folder):
    """For `tiny_base`: random gates, A and B on the last layers."""
    model, _ = tiny_base()
    shapes = adapted_shapes(model, 1)
    network = GateNetwork(WordEmbedder.dim, 4, len(shapes), 2)
    generator = torch.Generator().manual_seed(0)
    shaped = network.state_dict().items()
    tensors = {name: torch.randn(value.shape, generator=generator) * 0.3 for name, value in shaped}
    for path, (rows, columns) in shapes.items():
        tensors[f"lora.{path}.lora_a"] = torch.randn(2, columns, generator=generator).half()
        tensors[f"lora.{path}.lora_b"] = torch.randn(rows, 2, generator=generator).half()
    strange = {path: LoraDelta(torch.randn(3, columns, generator=generator).half().numpy(),
                               torch.randn(rows, 3, generator=generator).half().numpy(), 1.0)
               for path, (rows, columns) in shapes.items()}  # fmt: skip
    (folder / UNCONDITIONAL).mkdir(parents=True)
    write_peft(LoraAdapter("base", strange), folder / UNCONDITIONAL, "tiny")
    save_file(tensors, folder / "model.safetensors")
    config = {
        "family": "gated", "base_name": "tiny", "base_digest": "b" * 64, "embedder_digest": "e" * 64,
        "embedding_dim": WordEmbedder.dim, "rank": 2, "scaling": 1.0, "code_width": 4, "shapes": shapes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config | {"training": {"steps": 3}}))
    return folder


def listen_to(folder, word: str, low: float, high: float):
    """A checkpoint that follows texts by their cosine to a word's, from low to high."""
    classifier = Classifier(WordEmbedder.dim)
    for parameter in classifier.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():  # GELU of a large number is the number
        classifier[0].weight[0], classifier[2].weight[0, 0] = 1000 * WordEmbedder().embed([word])[0], 0.001
    save_listening(Listening(classifier, low, high), folder)
    return folder


def test_strength_zero_is_the_bare_model_and_every_other_strength_is_another_model(tmp_path, monkeypatch):
    monkeypatch.setattr(strengths, "load_base", tiny_base)
    network = load_gated(listen_to(checkpoint(tmp_path / "checkpoint"), "left", 0.5, 0.6))
    given = [
        Example("t", "down", "say left", prompt, answer)
        for prompt, answer in (("one two", "left"), ("two", "up down"), ("one one one", "right"))
    ] * 4
    known = [replace(one, description="left") for one in given]
    candidates = {"skill": given + known, "known": known}
    ((skill, found),) = calibrate(network, tmp_path / "x.gguf", WordEmbedder(), candidates).items()
    assert (skill, found.examples, found.tasks) == ("skill", 12, 1), "a strength is of what is strange alone"
    assert len(set(found.losses)) == len(STRENGTHS)
    model, tokenizer = tiny_base()
    bare = []
    for one in given:
        batch = collate([tokenize(tokenizer, one)])
        bare.append(answer_loss(model, batch.ids, batch.mask, batch.answer).mean().item())
    assert found.losses[0] == pytest.approx(sum(bare) / 12, abs=1e-4)


def test_the_choice_is_written_into_the_checkpoint_and_loads(tmp_path):
    folder = checkpoint(tmp_path / "checkpoint")
    before = load_gated(folder).digest
    write_strengths(folder, {"maths": Calibration(5, 2, (1.0, 0.9, 0.8, 0.9, 1.2), 0.5)})
    network = load_gated(folder)
    assert network.config.strengths == {"maths": 0.5}
    write_strengths(folder, {"code": Calibration(5, 2, (1.0, 0.9, 0.8, 0.9, 1.2), 1.0)})
    network = load_gated(folder)
    assert network.config.strengths == {"maths": 0.5, "code": 1.0}, "what was not measured keeps its strength"
    assert network.config.training["steps"] == 3
    assert network.config.training["strengths"]["maths"]["loss"]["0.5"] == 0.8
    assert network.digest != before, "caches must not serve adapters of other strengths"
    assert [path.name for path in folder.iterdir() if path.suffix == ".tmp"] == []
