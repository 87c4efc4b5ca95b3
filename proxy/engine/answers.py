"""One request and its answers while they are computed: tokens become text, chunks and an end. Knows no
schedule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from proxy.engine.api import Chunk, EngineError, FinishReason, Generation, Stream, TokenLogprob, Usage
from proxy.engine.llama import Candidates, Model
from proxy.engine.sampling import Chooser, token_logprob
from proxy.engine.text import Released, TextAssembler

Step = tuple[int, TokenLogprob | None]
"""A chosen token, with its logprob where one was asked for."""


@dataclass(eq=False, slots=True)
class Request:
    """What all answers of one request share."""

    generation: Generation
    model: Model
    stream: Stream
    open_answers: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_logprobs: list[TokenLogprob | None] | None = None
    failed: bool = False
    _early: list[Chunk] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.generation.prompt_logprobs:
            self.prompt_logprobs = [None] * len(self.generation.prompt)

    def started(self, cached_tokens: int) -> None:
        """The first answer was admitted, with so many of its prompt's tokens reused."""
        self.cached_tokens = cached_tokens
        self.report()

    def report(self) -> None:
        prompt_tokens = len(self.generation.prompt)
        self.stream.usage = Usage(prompt_tokens, self.cached_tokens, self.completion_tokens)

    def put(self, chunk: Chunk) -> None:
        """Delivers it, once the prompt's logprobs are there if they are wanted: another answer scores the prompt."""
        if self.prompt_logprobs is not None and self.stream.prompt_logprobs is None:
            self._early.append(chunk)
        else:
            self.stream.put(chunk)

    def answer_ended(self) -> None:
        self.open_answers -= 1
        if self.open_answers == 0:
            self.report()
            self.stream.finish()

    def fail(self, error: EngineError) -> None:
        self.failed = True
        self.report()
        self.stream.fail(error)

    def take_prompt_logits(self, start: int, rows: np.ndarray) -> None:
        """rows: (count, n_vocab) logits at prompt positions start, start + 1, ...; each tells of the next
        token.
        """
        prompt, top = self.generation.prompt, self.generation.top_logprobs or 0
        for position, row in enumerate(rows, start + 1):
            if position < len(prompt):
                self.prompt_logprobs[position] = token_logprob(self.model, row, prompt[position], top)
        if start + len(rows) >= len(prompt):
            self.stream.prompt_logprobs = tuple(self.prompt_logprobs)
            for chunk in self._early:
                self.stream.put(chunk)


@dataclass(eq=False, slots=True)
class Answer:
    """One of a request's answers."""

    request: Request
    index: int
    chooser: Chooser
    max_tokens: int
    generated: int = 0
    ended: bool = False
    _assembler: TextAssembler[Step] = field(init=False)
    _kept: list[Released[Step]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._assembler = TextAssembler(self.request.generation.stop)

    def step(self, row: np.ndarray | None, best: int | None, candidates: Candidates) -> int | None:
        """Chooses and takes in the next token; returns it, or None where the answer has ended.

        row: (n_vocab,) logits; None is enough where `best`, their argmax, is given.
        """
        request = self.request
        if self.generated >= self.max_tokens:  # nothing was to be generated
            return self._end("length")
        token = best if best is not None else self.chooser.choose(row, candidates)
        if token is None:
            return self._end("stop")
        self.generated += 1
        request.completion_tokens += 1
        if token in request.model.end_tokens:
            return self._end("stop")
        top = request.generation.top_logprobs
        logprob = None if top is None else token_logprob(request.model, row, token, top)
        self.chooser.accept(token)
        released = self._assembler.push(request.model.piece(token), (token, logprob))
        if self._assembler.stopped_by is not None:
            return self._end("stop", released)
        if self.generated >= self.max_tokens:
            return self._end("length", released)
        self._deliver(released)
        return token

    def close(self) -> None:
        self.chooser.close()

    def _deliver(self, released: Released[Step]) -> None:
        if not self.request.generation.incremental:
            self._kept.append(released)
        elif released.text or released.tokens:
            self.request.put(self._chunk([released], None))

    def _end(self, reason: FinishReason, released: Released[Step] | None = None) -> None:
        parts = [*self._kept, *([released] if released else []), self._assembler.finish()]
        self.request.put(self._chunk(parts, reason))
        self.ended = True
        self.request.answer_ended()

    def _chunk(self, parts: list[Released[Step]], reason: FinishReason | None) -> Chunk:
        steps = [step for part in parts for step in part.tokens]
        return Chunk(
            index=self.index,
            text="".join(part.text for part in parts),
            tokens=tuple(token for token, _ in steps),
            logprobs=tuple(logprob for _, logprob in steps if logprob is not None),
            finish_reason=reason,
            stop_text=self._assembler.stopped_by,
        )
