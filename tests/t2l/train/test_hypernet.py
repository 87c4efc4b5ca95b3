"""Training on a tiny random model with a word tokenizer: the maths, the resumption, the exported checkpoint."""

import json
import random
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from adapters.lora import LoraAdapter
from t2l.embedder import Reading
from t2l.evaluate.data import DataError
from t2l.evaluate.torch_backend import TorchBackend
from t2l.gated import load_gated
from t2l.hypernetwork import CheckpointError
from t2l.train import hypernet
from t2l.train.base import GatedLora, adapted_shapes, answer_loss, load_base
from t2l.train.batches import bucketed, collate, tokenize
from t2l.train.data import Example
from t2l.train.hypernet import (
    MEAN_OVER,
    Trainer,
    TrainSettings,
    answer_weights,
    learning_rate,
)
from t2l.train.measure import ARMS, answer_scores, gibberish, means, others, steering

TEMPLATE = (
    "{% for m in messages %}<s> {{ m.role }} {{ m.content }} </s> {% endfor %}"
    "{% if add_generation_prompt %}<s> assistant {% endif %}"
)
WORDS = ["<pad>", "<unk>", "<s>", "</s>", "system", "user", "assistant", "one", "two", "up", "down", "left", "right"]


class WordEmbedder:
    """Counts of six words, unit length."""

    dim, digest = 6, "e" * 64

    def embed(self, texts):
        return self.read(texts).vectors

    def read(self, texts):
        """A word's state says which of the six it is."""
        said = [[[(word == w) + 0.01 for w in WORDS[-6:]] for word in text.split()] for text in texts]
        tokens = [torch.tensor(words).view(-1, self.dim) for words in said]
        vectors = torch.stack([states.sum(0) for states in tokens]) if tokens else torch.empty(0, self.dim)
        return Reading(torch.nn.functional.normalize(vectors, dim=-1), tuple(tokens))


def tiny_base(*_, **__):
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", chat_template=TEMPLATE)
    return Qwen2ForCausalLM(config).requires_grad_(False).eval(), tokenizer


@pytest.fixture
def data(tmp_path):
    """A folder with one training task and two held-out ones, by their hashes."""
    from t2l.train.data import is_held_out

    names = [f"t{i}" for i in range(50)]
    chosen = [next(n for n in names if not is_held_out(n)), *[n for n in names if is_held_out(n)][:2]]
    folder = tmp_path / "data"
    folder.mkdir()
    with (folder / "task_descriptions.jsonl").open("w") as file:
        for name in chosen:
            file.write(json.dumps({"task": name, "split": "train", "descriptions": ["say left", "go right"]}) + "\n")
    with (folder / "rows.jsonl").open("w") as file:
        for name in chosen:
            for split in ("train", "dev"):
                for i in range(12):
                    prompt, identity = f"one {'two ' * (i % 3)}", f"{name}{split}{i}"
                    row = {"task": name, "split": split, "prompt": prompt, "answer": "left", "meta": {"id": identity}}
                    file.write(json.dumps(row) + "\n")
    return folder


@pytest.fixture
def trainer(monkeypatch, tmp_path, data):
    monkeypatch.setattr(hypernet, "load_base", tiny_base)

    def make(run="run", **changes):
        small = {"steps": 4, "rank": 2, "first_layer": 1, "code_width": 8, "warmup": 1, "procedural_share": 0.0}
        settings = TrainSettings(**small | {"eval_examples": 3, "eval_every": 4, "save_every": 2} | changes)
        return Trainer(settings, tmp_path / "x.gguf", "tiny", "b" * 64, data, tmp_path / run, WordEmbedder())

    return make


