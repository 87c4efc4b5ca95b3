"""What each arm gives the model: by the seed, the same for all items, and never the items under test as
examples."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from adapters.lora import LoraAdapter, LoraDelta
from t2l.evaluate.arms import ARMS, Arms, ArmUnavailable, Sources, gibberish, other_tasks
from t2l.evaluate.data import EvalData
from t2l.evaluate.prompts import messages


def adapter(text: str) -> LoraAdapter:
    """An adapter that differs by text."""
    generator = torch.Generator().manual_seed(sum(text.encode()))
    return LoraAdapter(
        "base", {"m": LoraDelta(torch.randn(1, 2, generator=generator).numpy(), np.ones((2, 1), np.float32), 1.0)}
    )


SOURCES = Sources(adapter, lambda: adapter("all"), lambda task: adapter(f"oracle {task}"), lambda text: None)
TASKS = ("a", "b", "c", "d")


@pytest.fixture
def data(tmp_path):
    infos = [
        {"task": task, "descriptions": [f"{task} one", f"{task} two", f"{task} three"], "family": family}
        for task, family in zip(TASKS, "xxyy", strict=True)
    ]
    rows = [
        {"task": task, "split": split, "prompt": f"Do. {split} {n}", "answer": str(n)}
        | {"meta": {"id": f"{split}{n}", "input_start": 4}}
        for task in TASKS for split in ("train", "dev", "test") for n in range(8) if (task, split) != ("b", "train")
    ]  # fmt: skip
    (tmp_path / "task_descriptions.jsonl").write_text("\n".join(map(json.dumps, infos)))
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return EvalData(tmp_path)


def make(data, seed=0, sources=SOURCES, tasks=TASKS) -> Arms:
    return Arms(data, tasks, sources, seed)


def test_every_arm_makes_a_condition_and_only_adapter_arms_have_adapters(data):
    arms, items = make(data), data.items("a", "test")
    found = {arm: arms.condition(arm, "a", items) for arm in ARMS}
    assert {arm for arm, one in found.items() if one.adapter} == {
        "mt-lora",
        "mt-lora-desc",
        "t2l",
        "t2l-other",
        "t2l-gibberish",
        "oracle",
    }
    assert found["base-desc"].system == found["t2l"].description in data.descriptions("a")
    assert found["mt-lora-desc"].system == found["base-desc"].system
    assert found["mt-lora-desc"].adapter.digest == found["mt-lora"].adapter.digest
    assert found["t2l"].system == found["base"].system == ""
    assert found["oracle"].adapter.digest == adapter("oracle a").digest
    assert found["et2l"].note == "the pipeline chose the base model"
    assert found["et2l"].system == found["base-desc"].system, "as served: the hint stays where it was"
    stripping = replace(SOURCES, hint_stays=False)
    bare = make(data, sources=stripping).condition("et2l", "a", items)
    assert bare.adapter is None and bare.system == found["et2l"].system, "the bare model is always told the task"
    adapted = make(data, sources=replace(stripping, pipeline=adapter)).condition("et2l", "a", items)
    assert adapted.adapter and adapted.system == "" and adapted.description == found["et2l"].description


def test_conditions_are_the_same_for_a_seed_and_differ_between_seeds(data):
    picks = [tuple(make(data, seed).description(task) for task in TASKS) for seed in (0, 0, 1, 2, 3)]
    assert picks[0] == picks[1] and len(set(picks)) > 1


def test_every_task_gets_another_tasks_description_and_each_is_used_once(data):
    for seed in range(20):
        others = other_tasks(data, TASKS, seed)
        assert sorted(others.values()) == sorted(TASKS) and all(
            task != other for task, other in others.items()
        )
    condition = make(data).condition("t2l-other", "a", [])
    assert condition.description not in data.descriptions("a")


def test_a_task_alone_gets_the_description_of_one_of_another_family(data):
    assert all(other_tasks(data, ["a"], seed)["a"] in ("c", "d") for seed in range(9))


def test_gibberish_has_the_shape_of_the_text_and_none_of_its_words():
    text = "Answer the question, in 3 words!"
    noise = gibberish(text, random.Random(0))
    assert len(noise) == len(text) and [i for i, c in enumerate(noise) if not c.isalnum()] == [
        6,
        10,
        19,
        20,
        23,
        25,
        31,
    ]
    assert not set(noise.split()) & set(text.split())


def test_examples_come_from_train_and_are_turns_of_the_conversation(data):
    items = data.items("a", "test")
    condition = make(data).condition("3-shot", "a", items)
    assert {shot.split for shot in condition.shots} == {"train"} and condition.note is None
    turns = messages(items[0], condition.system, condition.shots, hint_only=False)
    assert [turn["role"] for turn in turns] == ["system", *["user", "assistant"] * 3, "user"]
    assert turns[0]["content"] == "" and turns[-1]["content"] == items[0].prompt
    assert turns[2]["content"] == condition.shots[0].answer


def test_without_a_train_split_examples_come_from_dev_and_the_report_says_so(data):
    assert make(data).condition("3-shot", "b", data.items("b", "test")).note == "3 examples of split dev"


def test_items_under_test_are_never_examples(data):
    evaluated = data.items("b", "dev")
    condition = make(data).condition("3-shot", "b", evaluated)
    assert not {shot.id for shot in condition.shots} & {item.id for item in evaluated}


def test_hint_only_drops_the_instruction_from_question_and_examples(data):
    item = data.items("a", "test")[0]
    turns = messages(item, "", data.items("a", "train")[:1], hint_only=True)
    assert turns[-1]["content"] == "test 0" and turns[1]["content"] == "train 0"


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("oracle", "--oracle DIR"),
        ("t2l", "--checkpoint"),
        ("mt-lora", "--checkpoint"),
        ("mt-lora-desc", "--checkpoint"),
        ("et2l", "--checkpoint"),
        ("best", "no arm 'best'"),
    ],
)
def test_an_arm_without_its_source_is_refused_before_anything_runs(data, arm, message):
    with pytest.raises(ArmUnavailable, match=message):
        make(data, sources=Sources()).check(["base", arm])


def test_a_task_without_description_is_refused_for_arms_that_need_one(data):
    with pytest.raises(ArmUnavailable, match="description of z"):
        make(data, tasks=("a", "z")).check(["base-desc"])
