"""proxy/engine/engine.py on tiny real models: what a client of the engine may rely on."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.engine.api import (
    AdapterFile,
    AdapterUnusable,
    BadGrammar,
    BadMessages,
    ContextTooLong,
    EngineBusy,
    EngineClosed,
    EngineFailed,
    Generation,
    Placement,
    Sampling,
    UnknownModel,
    UnknownToken,
)
from proxy.engine.engine import Engine
from tests.proxy.engine.likely import assert_most_likely

GREEDY = Sampling(temperature=0.0)
LETTERS = "root ::= [a-z]+"
"""A grammar under which the tiny model's random bytes are text."""


def ask(engine: Engine, prompt: str, adapter: AdapterFile | None = None, **options) -> Generation:
    options = {"max_tokens": 12, "sampling": GREEDY, "ignore_eos": True} | options
    return Generation(engine.tokenize(prompt), Placement(adapter=adapter), **options)


def answer(engine: Engine, *arguments, **options) -> tuple[int, ...]:
    return tuple(token for chunk in engine.submit(ask(engine, *arguments, **options)) for token in chunk.tokens)


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def idle(engine: Engine) -> bool:
    stats = engine.stats()
    return stats.running == stats.queued == 0


# --- adapters -----------------------------------------------------------------------------------------------


def test_adapters_are_swapped_at_run_time_and_change_the_answer(engine, tiny_adapters):
    answers = {answer(engine, "hello", adapter) for adapter in [None, *tiny_adapters]}
    assert len(answers) == 4
    assert engine.stats().adapters_loaded == 3


def test_after_any_swaps_a_warm_context_answers_as_a_cold_one(make_engine, tiny_adapters):
    first, second, _ = tiny_adapters
    warm = make_engine()
    for adapter in (first, second, None, first):
        cold = make_engine()
        assert answer(warm, "the same prompt", adapter) == answer(cold, "the same prompt", adapter)
        cold.close()


def test_prefixes_are_reused_within_an_adapter_and_never_across(engine, tiny_adapters):
    prompt = "a prompt of more than eight tokens"

    def cached(adapter: AdapterFile | None) -> int:
        stream = engine.submit(ask(engine, prompt, adapter, max_tokens=1))
        list(stream)
        return stream.usage.cached_tokens

    tokens = len(engine.tokenize(prompt))
    assert [cached(adapter) for adapter in (None, tiny_adapters[0], tiny_adapters[1])] == [0, 0, 0]
    assert [cached(adapter) for adapter in (None, tiny_adapters[0], tiny_adapters[1])] == [tokens - 1] * 3


def test_a_prefix_that_left_the_cells_comes_back_and_answers_as_before(make_engine, tiny_adapters, monkeypatch):
    monkeypatch.setattr("proxy.engine.engine.IDLE_CELLS", 0)
    engine, reference = make_engine(), make_engine()
    prompt, adapter = "once upon a time there was a server", tiny_adapters[0]
    answer(engine, prompt, adapter)
    answer(engine, "something else altogether")
    assert engine.stats().prefix_cache_bytes > 0
    before = engine.stats()
    tokens = answer(engine, prompt + ". It", adapter)
    after = engine.stats()
    assert after.prefill_tokens - before.prefill_tokens < len(engine.tokenize(prompt)) / 2
    assert_most_likely(reference, prompt + ". It", adapter, tokens)


def test_a_follow_up_turn_computes_only_what_is_new(engine, tiny_adapters):
    first = answer(engine, "a long first turn", tiny_adapters[0])
    answer(engine, "somebody else", tiny_adapters[1])
    before = engine.stats().prefill_tokens
    prompt = (*engine.tokenize("a long first turn"), *first, *engine.tokenize(" and more"))
    stream = engine.submit(Generation(prompt, Placement(adapter=tiny_adapters[0]), 2, sampling=GREEDY))
    list(stream)
    # The last token of an answer is chosen but not computed.
    new = 1 + len(engine.tokenize(" and more"))
    assert stream.usage.cached_tokens == len(prompt) - new
    assert engine.stats().prefill_tokens - before == new