def test_a_gated_layer_adds_scaling_times_b_z_a_x():
    linear = torch.nn.Sequential(torch.nn.Linear(6, 5)).requires_grad_(False)
    lora = GatedLora({"0": (5, 6)}, 3, 2.0, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(lora.b[0])
    x, gates = torch.randn(2, 4, 6), torch.randn(2, 1, 3, 3)
    bare = linear(x)
    lora.attach(linear)
    lora.gates = gates
    for i in range(2):
        delta = 2.0 * lora.b[0] @ gates[i, 0] @ lora.a[0]
        torch.testing.assert_close(linear(x)[i], bare[i] + x[i] @ delta.T)
    lora.gates = None
    torch.testing.assert_close(linear(x), bare)


def test_the_answer_loss_is_that_of_the_full_logits_at_answer_positions():
    model, tokenizer = tiny_base()
    examples = [Example("t", "", "", "one two", "left right"), Example("t", "", "up", "one", "down")]
    rows = [tokenize(tokenizer, example) for example in examples]
    batch = collate(rows)
    got = answer_loss(model, batch.ids, batch.mask, batch.answer)
    expected = []
    for row in rows:
        ids = torch.tensor([row.ids])
        logits = model(ids).logits[0].log_softmax(-1)
        expected += [-logits[i - 1, ids[0, i]] for i in range(row.answer_start, len(row.ids))]
    torch.testing.assert_close(got, torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_teacher_forced_exact_match_equals_greedy_decoding():
    model, tokenizer = tiny_base()
    prompt = tokenizer("one two", return_tensors="pt")["input_ids"]
    greedy = model.generate(prompt, max_new_tokens=2, do_sample=False, eos_token_id=None, pad_token_id=0)[0]
    from t2l.train.batches import Tokens

    example = Example("t", "", "", "", "")
    wrong = (*greedy.tolist()[:-1], (int(greedy[-1]) + 1) % len(WORDS))
    batch = collate([Tokens(example, tuple(greedy.tolist()), 2), Tokens(example, wrong, 2)])
    assert answer_scores(model, batch)[1].tolist() == [True, False]


def test_an_empty_system_message_is_kept_as_the_server_keeps_it():
    _, tokenizer = tiny_base()
    row = tokenize(tokenizer, Example("t", "", "", "one", "left"))
    assert tokenizer.decode(row.ids) == "<s> system </s> <s> user one </s> <s> assistant left </s>"
    assert tokenizer.decode(row.ids[row.answer_start :]) == "left </s>"


def test_batches_hold_every_row_once_within_the_token_budget():
    _, tokenizer = tiny_base()
    rows = [tokenize(tokenizer, Example(str(i), "", "", "one " * i, "left")) for i in range(20)]
    batches = bucketed(rows, 60, random.Random(0))
    assert sorted(row.example.task for batch in batches for row in batch) == sorted(str(i) for i in range(20))
    assert all(len(batch) == 1 or max(len(r.ids) for r in batch) * len(batch) <= 60 for batch in batches)


def test_the_base_is_bfloat16_where_that_is_faster_and_what_is_asked_for_elsewhere(tmp_path, monkeypatch):
    path, asked = tmp_path / "x.gguf", []
    path.write_bytes(b"weights")
    tokenizer = SimpleNamespace(chat_template="{{ messages }}")
    model = SimpleNamespace(requires_grad_=lambda _: model, to=lambda _: model, eval=lambda: model)
    model.config = SimpleNamespace(max_position_embeddings=99)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, dtype, **__: asked.append(dtype) or model)
    for fast in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda fast=fast: fast)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        load_base(path)
    load_base(path, "cpu", torch.float32)
    TorchBackend(path)
    assert asked == [torch.bfloat16, torch.float32, torch.float32, torch.float32]


def test_a_bfloat16_base_trains_float32_adapters(trainer, monkeypatch):
    model, tokenizer = tiny_base()
    monkeypatch.setattr(hypernet, "load_base", lambda *_: (model.to(torch.bfloat16), tokenizer))
    run = trainer(steps=12, eval_every=0)
    before = [b.clone() for b in run.lora.b]
    records = []
    run.fit(records.append)
    assert records[-1]["loss"] < records[0]["loss"]
    assert all(b.dtype == torch.float32 and not torch.equal(b, old) for b, old in zip(run.lora.b, before, strict=True))


