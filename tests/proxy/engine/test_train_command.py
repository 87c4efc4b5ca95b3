"""`et2l train replies` and `et2l train composer`, whole, on a tiny model; what they say when they cannot."""

import json

import pytest

from adapters.gguf_file import BaseModel
from proxy import cli
from t2l.composer import load_network
from t2l.train.data import is_held_out
from tests.proxy.engine.test_eval_backend import write_checkpoint

HELD_OUT = [name for name in (f"t{i}" for i in range(80)) if is_held_out(name)][:4]
TRAINED = next(name for name in (f"t{i}" for i in range(80)) if not is_held_out(name))


@pytest.fixture
def folder(tmp_path, tiny_model_path, monkeypatch):
    """Tasks to train on and held out, and the tiny model configured."""
    data = tmp_path / "data"
    data.mkdir()
    names = [TRAINED, *HELD_OUT]
    infos = [{"task": name, "split": "train", "descriptions": [f"Solve the equation of {name}."]} for name in names]
    (data / "task_descriptions.jsonl").write_text("".join(json.dumps(info) + "\n" for info in infos))
    rows = [
        {"task": name, "split": split, "prompt": f"{n} {name}", "answer": str(n), "meta": {"id": f"{split}{n}"}}
        for name in names for split in ("train", "dev") for n in range(10)
    ]  # fmt: skip
    (data / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"MODEL__PATH": tiny_model_path, "ENGINE__THREADS": 1, "ENGINE__CONTEXT_TOKENS": 2048}
    for key, value in (settings | {"ENGINE__MAX_SEQUENCES": 2}).items():
        monkeypatch.setenv(f"ET2L__{key}", str(value))
    monkeypatch.chdir(tmp_path)
    return data


def test_replies_are_asked_of_the_configured_model_and_wrong_ones_left_out(folder, capsys):
    asked = ["--open", TRAINED, "--worked", TRAINED, "--count", "6", "-o", "new/replies.jsonl"]
    assert cli.main(["train", "replies", "--data", str(folder), *asked]) == 0
    kept = [json.loads(line) for line in (folder.parent / "new/replies.jsonl").read_text().splitlines()]
    assert len(kept) <= 2, "a random model solves nothing; at most its open replies end"
    assert f"{len(kept)} replies kept" in capsys.readouterr().err


def test_replies_to_tasks_that_are_not_there_are_refused_by_name(folder, capsys):
    asked = ["--open", "nowhere", "--worked", TRAINED, "-o", "replies.jsonl"]
    assert cli.main(["train", "replies", "--data", str(folder), *asked]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert not (folder.parent / "replies.jsonl").exists()


def test_a_composer_is_trained_and_written_only_if_it_helps(folder, tiny_model_path, capsys):
    checkpoint = write_checkpoint(folder.parent / "checkpoint", BaseModel.read(tiny_model_path))
    asked = ["--checkpoint", str(checkpoint), "--steps", "2", "--per-task", "2", "--batch", "2", "--json"]
    assert cli.main(["train", "composer", "--data", str(folder), *asked]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["examples"] == 2 and told["untrained"] > 0
    assert (checkpoint / "composer.safetensors").exists() == told["written"] == (told["trained"] < told["untrained"])
    if told["written"]:
        assert load_network(checkpoint, 384)[1].task_share == pytest.approx(told["task_share"])


def test_a_composer_needs_tasks_outside_training(folder, tiny_model_path, capsys):
    checkpoint = write_checkpoint(folder.parent / "checkpoint", BaseModel.read(tiny_model_path))
    info = {"task": TRAINED, "split": "train", "descriptions": ["Solve it."]}
    (folder / "task_descriptions.jsonl").write_text(json.dumps(info) + "\n")
    assert cli.main(["train", "composer", "--data", str(folder), "--checkpoint", str(checkpoint)]) == 1
    assert "too few tasks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "key", "value", "told"),
    [("hypernet", "MODEL__PATH", "none.gguf", "et2l model fetch"), ("hypernet", "EMBEDDER__PATH", "nowhere", "nowhere"),
     ("replies", "MODEL__PATH", "broken.gguf", "broken.gguf"), ("strengths", "DECOMPOSER__SKILLS", "x.toml", "x.toml"),
     ("listening", "ENGINE__THREADS", "many", "engine.threads"), ("composer", "EMBEDDER__PATH", "nowhere", "nowhere")],
)  # fmt: skip
def test_a_wrong_setting_or_file_is_a_line(folder, tiny_model_path, monkeypatch, capsys, kind, key, value, told):
    more = {"hypernet": [], "replies": ["--open", TRAINED, "--worked", TRAINED, "-o", "r.jsonl"]}
    write_checkpoint(folder.parent / "checkpoint", BaseModel.read(tiny_model_path))
    (folder.parent / "broken.gguf").write_bytes(b"no model")
    monkeypatch.setenv(f"ET2L__{key}", value)
    asked = ["train", kind, "--data", str(folder), *more.get(kind, ["--checkpoint", "checkpoint"])]
    assert cli.main(asked) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["strengths", "listening", "composer"])
@pytest.mark.parametrize(
    ("key", "told"), [("base_digest", "another model file"), ("embedder_digest", "another embedder")]
)
def test_a_checkpoint_is_calibrated_on_its_own_model_and_embedder(folder, tiny_model_path, capsys, kind, key, told):
    checkpoint = write_checkpoint(folder.parent / "checkpoint", BaseModel.read(tiny_model_path))
    before = json.dumps(json.loads((checkpoint / "config.json").read_text()) | {key: "0" * 64})
    (checkpoint / "config.json").write_text(before)
    assert cli.main(["train", kind, "--data", str(folder), "--checkpoint", str(checkpoint)]) == 1
    assert told in capsys.readouterr().err and (checkpoint / "config.json").read_text() == before
