"""A client that measures a streamed chat answer and does as little as it can meanwhile. The one door to aiohttp."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

REQUEST_TIMEOUT_S = 300.0


class RequestFailed(Exception):
    """A server refused or broke off; the message has its words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """ttft_s: from sending the request to the first event with text. Tokens as the server's usage counts them.

    adapt_ms: what ours says it took to find the adapter; None from llama-server.
    """

    ttft_s: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    text: str
    source: str | None
    adapt_ms: float | None

    @property
    def computed_tokens(self) -> int:
        """Prompt tokens that had to be computed."""
        return self.prompt_tokens - self.cached_tokens


class Client:
    """Sends chat requests; `async with` closes its connections."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            # No connection is kept: llama-server closes idle ones, and a request may just have begun on it.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, url: str, body: Mapping[str, Any]) -> Answer:
        """One streamed answer. Raises RequestFailed.

        The events are kept as bytes and read after the end: with two cores the client's work is the servers' loss.
        """
        wanted = {**body, "stream": True, "stream_options": {"include_usage": True}}
        raw, ttft = bytearray(), None
        try:
            begun = time.perf_counter()
            async with self._session.post(f"{url}/v1/chat/completions", json=wanted) as reply:
                if reply.status != 200:
                    raise RequestFailed(f"{url}: {reply.status}: {await reply.text()}")
                async for part in reply.content.iter_any():
                    raw += part
                    if ttft is None and has_text(raw):
                        ttft = time.perf_counter() - begun
                headers = reply.headers
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise RequestFailed(f"{url}: {type(exc).__name__}: {exc}") from exc
        found = events(raw)
        usage = next((event["usage"] for event in reversed(found) if event.get("usage")), None)
        if usage is None or ttft is None:
            raise RequestFailed(f"{url}: the stream has no text or no usage: {bytes(raw[-500:])!r}")
        adapt_ms = headers.get("x-et2l-adapt-ms")
        return Answer(
            ttft_s=ttft,
            prompt_tokens=usage["prompt_tokens"],
            cached_tokens=usage["prompt_tokens_details"]["cached_tokens"],
            completion_tokens=usage["completion_tokens"],
            text="".join(map(text_of, found)),
            source=headers.get("x-et2l-source"),
            adapt_ms=None if adapt_ms is None else float(adapt_ms),
        )

    async def ask_all(self, url: str, bodies: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """All at once; the first failure ends the others."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.ask(url, body)) for body in bodies]
        return [task.result() for task in tasks]


def has_text(raw: bytes | bytearray) -> bool:
    return any(text_of(event) for event in events(raw))


def events(raw: bytes | bytearray) -> list[dict[str, Any]]:
    """The complete server-sent events so far. Raises RequestFailed for one that reports an error."""
    found = []
    for line in bytes(raw[: raw.rfind(b"\n") + 1]).split(b"\n"):
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if "error" in event:
                raise RequestFailed(json.dumps(event["error"]))
            found.append(event)
    return found


def text_of(event: Mapping[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