def test_training_lowers_the_loss_and_logs_development_scores(trainer):
    records = []
    trainer(steps=60, eval_every=60, lora_lr=1e-2).fit(records.append)
    assert sum(record["loss"] for record in records[-10:]) / 10 < records[0]["loss"] - 0.2
    assert set(records[-1]["dev"]) == {"unseen_pair", "unseen_operation", "unseen_task"}
    assert set(records[-1]["dev"]["unseen_task"]) == {"base", "own", "other", "gibberish"}


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(trainer):
    whole = trainer("whole", save_every=100)
    whole.fit()
    first = trainer("halves")

    class Stop(Exception):
        pass

    def stop(record):
        if record["step"] == 2:
            raise Stop

    with pytest.raises(Stop):
        first.fit(stop)
    second = trainer("halves")
    second.resume()
    assert second.step == 2
    torch.testing.assert_close(second.lora.b[0], first.lora.b[0])
    second.fit()
    assert second.step == whole.step == 4


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"breadth": 2}, {"procedural_share": 0.5}, {"lettered_share": 0.0},
     {"family": "plain"}, {"rank": 3}],
)  # fmt: skip
def test_a_run_goes_on_under_its_own_settings_only(trainer, changes):
    """Another seed, family or share once went on in silence, and the export told of the new one."""
    first = trainer(steps=1, eval_every=0)
    first.fit()
    kept = (first.run / "state.pt").read_bytes()
    (name,) = changes
    with pytest.raises(CheckpointError, match=rf"trained with {name} .*, now {changes[name]}.*--run"):
        trainer(**changes).fit()
    assert (first.run / "state.pt").read_bytes() == kept
    assert trainer(steps=2, decay_share=0.5, eval_every=0, save_every=1).fit()["step"] == 2


def test_a_run_goes_on_with_its_own_base_embedder_and_data_only(trainer, data, tmp_path):
    first = trainer(steps=1, eval_every=0)
    first.fit()

    class Other(WordEmbedder):
        digest = "f" * 64

    settings, gguf = first.settings, tmp_path / "x.gguf"
    for base, embedder, name in (("c" * 64, WordEmbedder(), "base model"), ("b" * 64, Other(), "embedder")):
        with pytest.raises(CheckpointError, match=f"trained with {name} "):
            Trainer(settings, gguf, "tiny", base, data, first.run, embedder).resume()
    (data / "rows.jsonl").write_text((data / "rows.jsonl").read_text().replace("left", "right"))
    with pytest.raises(CheckpointError, match="trained with data "):
        trainer(steps=1, eval_every=0).resume()


def test_a_run_goes_on_from_its_own_start_and_not_with_fewer_steps(trainer, tmp_path):
    first = trainer("first", steps=2, eval_every=0)
    first.fit()
    first.export(tmp_path / "start", {})
    begun = trainer(steps=2, eval_every=0)
    begun.start_from(tmp_path / "start")
    begun.fit()
    again = trainer(steps=2, eval_every=0)
    with pytest.raises(CheckpointError, match="trained with start "):
        again.fit()
    with pytest.raises(CheckpointError, match="has done 2 steps already"):
        trainer("first", steps=1, eval_every=0).fit()
    assert trainer("first", steps=2, eval_every=0).fit()["step"] == 2, "of a finished run, the last record"


def test_examples_that_fit_no_batch_are_said(trainer):
    with pytest.raises(DataError, match=r"none fits --batch-tokens 6, the shortest has \d+"):
        trainer(steps=1, eval_every=0, batch_tokens=6).fit()


def test_a_state_that_does_not_say_what_it_was_trained_with_is_refused(trainer):
    first = trainer(steps=1, eval_every=0)
    first.fit()
    state = torch.load(first.run / "state.pt", weights_only=True)
    del state["made_of"]
    torch.save(state, first.run / "state.pt")
    with pytest.raises(CheckpointError, match="does not say"):
        trainer(steps=1, eval_every=0).resume()


