"""Choosing the next token from a row of logits, and logprobs. Cheap where little is asked.

Biases and penalties are applied with numpy to the few tokens they touch; then the row is cut to the
candidates that can matter, and only those go through llama.cpp's samplers (top_k, typical_p, top_p, min_p,
temperature, draw; llama.cpp's own order). Without temperature it is an argmax.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from proxy.engine.api import BadGrammar, Sampling, TokenLogprob, TopToken
from proxy.engine.llama import Candidates, LlamaError, Model, Sampler

NEAR = 10.0
"""First try: logits within this of the best; enough for most top_k."""
FAR = 24.0
"""Logits further below the best hold less than n_vocab * exp(-24), 6e-6 of the probability at 150 000 tokens.
"""
GRAMMAR_SECONDS, GRAMMAR_SECONDS_A_TOKEN = 2.0, 0.1
"""CPU time that an answer's grammar may take in all, while no other answer gets on. An ambiguous one costs llama.cpp
several times more with each level of nesting."""
SEEDS = 2**32 - 1
"""llama.cpp takes 2**32 - 1 for "draw a seed", so a given seed is brought below it."""


class Chooser:
    """One answer's way of choosing tokens: its random numbers, its penalties, its place in the grammar."""

    def __init__(
        self, model: Model, sampling: Sampling, prompt: Sequence[int], *, number: int, ignore_eos: bool
    ) -> None:
        """number: which of the n answers; each has its own seed. Raises BadGrammar."""
        self._model = model
        self._sampling = sampling
        self._greedy = sampling.temperature <= 0
        self._top_k = sampling.top_k if 0 < sampling.top_k < model.n_vocab else 0
        self._chain: Sampler | None = None
        self._grammar: Sampler | None = None
        self._grammar_seconds = GRAMMAR_SECONDS
        self._counts: Counter[int] = Counter()
        self._seen: set[int] = set(prompt) if sampling.repeat_penalty != 1.0 else set()
        self._penalises = bool(sampling.presence_penalty or sampling.frequency_penalty)
        self._banned = np.array(sorted(model.end_tokens), np.int64) if ignore_eos else None
        self._bias_tokens = np.array([token for token, _ in sampling.logit_bias], np.int64)
        self._biases = np.array([bias for _, bias in sampling.logit_bias], np.float32)
        self._edits = bool(sampling.logit_bias or self._penalises or self._banned is not None or self._repeats)
        if sampling.grammar is not None:
            try:
                self._grammar = Sampler().add_grammar(model, sampling.grammar)
            except LlamaError as exc:
                raise BadGrammar(f"the grammar cannot be used: {exc}") from exc
        if not self._greedy:
            self._chain = self._make_chain(number)

    @property
    def plain_greedy(self) -> bool:
        """The choice is the row's argmax and nothing else."""
        return self._greedy and not self._edits and self._grammar is None

    def choose(self, row: np.ndarray, candidates: Candidates) -> int | None:
        """The next token. row: (n_vocab,) float32 logits, left as they are.

        None: the grammar allows no further token, not even the end. Raises BadGrammar for one that takes too long.
        """
        if self._edits:
            row = self._edited(row)
        token = self._pick(row, None, candidates)
        if self._grammar is None:
            return token
        with self._limited():
            if self._allows(token, candidates):
                return token
            allowed = self._allowed(row, candidates)
        return self._pick(row[allowed], allowed, candidates) if len(allowed) else None

    def accept(self, token: int) -> None:
        """Takes a chosen token into account for the next ones. Raises BadGrammar, as `choose` does."""
        if self._grammar is not None:
            self._grammar_seconds += GRAMMAR_SECONDS_A_TOKEN
            with self._limited():
                self._grammar.accept(token)
        if self._penalises:
            self._counts[token] += 1
        if self._repeats:
            self._seen.add(token)

    def close(self) -> None:
        """Frees the samplers; the object is of no further use."""
        for sampler in (self._chain, self._grammar):
            if sampler is not None:
                sampler.close()

    @property
    def _repeats(self) -> bool:
        return self._sampling.repeat_penalty != 1.0

    def _make_chain(self, number: int) -> Sampler:
        wanted = self._sampling
        seed = secrets.randbelow(SEEDS) if wanted.seed is None else (wanted.seed + number) % SEEDS
        chain = Sampler()
        if self._top_k:
            chain.add("top_k", self._top_k)
        if wanted.typical_p < 1.0:
            chain.add("typical", wanted.typical_p, 1)
        if wanted.top_p < 1.0:
            chain.add("top_p", wanted.top_p, 1)
        if wanted.min_p > 0.0:
            chain.add("min_p", wanted.min_p, 1)
        return chain.add("temp", wanted.temperature).add("dist", seed)

    def _edited(self, row: np.ndarray) -> np.ndarray:
        row = row.copy()
        if len(self._biases):
            np.add.at(row, self._bias_tokens, self._biases)
        if self._repeats and self._seen:
            seen = np.fromiter(self._seen, np.int64, len(self._seen))
            values, penalty = row[seen], self._sampling.repeat_penalty
            row[seen] = np.where(values > 0, values / penalty, values * penalty)
        if self._penalises and self._counts:
            tokens = np.fromiter(self._counts.keys(), np.int64, len(self._counts))
            counts = np.fromiter(self._counts.values(), np.float32, len(self._counts))
            row[tokens] -= counts * self._sampling.frequency_penalty + self._sampling.presence_penalty
        if self._banned is not None:
            row[self._banned] = -np.inf
        return row

    def _pick(self, row: np.ndarray, ids: np.ndarray | None, candidates: Candidates) -> int:
        """Chooses among `row`'s logits; ids: the tokens they belong to, None = all of the vocabulary."""
        best = int(row.argmax())
        if self._chain is None:
            return best if ids is None else int(ids[best])
        chosen = self._near(row, float(row[best]))
        candidates.load(row[chosen], chosen if ids is None else ids[chosen])
        candidates.apply(self._chain)
        return candidates.selected

    def _near(self, row: np.ndarray, best: float) -> np.ndarray:
        """Indices, in rising order, of the logits that the samplers could still choose."""
        if self._top_k:
            near = np.flatnonzero(row > best - NEAR)
            if len(near) >= self._top_k:
                return near
        # Temperature comes last and flattens what the others left, so it widens what can matter.
        return np.flatnonzero(row >= best - FAR * max(1.0, self._sampling.temperature))

    @contextmanager
    def _limited(self) -> Iterator[None]:
        started = time.thread_time()
        yield
        self._grammar_seconds -= time.thread_time() - started
        if self._grammar_seconds < 0:
            raise BadGrammar("the grammar or JSON schema is too ambiguous or too large: following it takes too long")

    def _allows(self, token: int, candidates: Candidates) -> bool:
        candidates.load(np.zeros(1, np.float32), np.array([token], np.int32))
        candidates.apply(self._grammar)
        return candidates.first_logit == 0.0

    def _allowed(self, row: np.ndarray, candidates: Candidates) -> np.ndarray:
        """Tokens that may stand next. Spelling out the whole vocabulary costs milliseconds: seldom needed."""
        candidates.load(row)
        candidates.apply(self._grammar)
        return np.flatnonzero(candidates.logits(len(row)) > -math.inf)


def token_logprob(model: Model, row: np.ndarray, token: int, top: int) -> TokenLogprob:
    """The token's log-probability under the row's softmax, and the `top` most likely tokens beside it."""
    best = float(row.max())
    # float32: with 150 000 terms numpy's pairwise sum is exact to about 1e-6.
    log_total = best + math.log(float(np.exp(row - best).sum(dtype=np.float32)))
    tops: tuple[TopToken, ...] = ()
    if top:
        near = np.flatnonzero(row > best - NEAR)
        if len(near) < top:
            near = np.argpartition(row, -min(top, len(row)))[-top:]
        order = near[np.argsort(-row[near], kind="stable")[:top]]
        tops = tuple(TopToken(int(i), model.spell(int(i), special=True), float(row[i]) - log_total) for i in order)
    return TokenLogprob(token, model.spell(token, special=True), float(row[token]) - log_total, tops)
