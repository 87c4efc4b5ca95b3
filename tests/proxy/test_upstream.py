import sys
from types import SimpleNamespace

import pytest

from proxy.config import EnhancerConfig
from proxy.upstream import open_rewriter, resting
from t2l.enhancer import RewriteFailed
from tests.proxy.fakes import FakeEngine


def litellm(monkeypatch, completion):
    monkeypatch.setitem(sys.modules, "litellm", SimpleNamespace(completion=completion))


def test_off_is_no_rewriter():
    assert open_rewriter(EnhancerConfig(), FakeEngine) is None
    assert open_rewriter(EnhancerConfig(llm="local"), None) is None


def test_local_asks_the_base_model_at_temperature_0():
    engine = FakeEngine()
    rewrite = open_rewriter(EnhancerConfig(llm="local"), lambda: engine)
    assert rewrite("improve this") == "Hello"
    assert engine.submitted[0].sampling.temperature == 0 and engine.submitted[0].placement.adapter is None


def test_local_gives_up_after_its_time():
    engine = FakeEngine()
    engine.holds = True
    rewrite = open_rewriter(EnhancerConfig(llm="local", llm_timeout_s=0.1), lambda: engine)
    with pytest.raises(RewriteFailed, match=r"more than 0\.1 s"):
        rewrite("improve this")
    assert engine.cancelled.is_set()


def test_any_other_name_goes_through_litellm(monkeypatch):
    asked = {}

    def completion(**fields):
        asked.update(fields)
        return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="better"))])

    litellm(monkeypatch, completion)
    assert open_rewriter(EnhancerConfig(llm="ollama/llama3", llm_timeout_s=3), None)("improve") == "better"
    assert (asked["model"], asked["timeout"], asked["messages"][0]["content"]) == ("ollama/llama3", 3, "improve")


@pytest.mark.parametrize("answer", [None, ""])
def test_no_answer_and_any_error_are_a_failed_rewrite(monkeypatch, answer):
    said = SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=answer))])
    litellm(monkeypatch, lambda **fields: said)
    with pytest.raises(RewriteFailed, match="answered nothing"):
        open_rewriter(EnhancerConfig(llm="x/y"), None)("improve")

    def fails(**fields):
        raise ConnectionError("refused")

    litellm(monkeypatch, fails)
    with pytest.raises(RewriteFailed, match="refused"):
        open_rewriter(EnhancerConfig(llm="x/y"), None)("improve")


def test_what_failed_is_not_asked_again_for_a_while(monkeypatch):
    asked, now = [], [100.0]
    monkeypatch.setattr("proxy.upstream.time", SimpleNamespace(monotonic=lambda: now[0]))

    def complete(prompt):
        asked.append(prompt)
        if prompt == "bad":
            raise RewriteFailed("refused")
        return "better"

    rewrite = resting(complete, 30)
    for prompt in ("bad", "good"):
        with pytest.raises(RewriteFailed, match="refused"):
            rewrite(prompt)
    assert asked == ["bad"]
    now[0] += 31
    assert rewrite("good") == "better"