def test_a_text_to_lora_style_run_starts_at_the_bare_model_and_learns_to_listen(trainer):
    run = trainer(family="generated", steps=30, eval_every=30, lora_lr=1e-2)
    assert run.lora.paths and all(path.endswith(("q_proj", "v_proj")) for path in run.lora.paths)
    example = Example("t", "say left", "", "one two", "left")
    batch = collate([tokenize(run.tokenizer, example)])
    run.lora.gates = run._gates(["say left"])
    start = answer_loss(run.model, batch.ids, batch.mask, batch.answer)
    run.lora.gates = None
    torch.testing.assert_close(start, answer_loss(run.model, batch.ids, batch.mask, batch.answer))
    records = []
    run.fit(records.append)
    assert records[-1]["loss"] < records[0]["loss"] - 0.1
    with torch.no_grad():
        codes = run._gates(["say left", "go right"])
        a, b = (run.lora.head_b["q_proj"](code[0]) for code in codes)
    assert not torch.equal(a, b)
    with pytest.raises(CheckpointError, match="not exported"):
        run.export(run.run / "checkpoint", {})


def test_the_plain_multi_task_lora_leaves_its_gates_alone(trainer):
    run = trainer(family="plain")
    before = {name: tensor.clone() for name, tensor in run.gates.state_dict().items()}
    run.fit()
    assert all(torch.equal(before[name], tensor) for name, tensor in run.gates.state_dict().items())
    assert run.lora.b[0].abs().sum() > 0


def test_the_exported_checkpoint_generates_what_was_trained(trainer, tmp_path):
    run = trainer(steps=6, gate_lr=0.005)
    run.fit()
    drawn = run.mixture.state()
    run.export(tmp_path / "checkpoint", {"note": "test"})
    network = load_gated(tmp_path / "checkpoint")
    reading = WordEmbedder().read(["say left", "go right"])
    adapters = network.generate(reading)
    gates = run.gates(reading.tokens)
    for row, adapter in enumerate(adapters):
        for index, path in enumerate(run.lora.paths):
            expected = 2.0 * run.lora.b[index] @ gates[row, index] @ run.lora.a[index]
            weight = torch.from_numpy(adapter.deltas[path].weight())
            torch.testing.assert_close(weight, expected.detach(), atol=2e-4, rtol=2e-2)
    assert adapters[0].digest != adapters[1].digest
    assert all(a.a is b.a for a, b in zip(adapters[0].deltas.values(), adapters[1].deltas.values(), strict=True))
    run.mixture.restore(drawn)
    mean = run._gates([one.description for one in run.mixture.draw(MEAN_OVER)]).mean(0)
    weight = torch.from_numpy(network.multi_task().deltas[run.lora.paths[0]].weight())
    expected = 2.0 * run.lora.b[0] @ mean[0] @ run.lora.a[0]
    torch.testing.assert_close(weight, expected.detach(), atol=2e-4, rtol=2e-2)


def test_an_export_may_take_its_unconditional_adapter_from_elsewhere(trainer, tmp_path):
    run = trainer(steps=1, eval_every=0)
    run.fit()
    other = run.mean_adapter()
    other = LoraAdapter(other.base_digest, {path: replace(one, scaling=1.0) for path, one in other.deltas.items()})
    run.export(tmp_path / "checkpoint", {}, other)
    assert load_gated(tmp_path / "checkpoint").multi_task().digest == other.digest
    before = load_gated(tmp_path / "checkpoint").digest
    assert not run.export(tmp_path / "checkpoint", {}, other)
    third = LoraAdapter(other.base_digest, {path: replace(one, scaling=0.5) for path, one in other.deltas.items()})
    assert run.export(tmp_path / "checkpoint", {}, third)
    after = load_gated(tmp_path / "checkpoint")
    assert after.multi_task().digest == third.digest and after.digest != before
    path, *_ = other.deltas
    few = LoraAdapter(other.base_digest, {path: other.deltas[path]})
    with pytest.raises(CheckpointError, match="is None, the hypernetwork's"):
        run.export(tmp_path / "checkpoint", {}, few)


