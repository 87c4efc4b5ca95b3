"""t2l/train/replies.py: what is asked, which answers are kept, and the file."""

import json
from itertools import islice

import pytest

from t2l.evaluate.backend import Reply as BackendReply
from t2l.evaluate.data import DataError
from t2l.train.replies import collect, read_replies, requests, to_code, write_replies


@pytest.fixture
def folder(tmp_path):
    """Open requests and word problems that all begin with one instruction."""
    infos = [{"task": name, "split": "train", "descriptions": ["d"]} for name in ("open", "sums")]
    (tmp_path / "task_descriptions.jsonl").write_text("".join(json.dumps(info) + "\n" for info in infos))
    rows = [{"task": "open", "split": "train", "prompt": f"Write about {x}.", "answer": "-"} for x in ("cats", "dogs")]
    for a in range(3):
        prompt = f"Answer with one number only.\n\nTom has {a} hats and buys 2. How many now?"
        rows.append({"task": "sums", "split": "train", "prompt": prompt, "answer": str(a + 2)})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


class Answers:
    """A backend that answers by a function of the prompt."""

    concurrency = 2

    def __init__(self, answer):
        self.answer = answer

    def attach(self, adapter):
        assert adapter is None

    def generate(self, messages, attached, max_tokens):
        return BackendReply(*self.answer(messages[-1]["content"]))


def test_requests_ask_for_steps_without_the_tasks_own_instruction(folder):
    open_request, problem, function = islice(requests(folder, ["open"], ["sums"], 0), 3)
    assert open_request.prompt.startswith("Write about")
    assert problem.prompt.startswith("Tom has") and "Answer with" not in problem.prompt
    assert function.prompt.startswith("Write a Python function") and function.code


def test_only_right_answers_with_steps_are_right(folder):
    problem = next(islice(requests(folder, ["open"], ["sums"], 0), 1, None))
    number = int(problem.prompt.split()[2]) + 2
    assert problem.right(f"He begins with some hats and buys two more. #### {number}")
    assert not problem.right(f"He begins with some hats and buys two more. #### {number + 1}")
    assert not problem.right(str(number))


def test_functions_are_run_against_ours(folder):
    bodies = {"count the numbers": "len(items)", "add the first and the last": "items[0] + items[-1]"}
    tried = 0
    for request in islice(requests(folder, ["open"], ["sums"], 0), 2, 3000, 3):
        body = next((code for words, code in bodies.items() if f"should {words}" in request.prompt), None)
        if body is None:
            continue
        head = f"def {request.prompt.split('function ')[1].split('(')[0]}(items):\n    return"
        assert request.right(f"Here:\n```python\n{head} {body}\n```"), request.prompt
        assert not request.right(f"```python\n{head} 'something else'\n```")
        tried += 1
        if tried == 2:
            return
    raise AssertionError("no such request in a thousand")


def test_a_reply_ends_with_its_code():
    assert to_code("Sure:\n```python\nx = 1\n```\n### Explanation\n...") == "Sure:\n```python\nx = 1\n```"
    assert to_code("no code") == "no code"


def test_whole_and_right_replies_are_kept_and_read_back(folder, tmp_path):
    def answer(prompt):
        if prompt.startswith("Write about"):
            return f"A text. {prompt}", "cats" in prompt  # the one about dogs is cut off
        return "42", True

    kept = list(collect(Answers(answer), folder, ["open"], ["sums"], 12, 0))
    assert kept and {reply.prompt for reply in kept} == {"Write about cats."}
    write_replies(kept, tmp_path / "replies.jsonl")
    first = kept[0]
    expected = (first.description, first.system, first.prompt, first.answer)
    assert read_replies(tmp_path / "replies.jsonl")[0] == expected


def test_tasks_without_training_rows_are_named(folder):
    with pytest.raises(DataError, match="nothing"):
        next(requests(folder, ["nothing"], ["sums"], 0))


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"prompt": "p"}\n')
    with pytest.raises(DataError, match=r"x\.jsonl"):
        read_replies(tmp_path / "x.jsonl")
    (tmp_path / "x.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"x\.jsonl holds no reply"):
        read_replies(tmp_path / "x.jsonl")

