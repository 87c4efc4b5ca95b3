"""Replies in OpenAI's shapes, made of the engine's chunks: the same objects serve a stream, a single body and
the command line. Knows no HTTP.

A reply is driven by whoever reads it: `opening()`, then `feed(part, chunk)` for every chunk of every part's
stream, then `closing()` give the events of a stream; after the last chunk `body()` is the whole answer.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.engine.api import Chunk, Stream, TokenLogprob, TopToken, Usage
from proxy.tools import Called, ToolCallReader

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """What every event and the body repeat."""

    id: str
    model: str
    fingerprint: str
    include_usage: bool
    created: int = field(default_factory=lambda: int(time.time()))


class Reply(Protocol):
    """An answer under way. Close it, also when it was not read to its end."""

    streams: tuple[Stream, ...]
    headers: Mapping[str, str]

    def opening(self) -> list[Event]: ...
    def feed(self, part: int, chunk: Chunk) -> list[Event]: ...
    def closing(self) -> list[Event]: ...
    def body(self) -> dict[str, Any]: ...
    def close(self) -> None: ...


def new_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(12)}"


def usage_of(streams: tuple[Stream, ...]) -> dict[str, Any]:
    """OpenAI's usage object over the streams, whose counts are final once they have ended."""
    counts: list[Usage] = [stream.usage for stream in streams]
    prompt = sum(count.prompt_tokens for count in counts)
    completion = sum(count.completion_tokens for count in counts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(count.cached_tokens for count in counts)},
    }


# --- chat completions ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class ChatChoice:
    """One of the n answers, as far as it has come."""

    reader: ToolCallReader | None
    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None


class ChatReply:
    """A chat completion: one stream with n answers."""

    def __init__(
        self,
        head: ReplyHead,
        stream: Stream,
        headers: Mapping[str, str],
        *,
        n: int,
        new_reader: Callable[[], ToolCallReader] | None = None,
        logprobs: bool = False,
    ) -> None:
        """new_reader: makes what finds tool calls in one answer; None = the answers are text."""
        self.head = head
        self.streams = (stream,)
        self.headers = headers
        self.with_logprobs = logprobs
        self.choices = [ChatChoice(new_reader() if new_reader else None) for _ in range(n)]

    def opening(self) -> list[Event]:
        return [self.event(i, {"role": "assistant", "content": ""}) for i in range(len(self.choices))]

    def feed(self, part: int, chunk: Chunk) -> list[Event]:
        choice = self.choices[chunk.index]
        last = chunk.finish_reason is not None
        logprobs = [chat_logprob(one) for one in chunk.logprobs]
        choice.logprobs += logprobs
        pieces = choice.reader.feed(chunk.text, last=last) if choice.reader else [chunk.text] if chunk.text else []
        deltas = [self.take(choice, piece) for piece in pieces]
        if logprobs and not deltas:
            deltas = [{"content": ""}]
        events = [self.event(chunk.index, delta) for delta in deltas]
        if logprobs:
            events[0]["choices"][0]["logprobs"] = {"content": logprobs, "refusal": None}
        if last:
            called = choice.calls and chunk.finish_reason == "stop"
            choice.finish_reason = "tool_calls" if called else chunk.finish_reason
            events.append(self.event(chunk.index, {}, choice.finish_reason))
        return events

    def take(self, choice: ChatChoice, piece: str | Called) -> dict[str, Any]:
        """Adds a piece to the answer; the delta that tells of it."""
        if isinstance(piece, str):
            choice.text += piece
            return {"content": piece}
        call = {
            "id": new_id("call"),
            "type": "function",
            "function": {"name": piece.name, "arguments": piece.arguments},
        }
        choice.calls.append(call)
        return {"tool_calls": [{"index": len(choice.calls) - 1, **call}]}

    def closing(self) -> list[Event]:
        if not self.head.include_usage:
            return []
        return [{**self.frame("chat.completion.chunk"), "choices": [], "usage": usage_of(self.streams)}]

    def body(self) -> dict[str, Any]:
        choices = []
        for index, choice in enumerate(self.choices):
            message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
            if choice.calls:
                message = {**message, "content": choice.text or None, "tool_calls": choice.calls}
            logprobs = {"content": choice.logprobs, "refusal": None} if self.with_logprobs else None
            choices.append(
                {
                    "index": index,
                    "message": message,
                    "logprobs": logprobs,
                    "finish_reason": choice.finish_reason,
                }
            )
        return {**self.frame("chat.completion"), "choices": choices, "usage": usage_of(self.streams)}

    def frame(self, kind: str) -> Event:
        return {
            "id": self.head.id,
            "object": kind,
            "created": self.head.created,
            "model": self.head.model,
            "system_fingerprint": self.head.fingerprint,
        }

    def event(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        event = {**self.frame("chat.completion.chunk"), "choices": [choice]}
        return {**event, "usage": None} if self.head.include_usage else event

    def close(self) -> None:
        for stream in self.streams:
            stream.close()


def chat_logprob(token: TokenLogprob) -> dict[str, Any]:
    return {**chat_candidate(token), "top_logprobs": [chat_candidate(one) for one in token.top]}


def chat_candidate(token: TokenLogprob | TopToken) -> dict[str, Any]:
    text = token.piece.decode("utf-8", errors="replace")
    return {"token": text, "logprob": token.logprob, "bytes": list(token.piece)}


# --- completions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as its reply needs it: its text, and that of its first token (which has no probability)."""

    text: str
    first_token: str


@dataclass(slots=True)
class TextChoice:
    """One completion as far as it has come. The lists are OpenAI's logprobs object, one entry per token."""

    text: str = ""
    finish_reason: str | None = None
    tokens: list[str] = field(default_factory=list)
    token_logprobs: list[float | None] = field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] = field(default_factory=list)
    text_offset: list[int] = field(default_factory=list)
    offset: int = 0
    opened: bool = False


