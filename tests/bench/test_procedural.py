"""bench/procedural.py: a folder that `et2l eval` reads, of tasks that training never sees."""

import sys

from bench import procedural
from t2l.evaluate.data import EvalData
from t2l.train.families import split_of, tasks


def test_the_folder_holds_unseen_tasks_with_their_right_answers(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "procedural"
    monkeypatch.setattr(sys, "argv", ["procedural", str(folder), "--tasks", "12", "--items", "3", "--breadth", "2"])
    procedural.main()
    assert capsys.readouterr().out.startswith("12 tasks, ")
    data, known = EvalData(folder), {task.name: task for task in tasks()}
    names = data.tasks([], "test")
    assert len(names) == 12 and {split_of(known[name]) for name in names} == {"unseen_pair"}
    assert all(known[name].order < 2 for name in names)
    assert len({known[name].kind for name in names}) > 4
    for name in names:
        asked = [item.prompt for item in data.items(name, "test")]
        assert 1 <= len(asked) == len(set(asked)) <= 3
        assert not data.infos[name].for_training and data.descriptions(name)
