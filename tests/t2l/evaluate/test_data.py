"""Data folders: the pack's format, a stranger's shorter one, and faults that name the line."""

import gzip
import json

import pytest

from t2l.evaluate.data import DataError, EvalData, is_held_out


def write(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def row(task="sums", number=0, split="test", **more):
    return {
        "task": task,
        "split": split,
        "prompt": f"Add. {number}",
        "answer": str(number),
        "meta": {"id": f"{task}/{split}/{number}"},
    } | more


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path / "task_descriptions.jsonl.gz",
        [
            {
                "task": "sums",
                "file": "a.jsonl.gz",
                "metric": "numeric",
                "descriptions": ["Add numbers.", "Sum up."],
                "family": "maths",
            },
            {
                "task": "words",
                "file": "b.jsonl.gz",
                "metric": "exact_match",
                "descriptions": ["Reverse words."],
                "family": "text",
            },
        ],
    )
    write(
        tmp_path / "a.jsonl.gz", [row(number=n, split=s) for s in ("train", "dev", "test") for n in range(9)]
    )
    write(
        tmp_path / "b.jsonl.gz",
        [row("words", 1, meta={"id": "w", "input_start": 5, "answers": ["1", "one"]})],
    )
    return tmp_path


def test_tasks_items_and_metrics_are_read_as_listed(folder):
    data = EvalData(folder)
    assert data.tasks([], "test") == ["sums", "words"]
    assert data.tasks(["sums"], "dev") == ["sums"]
    assert data.metric("sums") == "numeric"
    assert data.descriptions("sums") == ("Add numbers.", "Sum up.")
    (word,) = data.items("words")
    assert word.answers == ("1", "one") and word.bare_prompt == "1"
    assert len(data.items("sums", "train")) == 9


def test_only_the_files_of_the_asked_tasks_are_read(folder):
    (folder / "b.jsonl.gz").write_bytes(b"broken")
    data = EvalData(folder)
    assert data.tasks(["sums"], "test") == ["sums"]
    with pytest.raises(DataError, match=r"b\.jsonl\.gz"):
        data.items("words")


def test_a_strangers_folder_needs_task_prompt_and_answer_only(tmp_path):
    write(
        tmp_path / "mine.jsonl",
        [
            {"task": "new", "prompt": "p", "answer": 3},
            {"task": "pick", "prompt": "p", "answer": "x", "choices": ["x", "y"]},
        ],
    )
    data = EvalData(tmp_path)
    assert data.tasks([], "test") == ["new", "pick"]
    assert [one.answer for one in data.items("new", "test")] == ["3"]
    assert data.items("new")[0].id == "mine.jsonl:1"
    assert (data.metric("new"), data.metric("pick")) == ("exact_match", "choice")
    assert data.descriptions("new") == ()


def test_a_single_description_or_a_definition_will_do(tmp_path):
    write(
        tmp_path / "task_descriptions.jsonl",
        [{"task": "a", "description": "Do a."}, {"task": "b", "definition": "Do b."}],
    )
    write(tmp_path / "items.jsonl", [{"task": "a", "prompt": "p", "answer": "x"}])
    data = EvalData(tmp_path)
    assert data.descriptions("a") == ("Do a.",) and data.descriptions("b") == ("Do b.",)


def test_samples_are_seeded_and_a_larger_limit_only_appends(folder):
    data = EvalData(folder)
    few, more = (data.sample("sums", "test", n, seed=1) for n in (3, 6))
    assert more[:3] == few
    assert data.sample("sums", "test", 9, seed=2) != data.sample("sums", "test", 9, seed=1)
    assert len(data.sample("sums", "test", None, seed=1)) == 9