class CompletionReply:
    """A text completion: a stream per prompt, n completions each; choice index = prompt * n + answer."""

    def __init__(
        self,
        head: ReplyHead,
        streams: tuple[Stream, ...],
        headers: Mapping[str, str],
        *,
        prompts: tuple[Prompt, ...],
        n: int,
        echo: bool,
        logprobs: bool,
    ) -> None:
        self.head = head
        self.streams = streams
        self.headers = headers
        self.prompts = prompts
        self.n = n
        self.echo = echo
        self.with_logprobs = logprobs
        self.choices = [TextChoice() for _ in range(len(prompts) * n)]

    def opening(self) -> list[Event]:
        return []

    def feed(self, part: int, chunk: Chunk) -> list[Event]:
        index = part * self.n + chunk.index
        choice = self.choices[index]
        known = len(choice.tokens)
        text = chunk.text
        if self.echo and not choice.opened:
            text = self.prompts[part].text + text
            self.add_prompt(choice, part)
        choice.opened = True
        for token in chunk.logprobs if self.with_logprobs else ():
            add_token(choice, token)
        choice.text += text
        choice.finish_reason = chunk.finish_reason
        event = {"index": index, "text": text, "logprobs": None, "finish_reason": chunk.finish_reason}
        if self.with_logprobs:
            event["logprobs"] = logprobs_object(choice, known)
        frame = {**self.frame(), "choices": [event]}
        return [{**frame, "usage": None} if self.head.include_usage else frame]

    def add_prompt(self, choice: TextChoice, part: int) -> None:
        logprobs = self.streams[part].prompt_logprobs
        if not self.with_logprobs or logprobs is None:
            return
        for token in logprobs:
            if token is None:
                append(choice, self.prompts[part].first_token, None, None)
            else:
                add_token(choice, token)
        choice.offset = len(self.prompts[part].text)

    def closing(self) -> list[Event]:
        return [{**self.frame(), "choices": [], "usage": usage_of(self.streams)}] if self.head.include_usage else []

    def body(self) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "text": choice.text,
                "logprobs": logprobs_object(choice, 0) if self.with_logprobs else None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(self.choices)
        ]
        return {**self.frame(), "choices": choices, "usage": usage_of(self.streams)}

    def frame(self) -> Event:
        return {
            "id": self.head.id,
            "object": "text_completion",
            "created": self.head.created,
            "model": self.head.model,
            "system_fingerprint": self.head.fingerprint,
        }

    def close(self) -> None:
        for stream in self.streams:
            stream.close()


def add_token(choice: TextChoice, token: TokenLogprob) -> None:
    append(
        choice,
        token_text(token),
        token.logprob,
        {token_text(one): one.logprob for one in reversed(token.top)},
    )


def append(choice: TextChoice, text: str, logprob: float | None, top: dict[str, float] | None) -> None:
    choice.tokens.append(text)
    choice.token_logprobs.append(logprob)
    choice.top_logprobs.append(top)
    choice.text_offset.append(choice.offset)
    choice.offset += len(text)


def token_text(token: TokenLogprob | TopToken) -> str:
    """The token's text; `bytes:\\\\xe4\\\\xbd` (OpenAI's way) where it is only part of a character."""
    try:
        return token.piece.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.piece)


def logprobs_object(choice: TextChoice, start: int) -> dict[str, Any]:
    return {
        "tokens": choice.tokens[start:],
        "token_logprobs": choice.token_logprobs[start:],
        "top_logprobs": choice.top_logprobs[start:],
        "text_offset": choice.text_offset[start:],
    }