def test_the_least_recently_used_adapter_is_freed_past_the_budget(make_engine, tiny_adapters):
    budget = 2 * tiny_adapters[0].path.stat().st_size
    engine = make_engine(adapter_pool_bytes=budget)
    first = answer(engine, "hello", tiny_adapters[0])
    for adapter in tiny_adapters[1:]:
        answer(engine, "hello", adapter)
    until(lambda: engine.stats().adapters_loaded == 2)
    assert engine.stats().adapter_bytes <= budget
    assert answer(engine, "hello", tiny_adapters[0]) == first


def test_an_adapter_in_use_is_not_freed_whatever_the_budget(make_engine, tiny_adapters):
    engine = make_engine(adapter_pool_bytes=0)
    alone = [answer(engine, "hello", adapter) for adapter in tiny_adapters]
    streams = [engine.submit(ask(engine, "hello", adapter)) for adapter in tiny_adapters]
    assert [tuple(t for chunk in stream for t in chunk.tokens) for stream in streams] == alone
    until(lambda: engine.stats().adapters_loaded == 0)


def test_a_broken_adapter_fails_its_request_alone(engine, tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"not a gguf file")
    missing = AdapterFile("0" * 16, tmp_path / "missing.gguf")
    for adapter in (missing, AdapterFile("1" * 16, tmp_path / "broken.gguf")):
        with pytest.raises(AdapterUnusable, match=adapter.digest):
            list(engine.submit(ask(engine, "hello", adapter, n=2)))
    assert answer(engine, "hello")
    until(lambda: idle(engine))


# --- many at once -------------------------------------------------------------------------------------------


