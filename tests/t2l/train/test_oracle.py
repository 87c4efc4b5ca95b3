"""t2l/train/oracle.py: a LoRA on one task itself."""

import json

import pytest

from proxy.commands.eval import oracle_of
from t2l.evaluate.data import DataError, EvalData
from t2l.train import hypernet
from t2l.train.hypernet import Trainer, TrainSettings
from t2l.train.oracle import OneTask, write_oracle
from tests.t2l.train.test_hypernet import WordEmbedder, tiny_base

ROWS = [
    {"task": task, "split": split, "prompt": f"Say it. one {'two ' * number}", "answer": answer,
     "meta": {"id": f"{task}{split}{number}", "input_start": 8}}
    for task, answer in (("a/left", "left"), ("right", "right"))
    for split in ("train", "test") for number in range(4)
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return tmp_path / "data"


def test_each_train_row_of_the_task_comes_before_any_comes_again(folder):
    task = OneTask(EvalData(folder), "right", False, 1)
    first, second = task.draw(4), task.draw(4)
    asked = {row["prompt"] for row in ROWS if (row["task"], row["split"]) == ("right", "train")}
    assert {one.prompt for one in first} == {one.prompt for one in second} == asked
    assert {(one.system, one.answer) for one in first} == {("", "right")}
    bare = OneTask(EvalData(folder), "right", True, 1)
    assert {one.prompt for one in bare.draw(4)} == {prompt.removeprefix("Say it. ") for prompt in asked}
    assert bare.digest != task.digest


def test_a_stream_goes_on_where_it_was(folder):
    task, again = (OneTask(EvalData(folder), "right", False, 1) for _ in range(2))
    task.draw(3)
    again.restore(task.state())
    assert again.draw(6) == task.draw(6)


def test_a_task_without_train_rows_is_said(folder):
    with pytest.raises(DataError, match="strange has no rows of split 'train'"):
        OneTask(EvalData(folder), "strange", False, 0)


def test_an_oracle_learns_its_task_and_is_what_the_evaluation_reads(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(hypernet, "load_base", tiny_base)
    settings = TrainSettings(steps=40, rank=2, first_layer=1, warmup=1, lora_lr=1e-2, family="plain", eval_every=0)
    trainer = Trainer(settings, tmp_path / "x.gguf", "tiny", "b" * 64, folder, tmp_path / "run", WordEmbedder(),
                      source=OneTask(EvalData(folder), "a/left", False, 0))  # fmt: skip
    records = []
    trainer.fit(records.append)
    assert records[-1]["loss"] < records[0]["loss"] - 0.25
    adapter = trainer.mean_adapter()
    write_oracle(adapter, tmp_path / "oracles" / "a/left", "tiny")
    assert [path.name for path in (tmp_path / "oracles/a").iterdir()] == ["left"]

    class Base:
        digest = "b" * 64

    assert oracle_of(tmp_path / "oracles", Base)("a/left").digest == adapter.digest
