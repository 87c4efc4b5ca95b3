"""The evaluation's model as served: the engine, its quantised file, adapters attached as GGUF LoRA files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path

from adapters.gguf_file import BaseModel, write_gguf
from adapters.lora import LoraAdapter
from proxy.engine.api import (
    AdapterFile,
    BadMessages,
    EngineApi,
    EngineClosed,
    EngineError,
    Generation,
    Placement,
    Sampling,
    Stream,
)
from t2l.evaluate.backend import BackendError, Likelihood, Reply
from t2l.evaluate.prompts import Messages

PROBE = ({"role": "system", "content": "s"}, {"role": "user", "content": "u"})
GREEDY = Sampling(temperature=0.0)
TOP = 64
"""Most likely tokens looked at for the options; a letter that is not among them is asked for by itself."""


class EngineBackend:
    """Implements `t2l.evaluate.backend.Backend` over a running engine. Close it to remove its adapter
    files."""

    def __init__(self, engine: EngineApi, base: BaseModel, concurrency: int) -> None:
        self.concurrency = concurrency
        self.engine = engine
        self._base = base
        self._folder = tempfile.TemporaryDirectory(prefix="et2l-eval-")
        self._numbers = count()
        self._end = self._end_tokens()
        # A checkpoint may bring a chat template of its own: other prompts, other results.
        template = sha256(repr(self._prompt(PROBE)).encode()).hexdigest()[:8]
        self.identity = f"engine:{base.digest}:{template}"

    def close(self) -> None:
        self._folder.cleanup()

    def attach(self, adapter: LoraAdapter | None) -> Placement:
        if adapter is None:
            return Placement()
        # A file of its own each time: two arms may share an adapter and let go of it at different times.
        path = Path(self._folder.name) / f"{adapter.digest}-{next(self._numbers)}.gguf"
        write_gguf(adapter, path, self._base)
        return Placement(adapter=AdapterFile(adapter.digest, path))

    def detach(self, attached: Placement) -> None:
        if attached.adapter is not None:
            attached.adapter.path.unlink(missing_ok=True)

    def count_tokens(self, text: str) -> int:
        return len(self._answer(text))

    def generate(self, messages: Messages, attached: Placement, max_tokens: int) -> Reply:
        prompt = self._prompt(messages)
        with self._submit(
            Generation(prompt, attached, max_tokens, sampling=GREEDY, incremental=False)
        ) as stream:
            chunks = list(stream)
        return Reply("".join(chunk.text for chunk in chunks), chunks[-1].finish_reason == "stop")

    def loss(self, messages: Messages, answer: str, attached: Placement) -> Likelihood:
        tokens = (*self._answer(answer), *self._end)
        return Likelihood(self._nats(self._prompt(messages), tokens, attached), len(tokens))

    def option_nats(
        self, messages: Messages, options: Sequence[str], attached: Placement
    ) -> tuple[float, ...]:
        prompt = self._prompt(messages)
        answers = [self._answer(option) for option in options]
        # One look at the next token's distribution tells those of one token, and the prompt is in the cache.
        single = all(len(answer) == 1 for answer in answers)
        top = self._next_token(prompt, attached) if single else {}
        return tuple(
            -top[answer[0]] if answer[0] in top else self._nats(prompt, answer, attached)
            for answer in answers
        )

    def _next_token(self, prompt: tuple[int, ...], attached: Placement) -> dict[int, float]:
        """Log-probabilities of the likeliest next tokens."""
        generation = Generation(
            prompt,
            attached,
            max_tokens=1,
            sampling=GREEDY,
            top_logprobs=TOP,
            ignore_eos=True,
            incremental=False,
        )
        with self._submit(generation) as stream:
            (first,) = [token for chunk in stream for token in chunk.logprobs]
        return {candidate.token: candidate.logprob for candidate in first.top}

    def _nats(self, prompt: tuple[int, ...], answer: tuple[int, ...], attached: Placement) -> float:
        generation = Generation(
            (*prompt, *answer), attached, max_tokens=0, prompt_logprobs=True, prompt_logprobs_from=len(prompt)
        )
        with self._submit(generation) as stream:
            for _ in stream:
                pass
            logprobs = stream.prompt_logprobs
        return -sum(token.logprob for token in logprobs[len(prompt) :])

    @contextmanager
    def _submit(self, generation: Generation) -> Iterator[Stream]:
        """What the engine cannot answer is one item's failure, unless the engine is closed."""
        try:
            with self.engine.submit(generation) as stream:
                yield stream
        except EngineClosed:
            raise
        except EngineError as exc:
            raise BackendError(str(exc)) from exc

    def _prompt(self, messages: Messages) -> tuple[int, ...]:
        try:
            return self.engine.chat_tokens(messages)
        except BadMessages:
            pass  # Gemma 2's and others know no system role
        try:
            return self.engine.chat_tokens(without_system(messages))
        except BadMessages as exc:
            raise BackendError(f"the chat template refuses these messages: {exc}") from exc

    def _answer(self, text: str) -> tuple[int, ...]:
        """By itself, as the model writes it after the template's last token."""
        return self.engine.tokenize(text, special=False, add_bos=False)

    def _end_tokens(self) -> tuple[int, ...]:
        """The token that ends an answer, as the chat template has it; none where the template shows none."""
        asked = [{"role": "user", "content": "x"}]
        prompt = self.engine.chat_tokens(asked)
        whole = self.engine.chat_tokens(
            [*asked, {"role": "assistant", "content": "x"}], add_generation_prompt=False
        )
        start = (*prompt, *self._answer("x"))
        return whole[len(start) : len(start) + 1] if whole[: len(start)] == start else ()


def without_system(messages: Messages) -> Messages:
    """The system text in front of the first user message instead, where there is any."""
    system = "".join(message["content"] for message in messages if message["role"] == "system")
    turns = [message for message in messages if message["role"] != "system"]
    if not system or not turns:
        return tuple(turns)
    return ({**turns[0], "content": f"{system}\n\n{turns[0]['content']}"}, *turns[1:])