def test_patterns_choose_tasks_and_what_matches_nothing_is_an_error(folder):
    data = EvalData(folder)
    assert data.tasks(["s*", "words"], "test") == ["sums", "words"]
    with pytest.raises(DataError, match="'sum'; there is sums"):
        data.tasks(["sum"], "test")
    with pytest.raises(DataError, match="no items in split 'train'; there are items in test"):
        data.tasks(["words"], "train")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("{", "no JSON"),
        ("[]", "want a JSON object"),
        ('{"task": "t", "answer": "a"}', "prompt is None"),
        ('{"task": "t", "prompt": "p", "answer": "a", "split": "eval"}', "split is 'eval'"),
        ('{"task": "t", "prompt": "p", "answer": "a", "meta": {"input_start": 9}}', "input_start is 9"),
        ('{"task": "t", "prompt": "p", "answer": "a", "meta": {"answer_index": 0}}', "answer_index is 0"),
        ('{"task": "t", "prompt": "p", "answer": "a", "meta": {"answers": "yes it is"}}', "answers is 'yes it is'"),
        ('{"task": "t", "prompt": "p", "answer": "a", "meta": {"answers": 5}}', "answers is 5, want a list"),
    ],
)
def test_a_faulty_line_is_named(tmp_path, fault, message):
    (tmp_path / "items.jsonl").write_text('{"task": "t", "prompt": "p", "answer": "a"}\n' + fault + "\n")
    with pytest.raises(DataError, match=rf"items\.jsonl:2.*{message}"):
        EvalData(tmp_path).items("t")


def test_an_unknown_metric_and_an_empty_folder_are_errors(tmp_path):
    with pytest.raises(DataError, match="no instance files"):
        EvalData(tmp_path)
    write(tmp_path / "items.jsonl", [{"task": "t", "prompt": "p", "answer": "a"}])
    write(tmp_path / "task_descriptions.jsonl", [{"task": "t", "metric": "bleu"}])
    with pytest.raises(DataError, match="metric 'bleu'"):
        EvalData(tmp_path)


def test_a_damaged_archive_and_an_odd_file_name_are_told(tmp_path):
    write(tmp_path / "items.jsonl.gz", [{"task": "t", "prompt": "p", "answer": "a"}] * 50)
    whole = bytearray((tmp_path / "items.jsonl.gz").read_bytes())
    whole[12:20] = b"\xff" * 8  # no deflate block begins like that
    (tmp_path / "items.jsonl.gz").write_bytes(whole)
    with pytest.raises(DataError, match=r"items\.jsonl\.gz cannot be read"):
        EvalData(tmp_path).items("t")
    write(tmp_path / "items.jsonl.gz", [{"task": "t", "prompt": "p", "answer": "a"}])
    write(tmp_path / "task_descriptions.jsonl", [{"task": "t", "file": 5}])
    assert len(EvalData(tmp_path).items("t")) == 1
    write(tmp_path / "task_descriptions.jsonl", [{"task": "t", "file": ["a"]}])
    with pytest.raises(DataError, match=r"file is \['a'\]"):
        EvalData(tmp_path)


def test_a_task_whose_rows_stand_in_several_files_is_read_whole(tmp_path):
    row = '{"task": "%s", "prompt": "p", "answer": "%d"}\n'
    (tmp_path / "task_descriptions.jsonl").write_text('{"task": "x", "description": "d", "file": "a"}\n')
    (tmp_path / "a.jsonl").write_text(row % ("x", 1) + row % ("y", 2))
    (tmp_path / "b.jsonl").write_text(row % ("y", 3))
    data = EvalData(tmp_path)
    assert len(data.items("x")) == 1
    assert [item.answer for item in data.items("y")] == ["2", "3"]


def test_what_training_reads_is_told(tmp_path):
    names = [f"t{i}" for i in range(40)]
    (tmp_path / "task_descriptions.jsonl").write_text(
        "".join(json.dumps({"task": name, "description": "d", "split": "train"}) + "\n" for name in names)
        + json.dumps({"task": "benchmark", "description": "d", "split": "eval"})
    )
    (tmp_path / "rows.jsonl").write_text('{"task": "t1", "prompt": "p", "answer": "a"}\n')
    infos = EvalData(tmp_path).infos
    trained = {name for name in names if infos[name].trained}
    assert trained == {name for name in names if not is_held_out(name)} and 0 < len(trained) < 40
    assert not infos["benchmark"].trained