@pytest.mark.parametrize("missing", ["unconditional", "unconditional/adapter_config.json"])
def test_a_checkpoint_without_one_of_its_parts_is_refused(trainer, tmp_path, missing):
    folder, run = tmp_path / "checkpoint", trainer(steps=1, eval_every=0)
    run.fit()
    run.export(folder, {})
    if (folder / missing).is_dir():
        shutil.rmtree(folder / missing)
    else:
        (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=missing.split("/")[0]):
        load_gated(folder)


def test_a_run_may_begin_at_a_checkpoint_and_the_multi_task_lora_at_the_unconditional_adapter(trainer, tmp_path):
    first = trainer(steps=6, gate_lr=0.05)
    first.fit()
    first.export(tmp_path / "checkpoint", {})
    again = trainer("again")
    again.start_from(tmp_path / "checkpoint")
    torch.testing.assert_close(again.lora.b[0], first.lora.b[0], atol=1e-3, rtol=1e-2)
    for name, trained in first.gates.state_dict().items():
        assert torch.equal(again.gates.state_dict()[name], trained.half().float()), "a checkpoint is float16"
    plain = trainer("plain", family="plain")
    plain.start_from(tmp_path / "checkpoint")
    assert not torch.allclose(plain.lora.b[0], first.lora.b[0], atol=1e-4)
    strange = load_gated(tmp_path / "checkpoint").multi_task().deltas[plain.lora.paths[0]]
    torch.testing.assert_close(plain.lora.b[0].detach(), torch.from_numpy(strange.b).float())
    with pytest.raises(CheckpointError, match="rank"):
        trainer("other", rank=3).start_from(tmp_path / "checkpoint")


