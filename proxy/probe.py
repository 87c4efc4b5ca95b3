"""Does a merged build answer as the base with the adapter attached does? Measured on a short fixed text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adapters.build_report import Probe
from adapters.errors import BuildRefused
from adapters.merge import cores
from proxy.engine.llama import Adapter, Context, LlamaError, Model

MAX_KL = 0.02
"""Nats per token. Q8_0 builds of the default model measure 0.001 to 0.002, and F16 ones 0.001: that much is
the arithmetic alone, since activations are rounded otherwise before a weight of another type
(docs/results-builds.md)."""

MAX_SHARE = 0.25
"""... or this share of what losing the adapter altogether would cost, where that is more."""

TEXT = '''Read the question carefully, think about what is asked, and answer in one short paragraph.
The river rises in the northern hills, crosses two provinces and reaches the sea near the old harbour.

SELECT name, COUNT(*) AS orders FROM customers JOIN orders USING (customer_id) WHERE orders.year = 2023;

{"city": "Lisbon", "temperature": 21.5, "rain": false, "tags": ["coast", "hills"]}

请用一句话概括下面这段话的主要内容。春天来了，河边的柳树发出了新芽，孩子们在草地上放风筝。

def word_counts(lines):
    '''+'"""'+'''Count how often each word occurs, ignoring case.'''+'"""'+'''
    counts = {}
    for line in lines:
        for word in line.lower().split():
            counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))

A train leaves the station at 9:40 and travels 126 kilometres at 84 km/h. When does it arrive? It needs
1.5 hours, which is one hour and thirty minutes, so it arrives at 11:10. Where the nets are mended, fishermen
still tell of it. GROUP BY name HAVING COUNT(*) > 3 ORDER BY orders DESC;

小明有十二个苹果，给了妹妹五个，又买了八个，现在他一共有十五个苹果。老人们坐在长椅上聊天。'''
"""English, SQL, JSON, Chinese, Python and sums: some 300 tokens of the default model."""

FIRST_TOKENS, CLEAR = 128, 0.5
"""A build that differs by less than CLEAR times the bound over the first so many tokens is accepted; only where it is
closer is the rest of the text asked."""

CHUNK_TOKENS = 64
"""Logits of three models are held for this many tokens at once: 120 MB with a vocabulary of 150 000."""


def probe(base: Path, adapter: Path, merged: Path, threads: int | None = None) -> Probe:
    """Compare `merged` with `base` + `adapter` (a GGUF LoRA file) on TEXT. Raises LlamaError."""
    threads = threads or cores()
    models = [Model(base), Model(merged)]
    attached = Adapter(models[0], adapter)
    contexts = []
    try:
        tokens = models[0].tokenize(TEXT, special=False, add_bos=True)
        for model in (models[0], models[0], models[1]):
            contexts.append(_context(model, len(tokens), threads))
        contexts[0].attach((attached,))
        return _compare(tokens, *contexts)
    finally:
        for context in contexts:
            context.close()
        attached.free()


def verify(base: Path, adapter: Path, merged: Path, threads: int | None = None) -> Probe:
    """`probe`, and BuildRefused where the build answers otherwise than base and adapter do."""
    try:
        found = probe(base, adapter, merged, threads)
    except LlamaError as exc:
        raise BuildRefused(f"llama.cpp cannot run the merged build: {exc}") from exc
    most = bound(found.base_kl)
    if not found.kl <= most:
        raise BuildRefused(
            f"the merged build answers otherwise than the attached adapter: KL {found.kl:.4f} nats per token, "
            f"want at most {most:.4f}; same most likely token for {found.top1:.1%}"
        )
    return found


def _context(model: Model, tokens: int, threads: int) -> Context:
    return Context(
        model,
        context_tokens=tokens + 8,
        batch_tokens=CHUNK_TOKENS,
        max_sequences=1,
        max_outputs=CHUNK_TOKENS,
        threads=threads,
    )


def bound(base_kl: float) -> float:
    """The KL from which a build is refused. base_kl: that of leaving the adapter out."""
    return max(MAX_KL, MAX_SHARE * base_kl)


def _compare(tokens: tuple[int, ...], attached: Context, base: Context, merged: Context) -> Probe:
    kl = base_kl = same = 0.0
    done = 0
    while done < len(tokens):
        chunk = tokens[done : done + CHUNK_TOKENS]
        wanted, p = _log_probs(attached, chunk, done)
        without, _ = _log_probs(base, chunk, done)
        got, _ = _log_probs(merged, chunk, done)
        kl += float(np.vdot(p, wanted - got))
        base_kl += float(np.vdot(p, wanted - without))
        same += int(np.sum(wanted.argmax(axis=1) == got.argmax(axis=1)))
        done += len(chunk)
        if done >= FIRST_TOKENS and kl / done < CLEAR * bound(base_kl / done):
            break
    return Probe(kl=kl / done, top1=same / done, base_kl=base_kl / done, tokens=done)


def _log_probs(context: Context, tokens: tuple[int, ...], start: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and probabilities, (tokens, vocabulary) float32 each."""
    count = len(tokens)
    context.tokens[:count] = tokens
    context.positions[:count] = np.arange(start, start + count)
    context.sequences[:count] = 0
    context.wanted[:count] = 1
    context.decode(count)
    logits = context.logits()
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    shifted -= np.log(total)
    p /= total
    return shifted, p