def test_requests_with_different_adapters_at_once_are_answered_as_alone(make_engine, tiny_adapters):
    engine = make_engine(max_sequences=8)
    requests = [(f"prompt {i}", adapter) for i, adapter in enumerate([None, *tiny_adapters] * 3)]
    alone = [answer(engine, *request) for request in requests]
    fresh = make_engine(max_sequences=8)
    streams = [fresh.submit(ask(fresh, *request)) for request in requests]
    assert [tuple(t for chunk in stream for t in chunk.tokens) for stream in streams] == alone


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(
        st.tuples(
            st.integers(0, 3),  # adapter, 0 = none
            st.integers(1, 60),  # prompt length
            st.integers(1, 20),  # answer length
            st.sampled_from([None, None, 0, 1, 5]),  # closed after so many chunks, None = read to the end
        ),
        min_size=1,
        max_size=10,
    )
)
def test_over_random_requests_and_cancels_everyone_is_answered_right_and_nothing_leaks(
    engine_pair, tiny_adapters, requests
):
    engine, reference = engine_pair
    text = "it was the best of times, it was the worst of times, it was the age of wisdom"
    adapters = [None, *tiny_adapters]
    asked = [(text[:length], adapters[which], count) for which, length, count, _ in requests]
    streams = [engine.submit(ask(engine, prompt, adapter, max_tokens=n)) for prompt, adapter, n in asked]
    got: dict[int, tuple[int, ...]] = {}

    def read(number: int, close_after: int | None) -> None:
        tokens: list[int] = []
        with streams[number] as stream:
            for count, chunk in enumerate(stream):
                if count == close_after:
                    break
                tokens.extend(chunk.tokens)
        got[number] = tuple(tokens)

    readers = [threading.Thread(target=read, args=(number, request[3])) for number, request in enumerate(requests)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(timeout=60)
        assert not reader.is_alive()
    for number, (prompt, adapter, count) in enumerate(asked):
        if requests[number][3] is None:
            assert len(got[number]) == count
        assert_most_likely(reference, prompt, adapter, got[number])
    until(lambda: idle(engine))
    runtime = next(iter(engine._runtimes.values()))
    assert not any(sequence.busy for sequence in runtime.pool.sequences)
    assert not engine._jobs and not engine._adapter_users


@pytest.fixture(scope="module")
def engine_pair(tiny_model_path: Path):
    """A small engine under pressure (few cells, few sequences) and a roomy one for reference."""
    from proxy.config import EngineConfig

    small = EngineConfig(context_tokens=256, max_sequences=3, batch_tokens=16, threads=1)
    large = EngineConfig(context_tokens=1024, max_sequences=4, batch_tokens=64, threads=1)
    engines = Engine(tiny_model_path, small), Engine(tiny_model_path, large)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.engine.engine.IDLE_CELLS", 24)  # so that prefixes are parked and come back
        yield engines
    for engine in engines:
        engine.close()


def test_answers_that_outgrow_the_cells_are_computed_again_and_come_out_right(make_engine):
    roomy, tight = make_engine(), make_engine(context_tokens=256, max_sequences=3)
    prompts = ["first of the prompts", "second of them", "third one"]
    streams = [tight.submit(ask(tight, prompt, max_tokens=150)) for prompt in prompts]
    for prompt, stream in zip(prompts, streams, strict=True):
        tokens = tuple(t for chunk in stream for t in chunk.tokens)
        assert len(tokens) == 150
        assert_most_likely(roomy, prompt, None, tokens)
    assert tight.stats().prefill_tokens > 2 * sum(map(len, prompts))


# --- leaving ------------------------------------------------------------------------------------------------


def test_closing_a_stream_frees_its_place_while_queued_in_the_prompt_and_while_answering(make_engine):
    engine = make_engine(max_sequences=1, batch_tokens=16)
    answering = engine.submit(ask(engine, "hello", max_tokens=400))
    next(answering)
    queued = engine.submit(ask(engine, "a prompt " * 40, max_tokens=1))
    until(lambda: engine.stats().queued == 1)
    queued.close()
    until(lambda: engine.stats().queued == 0)
    answering.close()
    until(lambda: idle(engine))
    in_prompt = engine.submit(ask(engine, "another prompt " * 25, max_tokens=1))
    computed = engine.stats().prefill_tokens
    until(lambda: engine.stats().prefill_tokens > computed)
    in_prompt.close()
    until(lambda: idle(engine))
    assert list(in_prompt) == []
    assert answer(engine, "hello", max_tokens=3)


def test_a_closed_stream_costs_at_most_the_step_under_way(engine):
    stream = engine.submit(ask(engine, "hello", max_tokens=400))
    next(stream)
    stream.close()
    steps = engine.stats().decode_steps
    until(lambda: idle(engine))
    assert engine.stats().decode_steps <= steps + 1


def test_past_the_queue_limit_a_request_is_refused_at_once(make_engine):
    engine = make_engine(max_sequences=1, queue_limit=1)
    streams = [engine.submit(ask(engine, "hello", max_tokens=400)) for _ in range(2)]
    with pytest.raises(EngineBusy):
        engine.submit(ask(engine, "hello"))
    for stream in streams:
        stream.close()
    until(lambda: idle(engine))
    assert answer(engine, "hello")


def test_closing_the_engine_fails_what_runs_and_refuses_what_comes(engine):
    stream = engine.submit(ask(engine, "hello", max_tokens=400))
    next(stream)
    engine.close()
    with pytest.raises(EngineClosed):
        list(stream)
    with pytest.raises(EngineClosed):
        engine.submit(ask(engine, "hello"))
    stream.close()


def test_closing_with_grace_lets_running_answers_end(engine):
    stream = engine.submit(ask(engine, "hello", max_tokens=30))
    engine.close(grace_s=30)
    assert sum(len(chunk.tokens) for chunk in stream) == 30


# --- failures -----------------------------------------------------------------------------------------------


def test_a_failing_decode_fails_its_requests_and_the_engine_goes_on(engine, monkeypatch):
    from proxy.engine.llama import Context, LlamaError

    expected = answer(engine, "hello")
    decode, calls = Context.decode, []

    def fail_once(self: Context, count: int) -> None:
        calls.append(count)
        if len(calls) == 3:
            raise LlamaError("llama_decode returned -3")
        decode(self, count)

    monkeypatch.setattr(Context, "decode", fail_once)
    with pytest.raises(EngineFailed, match="-3"):
        list(engine.submit(ask(engine, "hello")))
    assert answer(engine, "hello") == expected


def test_an_unforeseen_fault_is_told_to_all_and_the_engine_goes_on(engine, monkeypatch):
    expected = answer(engine, "hello")
    deliver, calls = Engine._deliver, []

    def fail_once(self: Engine, *arguments) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("surprise")
        deliver(self, *arguments)

    monkeypatch.setattr(Engine, "_deliver", fail_once)
    streams = [engine.submit(ask(engine, "hello", max_tokens=100)) for _ in range(3)]
    failed = 0
    for stream in streams:
        try:
            list(stream)
        except EngineFailed:
            failed += 1
    assert failed
    assert answer(engine, "hello") == expected


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(engine):
    with pytest.raises(ContextTooLong) as caught:
        engine.submit(Generation((65,) * 512))
    assert (caught.value.prompt_tokens, caught.value.limit) == (512, 512)


def test_an_answer_ends_with_length_where_the_context_ends(engine):
    chunks = list(engine.submit(Generation((65,) * 500, sampling=GREEDY, ignore_eos=True)))
    assert chunks[-1].finish_reason == "length"
    assert sum(len(chunk.tokens) for chunk in chunks) == 12


def test_unknown_models_and_tokens_are_refused_by_name(engine):
    with pytest.raises(UnknownModel, match="other"):
        engine.submit(Generation((1, 2), Placement("other")))
    with pytest.raises(UnknownToken, match="100000"):
        engine.submit(Generation((1, 100000)))
    with pytest.raises(UnknownToken, match="-1"):
        engine.submit(Generation((1,), sampling=Sampling(logit_bias=((-1, 1.0),))))


# --- sampling -----------------------------------------------------------------------------------------------


def test_n_answers_share_one_prompt_and_differ_by_seed(engine):
    generation = ask(engine, "a prompt of many tokens", n=3, sampling=Sampling(temperature=2.0, seed=7))
    stream = engine.submit(generation)
    texts: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for chunk in stream:
        texts[chunk.index] += chunk.tokens
    assert len({tuple(tokens) for tokens in texts.values()}) == 3
    assert stream.usage.completion_tokens == 36
    assert engine.stats().prefill_tokens == len(generation.prompt)


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(engine):
    answers = [answer(engine, "hello", sampling=Sampling(temperature=1.5, seed=s)) for s in (1, 1, 2)]
    assert answers[0] == answers[1] != answers[2]


def test_a_logit_bias_forces_and_forbids_tokens(engine):
    forced = Sampling(temperature=0.0, logit_bias=((65, 1000.0),))
    assert answer(engine, "hello", sampling=forced) == (65,) * 12
    usual = answer(engine, "hello", max_tokens=1)[0]
    forbidden = Sampling(temperature=1.0, logit_bias=((usual, -1000.0),))
    assert usual not in answer(engine, "hello", sampling=forbidden, max_tokens=50)


def test_penalties_stop_repetition(engine):
    biased = ((65, 30.0), (66, 20.0))
    plain = answer(engine, "hello", sampling=Sampling(temperature=0.0, logit_bias=biased))
    assert plain == (65,) * 12
    for penalty in ({"frequency_penalty": 2.0}, {"presence_penalty": 60.0}, {"repeat_penalty": 50.0}):
        sampling = Sampling(temperature=0.0, logit_bias=biased, **penalty)
        assert len(set(answer(engine, "hello", sampling=sampling))) > 1


def test_end_tokens_end_an_answer_unless_they_are_ignored(engine):
    end = engine.tokenize("<|im_end|>")
    assert len(end) == 1
    biased = Sampling(temperature=0.0, logit_bias=((end[0], 1000.0),))
    stream = engine.submit(ask(engine, "hello", sampling=biased, ignore_eos=False))
    assert [(c.text, c.tokens, c.finish_reason) for c in stream] == [("", (), "stop")]
    assert stream.usage.completion_tokens == 1
    assert end[0] not in answer(engine, "hello", sampling=biased)


def test_a_grammar_is_followed_and_ends_the_answer(engine):
    sampling = Sampling(temperature=1.0, seed=3, grammar='root ::= "yes" | "no"')
    chunks = list(engine.submit(ask(engine, "hello", sampling=sampling, ignore_eos=False)))
    assert "".join(chunk.text for chunk in chunks) in ("yes", "no")
    assert chunks[-1].finish_reason == "stop"


def test_a_finished_grammar_ends_the_answer_also_when_end_tokens_are_ignored(engine):
    sampling = Sampling(temperature=0.0, grammar='root ::= "yes"')
    chunks = list(engine.submit(ask(engine, "hello", sampling=sampling)))
    assert "".join(chunk.text for chunk in chunks) == "yes"
    assert chunks[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    "grammar",
    ["root ::= (", "nothing ::= [a-z]", 'root ::= undefined "x"', "root ::= " + "(" * 20_000, 'root ::= "\ud83d"',
     'root ::= e root "x" | "a"\ne ::= f\nf ::= ""', "root ::= [a-z] !<[0]>"],
)  # fmt: skip
def test_a_bad_grammar_is_refused_and_the_engine_goes_on(engine, grammar):
    with pytest.raises(BadGrammar):
        engine.submit(ask(engine, "hello", sampling=Sampling(grammar=grammar)))
    assert answer(engine, "hello")


def test_a_grammar_that_grows_ambiguous_ends_its_answer_and_no_other(engine, monkeypatch):
    """Each "(" doubles the ways to go on."""
    monkeypatch.setattr("proxy.engine.sampling.GRAMMAR_SECONDS", 0.2)
    monkeypatch.setattr("proxy.engine.sampling.GRAMMAR_SECONDS_A_TOKEN", 0.0)
    doubling = 'root ::= e\ne ::= "(" e "a" | "(" e "b" | "x"'
    sampling = Sampling(temperature=0.0, grammar=doubling, logit_bias=((ord("x"), -100.0),))
    with pytest.raises(BadGrammar, match="too ambiguous"):
        list(engine.submit(ask(engine, "hello", sampling=sampling, max_tokens=60)))
    assert answer(engine, "hello")


def test_a_refused_grammar_gives_its_place_in_the_queue_back(engine):
    for _ in range(200):
        with pytest.raises(BadGrammar):
            engine.submit(ask(engine, "hello", sampling=Sampling(grammar='root ::= "\ud83d"')))
    assert answer(engine, "hello")


def test_a_json_schema_that_cannot_be_expressed_is_refused(engine):
    with pytest.raises(BadGrammar):
        engine.json_grammar({"type": "no such type"})


def test_a_stop_string_is_found_across_tokens_and_named(engine):
    sampling = Sampling(temperature=0.0, grammar='root ::= "one two three"')
    chunks = list(engine.submit(ask(engine, "hello", sampling=sampling, stop=("o th", "zzz"), max_tokens=40)))
    assert "".join(chunk.text for chunk in chunks) == "one tw"
    assert (chunks[-1].finish_reason, chunks[-1].stop_text) == ("stop", "o th")
    assert sum(len(chunk.tokens) for chunk in chunks) == 6


def test_without_increments_an_answer_is_one_chunk(engine):
    sampling = Sampling(temperature=0.0, grammar='root ::= "one two three"')
    asked = ask(engine, "hello", sampling=sampling, max_tokens=40, incremental=False, top_logprobs=0)
    (chunk,) = engine.submit(asked)
    assert chunk.text == "one two three"
    assert b"".join(step.piece for step in chunk.logprobs) == b"one two three"


# --- logprobs -----------------------------------------------------------------------------------------------


def test_logprobs_are_the_softmax_of_the_logits(engine):
    (chunk,) = engine.submit(ask(engine, "hello", max_tokens=1, top_logprobs=260))
    (step,) = chunk.logprobs
    assert step.top[0].token == step.token
    assert [top.logprob for top in step.top] == sorted((top.logprob for top in step.top), reverse=True)
    assert len(step.top) == 260  # the whole vocabulary
    assert sum(np.exp(top.logprob) for top in step.top) == pytest.approx(1.0, abs=1e-5)


def test_prompt_logprobs_are_there_before_the_first_chunk_of_any_answer(engine):
    """The second time all but the first answer find the prompt computed, which the first has to score."""
    prompt = tuple(range(65, 90)) * 10
    for _ in range(2):
        asked = Generation(prompt, n=3, max_tokens=8, prompt_logprobs=True, ignore_eos=True)
        stream = engine.submit(asked)
        indices = []
        for chunk in stream:
            assert len(stream.prompt_logprobs) == len(prompt)
            indices.append(chunk.index)
        assert set(indices) == {0, 1, 2}


def test_prompt_logprobs_agree_with_the_answer_that_has_the_same_tokens(engine):
    chunks = list(engine.submit(ask(engine, "hello", top_logprobs=2)))
    steps = [step for chunk in chunks for step in chunk.logprobs]
    prompt = engine.tokenize("hello")
    again = (*prompt, *(step.token for step in steps))
    stream = engine.submit(Generation(again, max_tokens=0, prompt_logprobs=True, top_logprobs=2))
    assert [(chunk.text, chunk.finish_reason) for chunk in stream] == [("", "length")]
    scores = stream.prompt_logprobs
    assert scores[0] is None
    assert len(scores) == len(again)
    for score, step in zip(scores[len(prompt) :], steps, strict=True):
        assert score.token == step.token
        assert score.logprob == pytest.approx(step.logprob, abs=1e-4)
        assert [top.token for top in score.top] == [top.token for top in step.top]


def test_scoring_from_a_position_reuses_what_comes_before_it_and_gives_the_same_numbers(engine):
    prompt = engine.tokenize("a question of some length, asked before ")
    whole = (*prompt, *engine.tokenize("its answer"))
    stream = engine.submit(Generation(whole, max_tokens=0, prompt_logprobs=True))
    list(stream)
    assert stream.usage.cached_tokens == 0
    expected = stream.prompt_logprobs[len(prompt) :]
    list(engine.submit(Generation(prompt, max_tokens=3)))
    again = engine.submit(Generation(whole, max_tokens=0, prompt_logprobs=True, prompt_logprobs_from=len(prompt)))
    list(again)
    assert again.usage.cached_tokens == len(prompt) - 1
    for score, other in zip(again.prompt_logprobs[len(prompt) :], expected, strict=True):
        assert score.logprob == pytest.approx(other.logprob, abs=1e-4)
    with pytest.raises(ValueError, match="prompt_logprobs_from"):
        Generation(prompt, prompt_logprobs=True, prompt_logprobs_from=len(prompt))


def test_a_long_prompt_is_scored_over_several_steps_while_others_are_answered(make_engine):
    engine = make_engine(batch_tokens=16)
    other = engine.submit(ask(engine, "hello", max_tokens=100))
    stream = engine.submit(Generation(tuple(range(65, 90)) * 10, max_tokens=0, prompt_logprobs=True))
    list(stream)
    assert all(score.logprob < 0 for score in stream.prompt_logprobs[1:])
    assert sum(len(chunk.tokens) for chunk in other) == 100


# --- models -------------------------------------------------------------------------------------------------


def test_a_further_model_is_served_beside_the_base_and_leaves_when_its_answers_end(engine, tmp_path, tiny_model):
    other = tiny_model(tmp_path / "other.gguf", seed=9)
    engine.add_model("build", other)
    prompt = engine.tokenize("hello")
    in_build = Generation(prompt, Placement("build"), 300, sampling=GREEDY, ignore_eos=True)
    running = engine.submit(in_build)
    base = answer(engine, "hello")
    assert engine.stats().models == ("base", "build")
    engine.remove_model("build")
    with pytest.raises(UnknownModel):
        engine.submit(in_build)
    tokens = tuple(token for chunk in running for token in chunk.tokens)
    assert len(tokens) == 300
    assert tokens[:12] != base
    until(lambda: len(engine._runtimes) == 1)
    with pytest.raises(EngineFailed):
        engine.add_model("broken", tmp_path / "missing.gguf")


# --- text ---------------------------------------------------------------------------------------------------


def test_chat_messages_become_the_tokens_of_the_template(engine):
    messages = [{"role": "user", "content": "hi"}]
    expected = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert engine.chat_tokens(messages) == engine.tokenize(expected)
    assert engine.detokenize(engine.chat_tokens(messages), special=True) == expected
    with pytest.raises(BadMessages):
        engine.chat_tokens([], continue_final_message=True)


def test_an_event_loop_reads_streams_while_it_does_other_things(engine):
    async def read(prompt: str) -> tuple[int, ...]:
        stream = engine.submit(ask(engine, prompt, max_tokens=40))
        return tuple([token async for chunk in stream for token in chunk.tokens])

    async def main() -> list[tuple[int, ...]]:
        return await asyncio.gather(*(read(prompt) for prompt in ("one", "two", "three")))

    answers = asyncio.run(main())
    assert answers == [answer(engine, prompt, max_tokens=40) for prompt in ("one", "two", "three")]
