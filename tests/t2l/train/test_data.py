"""t2l/train/data.py: where the instruction stands, formats on real answers, the mix."""

import json
import random
from collections import Counter

import pytest

from t2l.evaluate.data import DataError, Item
from t2l.language import language_of
from t2l.skills import load_skills
from t2l.train.data import (
    MAX_PROMPT_CHARS,
    PROCEDURAL_PLACES,
    REAL_PLACES,
    Mixture,
    RealTask,
    is_held_out,
    lettered_examples,
    procedural_tasks,
    real_tasks,
)
from t2l.train.replies import OPEN

ITEM = Item("t", "1", "train", "Say the colour.\n\nThe sky over Rome?", ("blue",), meta={"input_start": 17})
TASK = RealTask("t", ("Name the colour.",), "", (ITEM,))


def shares(counts: Counter) -> dict:
    return {name: count / counts.total() for name, count in counts.items()}


def test_the_instruction_stands_where_it_is_said_to():
    rng = random.Random(0)
    drawn = [TASK.examples(rng)[0] for _ in range(2000)]
    found = shares(Counter((one.prompt == ITEM.prompt, bool(one.system)) for one in drawn))
    in_prompt, in_system = REAL_PLACES
    assert found[True, False] == pytest.approx(in_prompt, abs=0.03)
    assert found[False, True] == pytest.approx(in_system, abs=0.03)
    assert (True, True) not in found
    assert all(one.system in ("", one.description) for one in drawn)


def test_formats_change_answer_and_description_together():
    rng = random.Random(0)
    drawn = [TASK.examples(rng)[0] for _ in range(1000)]
    assert {one.answer for one in drawn if one.description == "Name the colour."} <= {"blue"}
    formatted = [one for one in drawn if one.answer != "blue"]
    assert 200 < len(formatted) < 350
    assert all(one.description.startswith("Name the colour. ") and "blue" in one.answer for one in formatted)


def test_long_answers_keep_their_form():
    rng = random.Random(0)
    long = RealTask("t", ("d",), "", (Item("t", "1", "train", "p", ("word " * 30,)),))
    assert {long.examples(rng)[0].answer for _ in range(50)} == {"word " * 30}


def test_a_real_input_gets_another_task_whose_answer_is_in_the_input():
    rng = random.Random(0)
    siblings = [one for _ in range(800) for one in TASK.examples(rng)[1:]]
    assert 100 < len(siblings) < 240
    assert {one.prompt for one in siblings} == {"The sky over Rome?"}, "never with the task's own instruction"
    answers = {one.answer for one in siblings}
    assert any("Rome" in answer for answer in answers) and any("received" in answer for answer in answers)


@pytest.fixture
def folder(tmp_path):
    name = next(f"t{i}" for i in range(50) if not is_held_out(f"t{i}"))
    info = {"task": name, "split": "train", "descriptions": ["d"]}
    (tmp_path / "task_descriptions.jsonl").write_text(json.dumps(info))
    rows = [{"task": name, "split": "train", "prompt": f"p {i}", "answer": "a"} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reply = {"description": "chat", "system": "", "prompt": "Hi", "answer": "Hello!"}
    (tmp_path / "replies.jsonl.kept").write_text(json.dumps(reply) + "\n")
    return tmp_path


def test_the_mix_has_the_shares_asked_for_and_resumes(folder):
    replies = folder / "replies.jsonl.kept"
    mixture = Mixture(folder, 3, 0.5, 4, replies, 0.1)
    kinds = Counter("reply" if e.task == "reply" else "p" if "/" in e.task else "real" for e in mixture.draw(4000))
    found = shares(kinds)
    assert found["reply"] == pytest.approx(0.1, abs=0.03)
    assert found["p"] == pytest.approx(0.45, abs=0.08)  # siblings of real inputs count as procedural here
    state = mixture.state()
    ahead = mixture.draw(20)
    mixture.restore(state)
    assert mixture.draw(20) == ahead


def test_real_questions_come_lettered_as_often_as_asked(folder):
    file = folder / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row | {"answer": f"town {i}"}) + "\n" for i, row in enumerate(rows)))
    drawn = Mixture(folder, 3, 0.5, 4, lettered_share=0.3).draw(4000)
    found = sum("/" not in e.task and e.answer in ("A", "B", "C", "D", "E") for e in drawn) / len(drawn)
    assert found == pytest.approx(0.3, abs=0.03)


def test_lettered_examples_are_of_held_out_tasks_and_only_where_options_differ(folder):
    file = folder / "rows.jsonl"
    assert lettered_examples(folder, 5, random.Random(0), "train") == []
    held = next(f"t{i}" for i in range(50) if is_held_out(f"t{i}"))
    with (folder / "task_descriptions.jsonl").open("a") as infos:
        infos.write("\n" + json.dumps({"task": held, "split": "train", "descriptions": ["Name the town."]}))
    with file.open("a") as rows:
        for i in range(12):
            row = {"task": held, "split": "train", "prompt": f"p {i}", "answer": f"town {i % 5}"}
            rows.write(json.dumps(row) + "\n")
    found = lettered_examples(folder, 5, random.Random(0), "train")
    assert len(found) == 5 and {one.task for one in found} == {held}
    for one in found:
        (right,) = [line for line in one.prompt.splitlines() if line.lstrip("(")[:1] == one.answer and "town" in line]
        assert right.split()[-1] == str(int(one.prompt.split()[1]) % 5)


