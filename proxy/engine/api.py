"""What a caller of the engine sees: requests, chunks, the stream and the errors. Knows nothing of llama.cpp.

`EngineApi` is the interface the HTTP layer is written against. A fake of it makes real `Stream`s and feeds
them with `put`, `finish` and `fail`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

BASE_MODEL = "base"
"""Name of the model the engine was started with; merged builds are added under names of their own."""

FinishReason = Literal["stop", "length"]
"""stop: an end-of-generation token, a stop string or a finished grammar; length: max_tokens or the context
limit.
"""


# --- errors -------------------------------------------------------------------------------------------------


class EngineError(Exception):
    """Base of the engine's errors."""


class EngineBusy(EngineError):
    """The waiting queue is full; nothing of the request was kept."""

    def __init__(self, queued: int, limit: int) -> None:
        super().__init__(f"{queued} requests are waiting and the limit is {limit}")
        self.queued = queued
        self.limit = limit


class ContextTooLong(EngineError):
    """The prompt leaves no room for even one token of the answer. Both numbers are tokens."""

    def __init__(self, prompt_tokens: int, limit: int) -> None:
        super().__init__(f"the prompt has {prompt_tokens} tokens and the context holds {limit}")
        self.prompt_tokens = prompt_tokens
        self.limit = limit


class EngineClosed(EngineError):
    """The engine is shutting down or has been shut down."""


class EngineFailed(EngineError):
    """Computing this answer failed inside the engine; the message says how. The engine goes on if it can."""


class AdapterUnusable(EngineError):
    """llama.cpp refused the adapter file (missing, corrupt, or made for another base model)."""

    def __init__(self, digest: str, reason: str) -> None:
        super().__init__(f"adapter {digest} cannot be used: {reason}")
        self.digest = digest
        self.reason = reason


class UnknownToken(EngineError):
    """A token id in the prompt or in logit_bias is not in the model's vocabulary."""

    def __init__(self, token: int, n_vocab: int) -> None:
        super().__init__(f"token id {token} is not in the vocabulary of {n_vocab} tokens")
        self.token = token
        self.n_vocab = n_vocab


class BadGrammar(EngineError):
    """The GBNF text or JSON schema does not make a usable grammar."""


class BadMessages(EngineError):
    """The model's chat template refused the messages; the message is the template's own."""


class UnknownModel(EngineError):
    """No model of that name is loaded."""

    def __init__(self, name: str, loaded: Sequence[str]) -> None:
        super().__init__(f"model {name!r} is not loaded; loaded: {', '.join(loaded)}")
        self.name = name


