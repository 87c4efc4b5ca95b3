"""Promotion: when it happens, what the first request after it finds, and what goes when there is no room."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapters.errors import BuildRefused
from adapters.gguf_file import write_gguf
from adapters.merge import merge
from proxy.config import BuildsConfig, EngineConfig
from proxy.engine.api import AdapterFile, EngineFailed, Generation, Placement, Sampling, UnknownModel
from proxy.engine.engine import Engine
from proxy.promotion import PromotingEngine
from tests.adapters.tiny_models import random_adapter, write_tiny
from tests.proxy.fakes import FakeEngine

PROMPT = (1, 2, 3)
PER_ANSWER = len(PROMPT) + 2
"""Tokens the fake engine reports of one request."""


class EngineWithModels(FakeEngine):
    """A fake with models; notes what happened in order."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Path] = {}
        self.log: list[tuple[str, str]] = []
        self.refuses: set[str] = set()

    def submit(self, generation):
        model = generation.placement.model
        if model != "base" and model not in self.models:
            raise UnknownModel(model, list(self.models))
        if model in self.refuses:
            raise EngineFailed("it does not run")
        self.log.append(("submit", model))
        return super().submit(generation)

    def add_model(self, name, path):
        self.models[name] = path
        self.log.append(("add", name))

    def remove_model(self, name):
        del self.models[name]
        self.log.append(("remove", name))


@pytest.fixture
def engine():
    return EngineWithModels()


def promoting(engine, make=None, **limits) -> PromotingEngine:
    config = BuildsConfig(**{"promote": True, "promote_after_hits": 2, "promote_after_tokens": 0, **limits})
    return PromotingEngine(engine, config, make or (lambda digest, folder: SimpleNamespace(path=folder / "build.gguf")))


def ask(engine, digest: str = "aa") -> None:
    """One request to its end."""
    placement = Placement(adapter=AdapterFile(digest, Path(f"/store/{digest}/adapter.gguf")))
    with engine.submit(Generation(PROMPT, placement)) as stream:
        list(stream)


def settle(engine: PromotingEngine) -> None:
    engine._worker.submit(lambda: None).result(10)


def test_a_hot_adapter_moves_to_its_build_warmed_with_its_own_prompt(engine):
    promoted = promoting(engine)
    ask(promoted)
    ask(promoted)
    settle(promoted)
    assert promoted.promoted() == {"aa": "build-aa"}
    assert engine.models == {"build-aa": Path("/store/aa/build.gguf")}
    assert engine.log == [("submit", "base")] * 2 + [("add", "build-aa"), ("submit", "build-aa")]
    warm = engine.submitted[-1]
    assert (warm.prompt, warm.max_tokens) == (PROMPT, 1)
    ask(promoted)
    assert engine.submitted[-1].placement == Placement("build-aa")


def test_tokens_count_as_well_as_hits(engine):
    promoted = promoting(engine, promote_after_hits=1, promote_after_tokens=2 * PER_ANSWER)
    ask(promoted)
    ask(promoted)
    settle(promoted)
    assert promoted.promoted() == {}, "two answers' tokens are known when the third request comes"
    ask(promoted)
    settle(promoted)
    assert promoted.promoted() == {"aa": "build-aa"}


def test_requests_stay_attached_until_the_build_is_warm(engine):
    may_end = threading.Event()

    def make(digest, folder):
        assert may_end.wait(10)
        return SimpleNamespace(path=folder / "build.gguf")

    promoted = promoting(engine, make)
    for _ in range(4):
        ask(promoted)
    assert engine.log == [("submit", "base")] * 4
    may_end.set()
    settle(promoted)
    ask(promoted)
    assert engine.log[-1] == ("submit", "build-aa")
    assert engine.log.count(("add", "build-aa")) == 1


