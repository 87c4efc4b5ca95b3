"""The evaluation's two models, engine and torch, over one tiny file: they must agree, and the command must
run.
"""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adapters.gguf_file import BaseModel
from adapters.lora import LoraAdapter, LoraDelta
from adapters.peft_file import write_peft
from proxy import cli
from proxy.config import EngineConfig
from proxy.engine.engine import Engine
from proxy.eval_backend import EngineBackend
from t2l.embedder import open_embedder
from t2l.evaluate.backend import BackendError
from t2l.evaluate.torch_backend import TorchBackend
from t2l.gated import UNCONDITIONAL, GateNetwork

HIDDEN, KV, LAYERS, RANK = 64, 32, 2, 4
ARMS = "base,base-desc,3-shot,mt-lora,mt-lora-desc,t2l,t2l-other,t2l-gibberish,oracle,et2l"
ASKED = ({"role": "system", "content": ""}, {"role": "user", "content": "Which one?"})


def shapes() -> dict[str, tuple[int, int]]:
    return {
        f"model.layers.{layer}.self_attn.{name}": (rows, HIDDEN)
        for layer in range(LAYERS) for name, rows in (("q_proj", HIDDEN), ("v_proj", KV))
    }  # fmt: skip


def random_adapter(base: BaseModel, seed: int = 0) -> LoraAdapter:
    generator = torch.Generator().manual_seed(seed)
    return LoraAdapter(
        base.digest,
        {
            path: LoraDelta(
                torch.randn(RANK, columns, generator=generator).numpy(),
                torch.randn(rows, RANK, generator=generator).numpy(),
                0.05,
            )
            for path, (rows, columns) in shapes().items()
        },
    )