# --- what is asked ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A LoRA adapter as llama.cpp reads it. `digest` names the weights: equal digests share KV cells, others
    never do.
    """

    digest: str
    path: Path


@dataclass(frozen=True, slots=True)
class Placement:
    """Which weights answer: a loaded model and at most one adapter attached to it."""

    model: str = BASE_MODEL
    adapter: AdapterFile | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The defaults are OpenAI's and change nothing about the distribution.

    temperature: 0 takes the most likely token. top_k: 0 = off. top_p, typical_p: 1.0 = off. min_p: 0.0 = off.
    repeat_penalty looks at prompt and answer (1.0 = off); presence_penalty and frequency_penalty look at the
    answer alone, as OpenAI's do (0.0 = off). seed: None draws one. logit_bias: (token, added logit) pairs.
    grammar: GBNF text whose start symbol is `root`; `Engine.json_grammar` makes one of a JSON schema.

    The same seed gives the same text as long as the logits are the same. Those depend on what is computed together:
    the batch's shape moves log-probabilities by up to 0.3 in the default model's quantised kernels (llama.cpp's
    property, with or without adapters). So the text is the same for a request that runs alone and finds the same
    prefix cached; in other company a near tie may fall differently, at temperature 0 too.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One request: token ids in, up to `n` answers out.

    max_tokens: None = to the end of the context; a larger number than the context allows is cut to it (finish
    "length").
    stop: strings that end an answer and are not part of it, also across token borders.
    top_logprobs: None = no logprobs; 0 = the chosen tokens' only; k = the k most likely beside each.
    Logprobs are of the model's own distribution, before temperature and the other sampling settings.
    prompt_logprobs: also compute every prompt token's (`Stream.prompt_logprobs`); with max_tokens 0 nothing
    is generated.
    prompt_logprobs_from: the first prompt position they are wanted for. What comes before it may be reused from an
    earlier request instead of being computed, and its logprobs may be None then.
    ignore_eos: end-of-generation tokens are never chosen.
    incremental: False delivers each answer as a single chunk at its end (cheaper; for non-streaming replies).
    """

    prompt: tuple[int, ...]
    placement: Placement = Placement()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    n: int = 1
    top_logprobs: int | None = None
    prompt_logprobs: bool = False
    prompt_logprobs_from: int = 1
    ignore_eos: bool = False
    incremental: bool = True

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("prompt has 0 tokens, want at least 1")
        if self.n < 1:
            raise ValueError(f"n is {self.n}, want at least 1")
        least = 0 if self.prompt_logprobs else 1
        if self.max_tokens is not None and self.max_tokens < least:
            raise ValueError(f"max_tokens is {self.max_tokens}, want at least {least}")
        if not 1 <= self.prompt_logprobs_from <= max(1, len(self.prompt) - 1):
            positions = f"1 to {len(self.prompt) - 1}"
            raise ValueError(f"prompt_logprobs_from is {self.prompt_logprobs_from}, want a position from {positions}")
        if any(not text for text in self.stop):
            raise ValueError("a stop string is empty")
        if self.top_logprobs is not None and self.top_logprobs < 0:
            raise ValueError(f"top_logprobs is {self.top_logprobs}, want 0 or more")


# --- what is answered ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopToken:
    """One candidate of a position. `piece`: the token's own bytes, which may be part of a UTF-8 character."""

    token: int
    piece: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that stands in the text, with its natural-log probability and the most likely candidates beside
    it.
    """

    token: int
    piece: bytes
    logprob: float
    top: tuple[TopToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one answer. `index`: which of the n answers.

    text never ends inside a UTF-8 character and never holds part of a stop string; it may be empty.
    tokens and logprobs (empty unless asked for) belong to the text delivered so far; both leave out
    end-of-generation tokens and what a stop string cut off. finish_reason is set in the last chunk of the
    answer, and only there; stop_text then names the stop string that ended it, if one did.
    """

    index: int
    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    stop_text: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request. cached_tokens: prompt tokens whose KV cells were reused; completion_tokens: over
    all n.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class Stream:
    """One request's chunks, from the engine's thread to one consumer on any thread or event loop.

    Iterate it once, with `for` (blocks) or `async for`. Iteration ends after the last chunk of the last
    answer, or after `close()`; it raises an EngineError where the answer failed. Leaving early: call
    `close()` (any thread, any number of times): the engine frees what the request holds before its next
    decode step, also while it waits in the queue or is in the middle of its prompt. `with stream:` closes it
    at the end.
    """

    def __init__(self, on_close: Callable[[], None] | None = None) -> None:
        self.usage = Usage()
        """Final once iteration has ended; prompt_tokens and cached_tokens are right from the first chunk on.
        """
        self.prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None
        """One per prompt token, the first None; set before the first chunk where the request asked for it."""
        self._on_close = on_close
        self._lock = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._error: EngineError | None = None
        self._ended = False
        self._closed = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    @property
    def closed(self) -> bool:
        """True once the consumer has called close()."""
        return self._closed

    @property
    def ended(self) -> bool:
        """True once there will be no further chunk, those not yet taken included; then `usage` is final."""
        return self._ended

    # The consumer's side.

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        with self._lock:
            while not self._chunks and not self._ended:
                self._lock.wait()
            return self._take(StopIteration)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            with self._lock:
                if self._chunks or self._ended:
                    return self._take(StopAsyncIteration)
                loop = asyncio.get_running_loop()
                future: asyncio.Future[None] = loop.create_future()
                self._waiter = (loop, future)
            await future

    def close(self) -> None:
        """Gives the answer up. Chunks not yet taken are dropped; iteration ends without an error."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._chunks.clear()
            was_running = not self._ended
            self._ended = True
            self._wake()
        if was_running and self._on_close is not None:
            self._on_close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # The engine's side. After close() these do nothing.

    def put(self, chunk: Chunk) -> None:
        """Appends a chunk and wakes the consumer."""
        with self._lock:
            if not self._ended:
                self._chunks.append(chunk)
                self._wake()

    def finish(self) -> None:
        """Ends iteration after the chunks put so far."""
        with self._lock:
            self._ended = True
            self._wake()

    def fail(self, error: EngineError) -> None:
        """Raises `error` in the consumer after the chunks put so far."""
        with self._lock:
            if not self._ended:
                self._error = error
                self._ended = True
                self._wake()

    def _take(self, end: type[Exception]) -> Chunk:
        if self._chunks:
            return self._chunks.popleft()
        if self._error is not None and not self._closed:
            raise self._error
        raise end

    def _wake(self) -> None:
        self._lock.notify_all()
        if self._waiter is not None:
            loop, future = self._waiter
            self._waiter = None
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


# --- the engine ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A snapshot for health and metrics. Counters grow from start-up; the others are of this moment."""

    running: int
    """Requests that hold KV cells and are being computed."""
    queued: int
    """Requests submitted and not yet running."""
    prefix_cache_bytes: int
    """Memory of idle prefixes that left the cells."""
    kv_used_tokens: int
    """Cells in use over all models, idle prefixes that may be dropped included."""
    kv_total_tokens: int
    prefill_tokens: int
    """Counter: prompt tokens computed."""
    cached_tokens: int
    """Counter: prompt tokens not computed because their cells were reused."""
    generated_tokens: int
    """Counter."""
    decode_steps: int
    """Counter: calls of llama_decode."""
    decode_seconds: float
    """Counter: time inside llama_decode."""
    busy_seconds: float
    """Counter: time of all steps; what exceeds decode_seconds is the engine's own."""
    adapters_loaded: int
    adapter_bytes: int
    models: tuple[str, ...]