def test_a_damaged_checkpoint_is_named(trainer, tmp_path):
    run = trainer(steps=1)
    run.fit()
    run.export(tmp_path / "checkpoint", {})
    config = json.loads((tmp_path / "checkpoint/config.json").read_text())
    config["rank"] = 3
    (tmp_path / "checkpoint/config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="lora_a"):
        load_gated(tmp_path / "checkpoint")
    (tmp_path / "checkpoint/model.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="readable"):
        load_gated(tmp_path / "checkpoint")


def test_the_learning_rate_warms_up_stays_and_decays():
    settings = TrainSettings(steps=100, warmup=10)
    assert learning_rate(0, settings) == pytest.approx(0.1)
    assert learning_rate(50, settings) == 1.0
    assert learning_rate(90, settings) == pytest.approx(0.5)


def test_gibberish_has_the_word_lengths_of_the_text():
    text = "sort the numbers"
    assert [len(word) for word in gibberish(text, random.Random(0)).split()] == [4, 3, 7]
    assert gibberish(text, random.Random(0)) != gibberish(text, random.Random(1))


def test_adapted_shapes_start_at_the_first_layer():
    model, _ = tiny_base()
    shapes = adapted_shapes(model, 2)
    assert len(shapes) == 7 and shapes["model.layers.2.mlp.down_proj"] == (16, 24)


def test_steering_tells_every_arm_of_every_example_in_order():
    model, tokenizer = tiny_base()
    lora = GatedLora({path: shape for path, shape in adapted_shapes(model, 1).items()}, 2, 2.0,
                     torch.Generator().manual_seed(0))  # fmt: skip
    for b in lora.b:
        torch.nn.init.normal_(b)
    lora.attach(model)
    prompts = ["one two two two", "one", "one two"]
    texts = ["up", "down", "right"]
    examples = [Example(text, text, "", prompt, "left") for text, prompt in zip(texts, prompts, strict=True)]
    same = torch.eye(2).expand(len(lora.paths), 2, 2)

    def gates_of(texts):
        return torch.stack([same * len(text) for text in texts])

    mean = same * 2
    found = steering(model, tokenizer, lora, gates_of, {"set": examples}, 512, arms=ARMS, unconditional=mean)["set"]
    assert set(found) == set(ARMS)
    for arm, gates, system in (("own", 2.0, ""), ("mt-lora", 2.0, ""), ("base", None, ""), ("base-desc", None, "up")):
        lora.gates = None if gates is None else gates * same[None]
        batch = collate([tokenize(tokenizer, replace(examples[0], system=system))])
        loss, hit = answer_scores(model, batch)
        assert found[arm]["loss"][0] == pytest.approx(loss.mean().item(), abs=1e-5), arm
        assert found[arm]["exact"][0] == float(hit[0])
    assert means({"set": found})["set"]["own"]["loss"] == pytest.approx(sum(found["own"]["loss"]) / 3, abs=1e-4)


def test_another_description_is_another_tasks():
    tasks = ["a", "b", "c"] * 4  # a rotation by half would give every example its own task's
    told = others(tasks, [f"{task} {n}" for n, task in enumerate(tasks)])
    assert all(text.split()[0] != task for text, task in zip(told, tasks, strict=True))
    assert len(set(told)) > 6
    assert others(["a", "a", "a", "b"], list("wxyz")) == ["z", "z", "z", "x"]


def test_a_set_of_one_task_has_no_other_arm():
    model, tokenizer = tiny_base()
    lora = GatedLora(adapted_shapes(model, 1), 2, 2.0, torch.Generator())
    lora.attach(model)
    examples = [Example("t", text, "", "one", "left") for text in ("up", "down")]
    found = steering(model, tokenizer, lora, lambda texts: None, {"set": examples}, 512, arms=("own", "other"))
    assert set(found["set"]) == {"own"}


def test_an_export_takes_away_the_composer_of_another_network(trainer, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/composer.safetensors").write_bytes(b"old")
    run = trainer(steps=1)
    run.fit()
    run.export(tmp_path / "checkpoint", {})
    left = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert left == ["config.json", "model.safetensors", "unconditional"]


SINCE = ("composer.safetensors", "listening.safetensors")


def test_exporting_the_same_weights_again_keeps_what_was_calibrated(trainer, tmp_path):
    """The command of a finished run, given once more, took strengths, listening and composer with it."""
    folder, run = tmp_path / "checkpoint", trainer(steps=1, eval_every=0)
    run.fit()
    assert run.export(folder, {})
    config = json.loads((folder / "config.json").read_text()) | {"strengths": {"code": 0.5}}
    (folder / "config.json").write_text(json.dumps(config))
    for name in SINCE:
        (folder / name).write_bytes(b"trained since")
    again = trainer(steps=1, eval_every=0)
    again.fit()
    assert not again.export(folder, {})
    assert json.loads((folder / "config.json").read_text())["strengths"] == {"code": 0.5}
    assert all((folder / name).exists() for name in SINCE)
    further = trainer(steps=2, eval_every=0)
    further.fit()
    assert further.export(folder, {})
    assert not load_gated(folder).config.strengths and not any((folder / name).exists() for name in SINCE)


def test_a_folder_without_unseen_tasks_can_be_trained_on(trainer, data):
    from t2l.evaluate.data import is_held_out

    kept = [x for x in (data / "rows.jsonl").read_text().splitlines() if not is_held_out(json.loads(x)["task"])]
    (data / "rows.jsonl").write_text("\n".join(kept))
    assert "unseen_task" not in trainer(steps=1, eval_every=1).fit()["dev"]


def test_a_long_answer_weighs_more_than_a_short_one_but_not_by_its_length():
    _, tokenizer = tiny_base()
    rows = [tokenize(tokenizer, Example("t", "d", "", "one", answer)) for answer in ("left", "left right up")]
    weights = answer_weights(collate(rows))
    assert weights.tolist() == pytest.approx([2**-0.5] * 2 + [4**-0.5] * 4)
