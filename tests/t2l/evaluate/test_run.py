"""A whole evaluation over a fake model: what is written, resumed, reported, and what happens when items
fail."""

import json
import sys
import threading
from dataclasses import replace

import pytest

from t2l.evaluate import report
from t2l.evaluate.arms import Arms, Sources
from t2l.evaluate.backend import BackendError, Likelihood, Reply
from t2l.evaluate.data import EvalData
from t2l.evaluate.progress import Progress
from t2l.evaluate.run import ITEMS_FILE, Settings, evaluate


class FakeBackend:
    """Answers with the prompt's last word when a system text is there, else with "0". Counts its calls."""

    identity = "fake:1"
    concurrency = 3

    def __init__(self, stop_after: int | None = None) -> None:
        self.calls = 0
        self.attached: list = []
        self.stop_after = stop_after
        self._lock = threading.Lock()

    def attach(self, adapter):
        self.attached.append(handle := object())
        return handle

    def detach(self, attached):
        self.attached.remove(attached)

    def count_tokens(self, text):
        return len(text)

    def generate(self, messages, attached, max_tokens):
        assert attached in self.attached
        with self._lock:
            self.calls += 1
            if self.stop_after is not None and self.calls > self.stop_after:
                raise KeyboardInterrupt
        if "too long" in messages[-1]["content"]:
            raise BackendError("the prompt has 9 tokens and the context holds 8")
        return Reply(messages[-1]["content"].split()[-1] if messages[0]["content"] else "0", True)

    def loss(self, messages, answer, attached):
        return Likelihood(1.0 if messages[0]["content"] else 4.0, len(answer) + 1)

    def option_nats(self, messages, options, attached):
        return tuple(float(place) for place in range(len(options)))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"task": "copy", "prompt": f"Say {n}", "answer": str(n), "meta": {"id": n}} for n in range(1, 9)]
    rows += [
        {"task": "pick", "prompt": "Pick A", "answer": a, "choices": ["x", "y"], "meta": {"id": i}}
        for i, a in enumerate("AABA")
    ]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "task_descriptions.jsonl").write_text(
        '{"task": "copy", "description": "Copy."}\n{"task": "pick", "description": "Pick."}'
    )
    return EvalData(folder)


SETTINGS = Settings(("base", "base-desc"), ("copy", "pick"))


def run(data, folder, backend=None, settings=SETTINGS, progress=None):
    backend = backend or FakeBackend()
    found = evaluate(
        data, backend, Arms(data, settings.tasks, Sources(), settings.seed), settings, folder, progress
    )
    assert backend.attached == []
    return found, backend