def write_checkpoint(folder: Path, base: BaseModel) -> Path:
    """A gated checkpoint with random weights for the tiny model, strong enough for descriptions to matter."""
    embedder = open_embedder()
    folder.mkdir()
    config = {
        "family": "gated", "base_name": "tiny", "base_digest": base.digest, "embedder_digest": embedder.digest,
        "embedding_dim": embedder.dim, "rank": RANK, "scaling": 0.3, "code_width": 8, "shapes": shapes(),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(0)
    network = GateNetwork(embedder.dim, 8, len(shapes()), RANK)
    tensors = {
        name: torch.randn(value.shape, generator=generator) * 0.3
        for name, value in network.state_dict().items()
    }
    for path, (rows, columns) in shapes().items():
        tensors[f"lora.{path}.lora_a"] = torch.randn(RANK, columns, generator=generator).half()
        tensors[f"lora.{path}.lora_b"] = torch.randn(rows, RANK, generator=generator).half()
    (folder / UNCONDITIONAL).mkdir()
    write_peft(random_adapter(base), folder / UNCONDITIONAL, "tiny")
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_engine_and_torch_agree_on_answers_losses_and_options(make_engine, tiny_model_path):
    base = BaseModel.read(tiny_model_path)
    engine = EngineBackend(make_engine(), base, 4)
    other = TorchBackend(tiny_model_path)
    for adapter in (None, random_adapter(base)):
        ours, theirs = engine.attach(adapter), other.attach(adapter)
        loss, expected = (one.loss(ASKED, "left", at) for one, at in ((engine, ours), (other, theirs)))
        assert loss.tokens == expected.tokens == len("left") + 1
        assert loss.nats == pytest.approx(expected.nats, abs=2e-2)
        for options in (("A", "B", "C"), ("left", "right")):
            expected = other.option_nats(ASKED, options, theirs)
            assert engine.option_nats(ASKED, options, ours) == pytest.approx(expected, abs=2e-2)
        assert engine.generate(ASKED, ours, 12) == other.generate(ASKED, theirs, 12)
        engine.detach(ours)
    engine.close()


def test_an_adapter_changes_the_loss_and_detaching_leaves_no_file(make_engine, tiny_model_path):
    base = BaseModel.read(tiny_model_path)
    backend = EngineBackend(make_engine(), base, 4)
    bare, one, again = (
        backend.attach(adapter) for adapter in (None, random_adapter(base), random_adapter(base))
    )
    assert backend.loss(ASKED, "left", one).nats != pytest.approx(
        backend.loss(ASKED, "left", bare).nats, abs=0.1
    )
    backend.detach(one)
    assert backend.loss(ASKED, "left", again) == backend.loss(ASKED, "left", again)
    backend.detach(again)
    folder = one.adapter.path.parent
    assert list(folder.iterdir()) == []
    backend.close()
    assert not folder.exists()


def test_options_outside_the_likeliest_tokens_are_asked_for_one_by_one(
    make_engine, tiny_model_path, monkeypatch
):
    backend = EngineBackend(make_engine(), BaseModel.read(tiny_model_path), 4)
    at = backend.attach(None)
    nats = backend.option_nats(ASKED, tuple("ABCDEFGH"), at)
    monkeypatch.setattr("proxy.eval_backend.TOP", 1)
    assert backend.option_nats(ASKED, tuple("ABCDEFGH"), at) == pytest.approx(nats, abs=1e-3)
    backend.close()


def test_a_template_without_a_system_role_gets_the_system_text_in_the_question(tiny_model_path):
    refuse = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    config = EngineConfig(context_tokens=512, max_sequences=1, threads=1)
    engine = Engine(tiny_model_path, config, refuse + "{{ m.content }}|{% endfor %}")
    try:
        backend = EngineBackend(engine, BaseModel.read(tiny_model_path), 1)
        asked = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"})
        assert engine.detokenize(backend._prompt(asked)) == "Be kind.\n\nHi|"
        assert engine.detokenize(backend._prompt(ASKED)) == "Which one?|"
        backend.close()
    finally:
        engine.close()


def test_an_adapter_that_the_engine_refuses_is_one_items_failure(make_engine, tiny_model_path):
    base = BaseModel.read(tiny_model_path)
    backend = EngineBackend(make_engine(), base, 4)
    attached = backend.attach(random_adapter(base))
    attached.adapter.path.write_bytes(b"GGUF")
    with pytest.raises(BackendError):
        backend.generate(ASKED, attached, 8)
    assert backend.generate(ASKED, backend.attach(None), 8).text is not None
    backend.close()


@pytest.mark.parametrize(("arms", "told"), [(",", "want names with commas"), ("base,odd", "there is no arm 'odd'")])
def test_arms_are_checked_before_anything_is_loaded(echo, arms, told, capsys):
    try:
        assert cli.main([*echo, "--arms", arms]) == 1
    except SystemExit as exc:
        assert exc.code == 2
    assert told in capsys.readouterr().err


def test_a_prompt_beyond_the_context_is_one_items_failure(make_engine, tiny_model_path):
    backend = EngineBackend(make_engine(), BaseModel.read(tiny_model_path), 4)
    with pytest.raises(BackendError, match="512"):
        backend.generate(({"role": "user", "content": "x" * 600},), backend.attach(None), 8)
    backend.close()


def test_the_command_runs_every_arm_on_a_strangers_folder_and_prints_the_promised_json(
    tmp_path, tiny_model_path, monkeypatch, capsys
):
    base = BaseModel.read(tiny_model_path)
    data = tmp_path / "data"
    data.mkdir()
    rows = [
        {"task": task, "split": split, "prompt": f"Do {n}", "answer": "AB"[n % 2]}
        | ({"choices": ["x", "y"]} if task == "pick" else {})
        for task in ("pick", "echo") for split, count in (("train", 4), ("test", 2)) for n in range(count)
    ]  # fmt: skip
    (data / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (data / "task_descriptions.jsonl").write_text(
        '{"task": "pick", "descriptions": ["Solve the equation and pick the right option."]}\n'
        '{"task": "echo", "descriptions": ["Write Python code that echoes its input."]}'
    )
    for task in ("pick", "echo"):
        (tmp_path / "oracle" / task).mkdir(parents=True)
        write_peft(random_adapter(base, seed=1), tmp_path / "oracle" / task, "tiny")
    for key, value in {
        "MODEL__PATH": tiny_model_path, "ENGINE__THREADS": 1, "ENGINE__CONTEXT_TOKENS": 2048,
        "ENGINE__MAX_SEQUENCES": 4,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"ET2L__{key}", str(value))
    monkeypatch.chdir(tmp_path)
    command = ["eval", "--data", str(data), "--arms", ARMS, "--out", "out", "--json", "--oracle", "oracle"]
    command += ["--checkpoint", str(write_checkpoint(tmp_path / "checkpoint", base))]
    assert cli.main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary["arms"]) == ARMS.split(",")
    for arm in ARMS.split(","):
        assert set(summary["arms"][arm]) == {"pick", "echo"}
        for row in summary["arms"][arm].values():
            assert 0 <= row["score"] <= 1 and row["loss"] > 0 and row["n"] == 2 and row["errors"] == 0
        assert set(summary["macro"][arm]) == {"score", "loss"}
    losses = {
        # Not the mean: both tasks have the same items, so with swapped descriptions the mean is the same.
        arm: round(summary["arms"][arm]["pick"]["loss"], 6)
        for arm in ("base", "mt-lora", "t2l", "t2l-other", "t2l-gibberish", "oracle")
    }
    assert len(set(losses.values())) == len(losses), "every adapter must have been attached"
    assert {"items.jsonl", "summary.json", "summary.md", "summary.png"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert cli.main(command) == 0  # resumes: the same again, from the files
    assert json.loads(capsys.readouterr().out) == summary


@pytest.fixture
def echo(tmp_path, tiny_model_path, monkeypatch):
    """A folder of one task with a description, and the tiny model configured."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.jsonl").write_text('{"task": "echo", "prompt": "Do 1", "answer": "A"}')
    described = {"task": "echo", "description": "Write Python code that echoes its input."}
    (tmp_path / "data/task_descriptions.jsonl").write_text(json.dumps(described))
    for key, value in (("MODEL__PATH", tiny_model_path), ("ENGINE__THREADS", 1), ("ENGINE__CONTEXT_TOKENS", 1024)):
        monkeypatch.setenv(f"ET2L__{key}", str(value))
    monkeypatch.chdir(tmp_path)
    return ["eval", "--data", "data", "--out", "out"]


@pytest.mark.parametrize("backend", ["engine", "torch"])
def test_a_checkpoint_given_by_name_is_asked_in_its_own_template(echo, tmp_path, backend):
    (tmp_path / "sakana").mkdir()
    (tmp_path / "sakana/hypermod.pt").touch()
    (tmp_path / "sakana/chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}|{% endfor %}")
    asked = [*echo, "--arms", "base", "--backend", backend]
    assert cli.main(asked) == 0
    assert cli.main([*asked, "--checkpoint", "sakana"]) == 0
    assert len((tmp_path / "out/items.jsonl").read_text().splitlines()) == 2, "another prompt, another result"


def test_the_pipelines_arm_rewrites_as_the_server_does(echo, tiny_model_path, monkeypatch, tmp_path):
    prompts = []
    monkeypatch.setattr("proxy.upstream.complete_locally", lambda engine, prompt, _: prompts.append(prompt) or "")
    monkeypatch.setenv("ET2L__ENHANCER__LLM", "local")
    checkpoint = write_checkpoint(tmp_path / "checkpoint", BaseModel.read(tiny_model_path))
    assert cli.main([*echo, "--arms", "et2l", "--checkpoint", str(checkpoint)]) == 0
    assert len(prompts) == 1 and "echoes its input" in prompts[0]


def test_the_command_says_what_is_missing(tmp_path, tiny_model_path, monkeypatch, capsys):
    (tmp_path / "items.jsonl").write_text('{"task": "t", "prompt": "p", "answer": "a"}')
    monkeypatch.setenv("ET2L__MODEL__PATH", str(tiny_model_path))
    monkeypatch.setenv("ET2L__HYPERNETWORK__PATH", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    for arms, message in (
        ("oracle", "--oracle"),
        ("t2l", "no checkpoint folder"),
        ("base-desc", "description of t"),
        ("x", "no arm 'x'"),
    ):
        assert cli.main(["eval", "--data", str(tmp_path), "--arms", arms]) == 1
        assert message in capsys.readouterr().err
    assert cli.main(["eval", "--data", str(tmp_path / "none")]) == 1
    assert "no folder" in capsys.readouterr().err


def test_oracles_are_trained_where_they_are_missing_and_then_evaluated(echo, tmp_path, capsys):
    row = {"task": "echo", "split": "train", "prompt": "Do 2", "answer": "A"}
    (tmp_path / "data/train.jsonl").write_text(json.dumps(row))
    train = ["train", "oracle", "--data", "data", "--export", "oracles", "--steps", "2", "--first-layer", "0"]
    assert cli.main([*train, "--tasks", "echo"]) == 0
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "oracles/echo").iterdir()}
    assert len(written) == 2
    assert cli.main([*train, "--tasks", "*"]) == 0
    assert "is there and left as it is" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert cli.main([*train, "--tasks", "nothing*"]) == 1
    assert "no task 'nothing*'" in capsys.readouterr().err
    assert cli.main([*echo, "--arms", "base,oracle", "--oracle", "oracles", "--json"]) == 0
    arms = json.loads(capsys.readouterr().out)["arms"]
    assert arms["oracle"]["echo"]["loss"] != arms["base"]["echo"]["loss"]


def test_signals_stop_an_evaluation_also_where_the_shell_ignores_them(echo, monkeypatch, capsys):
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            monkeypatch.setattr("proxy.commands.eval.measure", lambda *_, number=number: os.kill(os.getpid(), number))
            assert cli.main(echo) == 130
            assert "the same command goes on from out" in capsys.readouterr().err
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