def test_an_answer_under_way_stays_where_it_is(engine):
    engine.holds = True
    promoted = promoting(engine, promote_after_hits=1)
    placement = Placement(adapter=AdapterFile("aa", Path("/store/aa/adapter.gguf")))
    stream = promoted.submit(Generation(PROMPT, placement))
    for _ in range(100):
        if ("add", "build-aa") in engine.log:
            break
        time.sleep(0.01)
    assert engine.submitted[0].placement == placement
    assert not stream.ended
    for one in engine.streams:
        one.close()
    settle(promoted)


def test_the_longest_unused_build_makes_place(engine):
    promoted = promoting(engine, promote_after_hits=1, max_loaded=2)
    for digest in ("aa", "bb"):
        ask(promoted, digest)
        settle(promoted)
    ask(promoted, "aa")
    ask(promoted, "cc")
    settle(promoted)
    assert promoted.promoted() == {"aa": "build-aa", "cc": "build-cc"}
    assert set(engine.models) == {"build-aa", "build-cc"}
    ask(promoted, "bb")
    assert engine.log.count(("submit", "base")) == 4, "aa, bb and cc once, and bb again: it is attached again"
    settle(promoted)


def test_a_build_that_vanishes_between_two_calls_costs_no_answer(engine):
    promoted = promoting(engine, promote_after_hits=1)
    ask(promoted)
    settle(promoted)
    engine.models.clear()
    ask(promoted)
    assert engine.log[-1] == ("submit", "base")


def test_a_refused_build_leaves_the_adapter_attached_and_is_not_asked_for_again(engine, caplog):
    asked = []

    def make(digest, folder):
        asked.append(digest)
        raise BuildRefused("it lost the adapter")

    promoted = promoting(engine, make)
    for _ in range(4):
        ask(promoted)
        settle(promoted)
    assert asked == ["aa"]
    assert promoted.promoted() == {}
    assert "it lost the adapter" in caplog.text


def test_a_build_the_engine_cannot_run_is_unloaded(engine):
    engine.refuses.add("build-aa")
    promoted = promoting(engine, promote_after_hits=1)
    ask(promoted)
    settle(promoted)
    assert (promoted.promoted(), engine.models) == ({}, {})


def test_requests_without_an_adapter_pass_through(engine):
    promoted = promoting(engine, promote_after_hits=1)
    with promoted.submit(Generation(PROMPT)) as stream:
        list(stream)
    settle(promoted)
    assert engine.log == [("submit", "base")]


def test_a_real_engine_answers_the_same_before_and_after(tmp_path):
    """A real merge of a tiny model, loaded beside its base; temperature 0."""
    base = write_tiny(tmp_path / "base.gguf", "qwen2", "f32")
    adapter = random_adapter(base, 0.3)
    (tmp_path / "aa").mkdir()
    write_gguf(adapter, tmp_path / "aa" / "adapter.gguf", base.model)

    def make(digest, folder):
        return merge(base, adapter, tmp_path / "build.gguf", store="f16")

    engine = Engine(tmp_path / "base.gguf", EngineConfig(context_tokens=256, max_sequences=2, threads=1))
    promoted = promoting(engine, make)
    placement = Placement(adapter=AdapterFile("aa", tmp_path / "aa" / "adapter.gguf"))
    wanted = Generation(tuple(b"the quick brown"), placement, max_tokens=12, sampling=Sampling(temperature=0.0))
    answers = []
    try:
        for _ in range(3):
            with promoted.submit(wanted) as stream:
                answers.append([token for chunk in stream for token in chunk.tokens])
            settle(promoted)
        assert promoted.promoted() == {"aa": "build-aa"}
        assert stream.usage.cached_tokens > 0, "the first request on the build finds the warmed prefix"
        base_only = replace(wanted, placement=Placement())
        with promoted.submit(base_only) as stream:
            plain = [token for chunk in stream for token in chunk.tokens]
    finally:
        promoted.close()
    assert answers[0] == answers[1] == answers[2] != plain