def test_scores_losses_and_counts_come_out_per_arm_and_task_and_as_macro_means(data, tmp_path):
    found, _ = run(data, tmp_path / "out")
    summary = report.write(found, tmp_path / "out")
    copy, pick = summary["arms"]["base-desc"]["copy"], summary["arms"]["base-desc"]["pick"]
    assert (copy["score"], copy["n"], copy["loss"]) == (1.0, 8, 0.5)
    assert (pick["score"], pick["likelihood_score"], pick["n"]) == (0.75, 0.75, 4)
    assert summary["arms"]["base"]["pick"]["parse_failures"] == 4
    assert summary["macro"]["base-desc"] == {"score": 0.875, "loss": 0.5}
    assert summary["macro"]["base"] == {"score": 0.0, "loss": 2.0}
    gain = summary["intervals"]["base-desc"]["minus base"]
    assert (
        gain["score"]["value"] == 0.875
        and gain["score"]["low"] > 0.5
        and gain["loss"]["high"] == pytest.approx(-1.5)
    )
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["macro"] == summary["macro"]
    assert "| base-desc | 87.5" in (tmp_path / "out" / "summary.md").read_text()
    assert (tmp_path / "out" / "summary.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_everything_but_the_plot_is_written(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    summary = report.write(run(data, tmp_path / "out")[0], tmp_path / "out")
    assert summary["macro"]["base-desc"]["score"] == 0.875
    assert (tmp_path / "out" / "summary.md").exists() and not (tmp_path / "out" / "summary.png").exists()
    assert "`make dev` installs matplotlib" in capsys.readouterr().err


def test_where_every_task_has_options_their_likelihood_is_told_with_intervals(data, tmp_path):
    summary = report.write(run(data, tmp_path / "out", settings=replace(SETTINGS, tasks=("pick",)))[0], tmp_path)
    span = summary["intervals"]["base-desc"]["likelihood"]
    assert span["value"] == summary["arms"]["base-desc"]["pick"]["likelihood_score"] and span["low"] <= span["value"]
    assert "minus base-desc" in summary["intervals"]["base"] and "minus base" not in summary["intervals"]["base"]
    assert "likelihood - base-desc" in (tmp_path / "summary.md").read_text()
    both = report.write(run(data, tmp_path / "both")[0], tmp_path)
    assert "likelihood" not in both["intervals"]["base"], "one of the tasks has no options"


def test_a_stopped_run_goes_on_where_it_was_also_after_a_cut_line(data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, FakeBackend(stop_after=7))
    path = tmp_path / ITEMS_FILE
    done = len(path.read_text().splitlines())
    assert 0 < done < 24
    path.write_bytes(path.read_bytes()[:-9])  # as a kill in the middle of a line leaves it
    found, backend = run(data, tmp_path)
    assert backend.calls == 24 - (done - 1)
    assert len(found.results) == 24 == len(path.read_text().splitlines())
    assert run(data, tmp_path)[1].calls == 0


def test_more_items_arms_or_another_seed_use_what_is_there_and_never_mix(data, tmp_path):
    few = Settings(("base",), ("copy",), limit=3)
    assert run(data, tmp_path, settings=few)[1].calls == 3
    assert run(data, tmp_path, settings=Settings(("base",), ("copy",), limit=5))[1].calls == 2
    other = FakeBackend()
    other.identity = "fake:2"
    assert run(data, tmp_path, other, few)[1].calls == 3
    found, _ = run(data, tmp_path, settings=few)
    assert len(found.results) == 3


def test_an_item_that_cannot_be_asked_scores_nothing_and_is_counted(data, tmp_path):
    (data.folder / "more.jsonl").write_text(
        json.dumps({"task": "long", "prompt": "too long", "answer": "1"})
        + "\n"
        + json.dumps({"task": "long", "prompt": "Say 1", "answer": "1"})
    )
    data = EvalData(data.folder)
    found, _ = run(data, tmp_path, settings=Settings(("base",), ("long",)))
    row = report.summary(found)["arms"]["base"]["long"]
    assert row["errors"] == 1 and row["n"] == 2 and row["loss"] == 2.0
    assert "holds 8" in next(one.error for one in found.results if one.error)


def test_a_failed_request_is_made_again_and_a_known_result_is_not(data, tmp_path):
    class Down(FakeBackend):
        def generate(self, messages, attached, max_tokens):
            if messages[-1]["content"] == "Say 3":
                raise BackendError("the engine is closing")
            return super().generate(messages, attached, max_tokens)

    settings = Settings(("base",), ("copy",))
    assert sum(one.error is not None for one in run(data, tmp_path, Down(), settings)[0].results) == 1
    found, backend = run(data, tmp_path, settings=settings)
    assert backend.calls == 1 and not any(one.error for one in found.results)
    assert run(data, tmp_path, settings=settings)[1].calls == 0


def test_a_result_is_of_the_items_meta_too(data, tmp_path):
    """Tests, targets and final numbers stand there: with others the score is another."""
    settings = Settings(("base",), ("copy",))
    run(data, tmp_path, settings=settings)
    file = data.folder / "items.jsonl"
    file.write_text(file.read_text().replace('"meta": {"id": 3}', '"meta": {"id": 3, "final": "4"}'))
    assert run(EvalData(data.folder), tmp_path, settings=settings)[1].calls == 1


def test_prompts_that_keep_their_instruction_under_hint_only_are_noted(data, tmp_path):
    found, _ = run(data, tmp_path, settings=Settings(("base",), ("copy",), hint_only=True))
    assert found.notes == ("copy: prompts keep their instruction, there is no meta.input_start",)


def test_progress_counts_every_item_and_says_what_is_left(data, tmp_path):
    class Screen:
        text = ""

        def isatty(self):
            return True

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    screen = Screen()
    run(data, tmp_path, progress=lambda total: Progress(total, screen))
    assert "24/24" in screen.text and "left 0:00:00" in screen.text
