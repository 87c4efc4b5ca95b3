"""proxy/engine/mixer.py: one decode over several adapters computes what each adapter computes alone."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from adapters.native import NativeUnavailable
from proxy.engine import mixer as mixer_module
from proxy.engine.api import AdapterFile, Generation, Placement, Sampling
from proxy.engine.llama import Adapter, Context, Model, new_mixer
from proxy.engine.mixer import MixerUnavailable
from tests.proxy.engine.likely import assert_most_likely

TEXT = "the quick brown fox"
PROMPT = list(TEXT.encode())


@pytest.fixture
def context(tiny_model_path: Path):
    model = Model(tiny_model_path)
    context = Context(
        model, context_tokens=512, batch_tokens=128, max_sequences=8, max_outputs=64, threads=1, mixer=new_mixer()
    )
    yield context
    context.close()


def compute(context: Context, sequences: list[int], prompt: list[int] = PROMPT) -> np.ndarray:
    """(sequences, n_vocab): logits after the prompt, computed for all the sequences in one decode."""
    for place, sequence in enumerate(sequences):
        context.remove(sequence)
        part = slice(place * len(prompt), (place + 1) * len(prompt))
        context.tokens[part] = prompt
        context.positions[part] = range(len(prompt))
        context.sequences[part] = sequence
        context.wanted[part] = 0
        context.wanted[part.stop - 1] = 1
    context.decode(len(sequences) * len(prompt))
    return context.logits().copy()


def batch_noise(context: Context, alone: np.ndarray, count: int) -> float:
    """How much the logits change when `count` equal sequences are computed together, with what is attached now.

    KV cells are float16 and sums are ordered by the batch's size: about 0.01 where the logits' spread is 3.
    """
    noise = float(np.abs(compute(context, list(range(count))) - alone).max())
    assert noise < 0.05
    return noise


def learn(context: Context, adapter: Adapter) -> np.ndarray:
    """The logits with this adapter alone; its tensors are learned on the way."""
    context.attach((adapter,))
    context.wanted[: len(PROMPT)] = 0
    context.wanted[len(PROMPT) - 1] = 1
    context.mixer.learn(context.wanted[: len(PROMPT)])
    logits = compute(context, [0])
    adapter.tensors = context.mixer.learned()
    context.mixer.off()
    return logits[0]


def test_tokens_of_different_adapters_and_of_none_get_their_own_logits_in_one_decode(context, tiny_adapters):
    adapters = [Adapter(context.model, file.path) for file in tiny_adapters]
    alone = [learn(context, adapter) for adapter in adapters]
    assert [len(adapter.tensors) for adapter in adapters] == [4, 4, 4]  # two layers, q and v
    context.attach(())
    alone.append(compute(context, [0])[0])
    noise = batch_noise(context, alone[-1], 4)
    for first, second in pairwise(alone):
        assert np.abs(first - second).max() > 1  # each adapter changes much
    context.attach(tuple(adapters))
    users = np.repeat([0, 1, 2, -1], len(PROMPT))
    wanted = np.tile([0] * (len(PROMPT) - 1) + [1], 4)
    context.mixer.mix([adapter.tensors for adapter in adapters], users, wanted)
    together = compute(context, [0, 1, 2, 3])
    assert context.mixer.kept_apart
    np.testing.assert_allclose(together, np.stack(alone), atol=3 * noise + 1e-4)


def test_adapters_of_every_linear_layer_are_kept_apart_also_where_the_last_layer_drops_tokens(
    context, random_adapter, tmp_path
):
    shapes = {
        "attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64),
        "ffn_gate": (96, 64), "ffn_up": (96, 64), "ffn_down": (64, 96),
    }  # fmt: skip
    files = [random_adapter(tmp_path / f"{seed}.gguf", seed, shapes=shapes) for seed in (1, 2)]
    adapters = [Adapter(context.model, file.path) for file in files]
    alone = [learn(context, adapter) for adapter in adapters]
    noise = batch_noise(context, alone[-1], 2)
    context.attach(tuple(adapters))
    users = np.repeat([0, 1], len(PROMPT))
    wanted = np.tile([0] * (len(PROMPT) - 1) + [1], 2)
    context.mixer.mix([adapter.tensors for adapter in adapters], users, wanted)
    together = compute(context, [0, 1])
    assert context.mixer.kept_apart
    np.testing.assert_allclose(together, np.stack(alone), atol=3 * noise + 1e-4)


def test_a_step_whose_shape_is_not_the_announced_one_is_noticed(context, tiny_adapters):
    adapters = [Adapter(context.model, file.path) for file in tiny_adapters[:2]]
    for adapter in adapters:
        learn(context, adapter)
    context.attach(tuple(adapters))
    context.mixer.mix([adapter.tensors for adapter in adapters], np.array([0, 1]), np.array([1, 1]))
    compute(context, [0, 1])
    assert not context.mixer.kept_apart


def ask_all(engine, adapters: list[AdapterFile | None], tokens: int = 12) -> list[tuple[int, ...]]:
    streams = []
    for adapter in adapters:
        prompt = engine.tokenize(TEXT)
        greedy = Sampling(temperature=0)
        asked = Generation(prompt, Placement(adapter=adapter), tokens, sampling=greedy, ignore_eos=True)
        streams.append(engine.submit(asked))
    return [tuple(token for chunk in stream for token in chunk.tokens) for stream in streams]


def test_the_engine_serves_all_adapters_in_the_same_steps_and_the_answers_are_right(
    make_engine, tiny_adapters
):
    engine = make_engine()
    adapters = [None, *tiny_adapters]
    for adapter in adapters:
        ask_all(engine, [adapter])  # an adapter's first step is its own: the mixer learns it
    before = engine.stats().decode_steps
    answers = ask_all(engine, adapters, 60)  # long beside the time that a busy machine takes to ask four times
    assert engine.stats().decode_steps - before <= 72  # one at a time it takes 240
    reference = make_engine()
    for adapter, tokens in zip(adapters, answers, strict=True):
        assert_most_likely(reference, TEXT, adapter, tokens)


def test_without_the_native_part_adapters_take_turns_and_the_answers_are_right(
    make_engine, tiny_adapters, monkeypatch
):
    def unavailable(source: Path) -> Path:
        raise NativeUnavailable("no compiler")

    monkeypatch.setattr(mixer_module, "built", unavailable)
    engine, adapters = make_engine(), [None, *tiny_adapters]
    answers = ask_all(engine, adapters)
    assert engine.stats().decode_steps >= 48
    for adapter, tokens in zip(adapters, answers, strict=True):
        assert_most_likely(engine, TEXT, adapter, tokens)


def test_a_machine_without_a_compiler_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(MixerUnavailable, match="no-such-compiler"):
        new_mixer()