class EngineApi(Protocol):
    """What the HTTP layer may call, from any thread. Calls are short unless said otherwise."""

    context_limit: int
    """Most tokens, prompt and answer together, of one request."""

    def submit(self, generation: Generation) -> Stream:
        """Queues a request.

        Raises EngineBusy, ContextTooLong, EngineClosed, UnknownModel, UnknownToken or BadGrammar at once.
        AdapterUnusable and EngineFailed are raised by the stream, before its first chunk if the request never
        started.
        """

    def tokenize(self, text: str, *, special: bool = True, add_bos: bool = True) -> tuple[int, ...]:
        """Token ids of `text`. special: control tokens written in the text count as such; add_bos: where the
        model wants it.
        """

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Text of the tokens; control tokens are left out unless `special`; bytes that are not UTF-8 become
        U+FFFD.
        """

    def chat_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        """The model's chat template applied to OpenAI-shaped messages, tokenised. Raises BadMessages.

        continue_final_message: the last message is left open, so that the answer continues it.
        template_arguments: further variables for the template (vLLM's chat_template_kwargs).
        """

    def json_grammar(self, schema: Mapping[str, Any] | None) -> str:
        """GBNF for a JSON schema, or for any JSON object where `schema` is None. Raises BadGrammar."""

    def add_model(self, name: str, path: Path) -> None:
        """Loads a further GGUF model (a merged build) under `name`; blocks until it is ready. Raises
        EngineFailed.
        """

    def remove_model(self, name: str) -> None:
        """Takes no new requests for `name`; running ones finish, then its memory is freed. Raises
        UnknownModel.
        """

    def stats(self) -> EngineStats: ...

    def close(self, grace_s: float = 0.0) -> None:
        """Takes no new requests, lets running ones go on for `grace_s` seconds, then fails the rest with
        EngineClosed.

        Returns when the thread has ended and the KV cells are freed; the weights go with the engine object.
        """