def test_a_folder_with_nothing_to_train_on_is_refused_unless_nothing_is_drawn_from_it(folder):
    file = folder / "task_descriptions.jsonl"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"descriptions": []}))  # a task that nothing describes
    assert real_tasks(folder, "train", held_out=False) == ()
    with pytest.raises(DataError, match="no task to train on"):
        Mixture(folder, 3, 0.5, 4)
    assert len(Mixture(folder, 3, 1.0, 4).draw(20)) == 20


def test_known_descriptions_are_procedural_ones_of_both_languages_whatever_their_share(folder):
    mixture = Mixture(folder, 0, 0.0)
    found = mixture.known_descriptions(300)
    assert len(found) == 300
    assert {language_of(text) for text in found} == {"en", "zh"}
    assert not set(found) & {text for task in real_tasks(folder, "train", False) for text in task.descriptions}


def test_strange_descriptions_are_those_of_real_tasks_and_of_hints(folder):
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    told = (json.dumps(row | {"answer": f"town {i}"}) + "\n" for i, row in enumerate(rows))  # answers to choose between
    (folder / "rows.jsonl").write_text("".join(told))
    found = Mixture(folder, 0, 1.0).strange_descriptions(60, 30, 30, 10)
    skills = load_skills(None)
    hints_of_all_sorts = {skills.skills[0].exemplars[0], skills.background[0], OPEN[0]}
    assert hints_of_all_sorts <= set(found)
    starts = tuple(skill.candidate("") for skill in skills.skills)
    assert sum(text.startswith(starts) for text in found) > len(found) / 10, "as the pipeline's candidates are worded"
    assert {language_of(text) for text in found} == {"en", "zh"}, "prompts in both languages"
    assert len(set(found)) == len(found)
    (task,) = real_tasks(folder, "train", False)
    assert any(text in one for one in found for text in task.descriptions)
    asked = [one for one in found if any(text in one for text in task.descriptions)]
    assert any("option" in one.lower() or "letter" in one.lower() for one in asked)


def test_operations_beyond_the_breadth_are_strange_and_those_within_it_known(folder):
    narrow = Mixture(folder, 0, 1.0, 2)
    without, found = narrow.strange_descriptions(0, 0, 0, 0), narrow.strange_descriptions(0, 0, 200, 0)
    assert len(found) - len(without) > 150
    names = {task.name for task in procedural_tasks("train", 2)}
    assert {one.task for one in narrow.draw(300)} <= names
    assert len(Mixture(folder, 0, 1.0).strange_descriptions(0, 0, 200, 0)) == len(without), "all are trained on"


def test_a_wide_skill_asked_plainly_is_strange(folder):
    found = Mixture(folder, 0, 1.0, 4).strange_descriptions(0, 0, 0, 100)
    assert any("into German" in text for text in found) and any(language_of(text) == "zh" for text in found[-200:])
    assert not any("brackets" in text for text in found)


def test_shares_above_one_are_refused(folder):
    with pytest.raises(ValueError, match="leave no rest"):
        Mixture(folder, 3, 0.5, 4, folder / "replies.jsonl.kept", 0.6, 0.5)


def test_without_a_file_there_are_no_replies(folder):
    assert all(example.task != "reply" for example in Mixture(folder, 3, 0.5, 4).draw(500))


def test_of_examples_to_be_served_the_share_asked_for_has_the_description_as_a_hint_but_replies_their_own(folder):
    drawn = Mixture(folder, 3, 0.5, 4, folder / "replies.jsonl.kept", 0.2, 0.2, served_share=1.0).draw(400)
    replies = [one for one in drawn if one.task == "reply"]
    assert replies and {one.system for one in replies} == {""}
    others = [one for one in drawn if one.task != "reply"]
    assert all(one.system for one in others)
    assert any(one.system.startswith("Task: ") for one in others)
    told = [one for one in others if one.system == one.description]
    assert len(told) > len(others) / 4, "bare, where the description is not worded anew"


def test_inputs_are_measured_without_their_instruction(folder):
    """Tasks whose instruction is long were left out whole."""
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    long = "Do as the following says. " * 40
    told = [row | {"prompt": f"{long}\n\n{row['prompt']}", "meta": {"input_start": len(long) + 2}} for row in rows]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    assert len(real_tasks(folder, "train", False)[0].items) == len(rows)
    drawn = Mixture(folder, 3, 0.0).draw(300)
    assert max(len(one.prompt) for one in drawn) <= MAX_PROMPT_CHARS


def test_some_procedural_instructions_stand_in_the_system_text(folder):
    drawn = Mixture(folder, 3, 1.0, 4).draw(8000)
    with_system = sum(bool(example.system) for example in drawn) / len(drawn)
    assert with_system == pytest.approx(PROCEDURAL_PLACES[1], abs=0.02)
