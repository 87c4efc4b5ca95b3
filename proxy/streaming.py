"""Sending an answer while it is made: events that release their source, and clients that hang up."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from proxy.errors import INTERNAL, error_body, reply_for
from proxy.replies import Event, Reply

T = TypeVar("T")
log = logging.getLogger("et2l.http")


class ClientGone(Exception):
    """The client closed the connection before it was answered."""


class EventStream(StreamingResponse):
    """A reply as server-sent events. Releases it, also when the client leaves mid-answer or before the first
    byte.
    """

    media_type = "text/event-stream"

    def __init__(self, reply: Reply, first: Event, rest: AsyncGenerator[Event]) -> None:
        """first, rest: what `events(reply)` gave and will give."""
        super().__init__(sse(reply, first, rest), headers={"cache-control": "no-cache", **reply.headers})
        self.reply = reply
        self.rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.reply.close()
            await self.body_iterator.aclose()  # type: ignore[union-attr]
            await self.rest.aclose()


async def events(reply: Reply) -> AsyncGenerator[Event]:
    """All events of a reply. The first comes with the first token, so that what fails until then can still be
    told by a status.
    """
    opened = False
    for part, stream in enumerate(reply.streams):
        async for chunk in stream:
            if not opened:
                for event in reply.opening():
                    yield event
                opened = True
            for event in reply.feed(part, chunk):
                yield event
    for event in reply.closing():
        yield event


async def sse(reply: Reply, first: Event, rest: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
    """The reply as `data:` lines. A failure is one more event, then the end."""
    try:
        yield data_line(first)
        async for event in rest:
            yield data_line(event)
        yield b"data: [DONE]\n\n"
    except Exception as exc:  # too late for a status
        if reply_for(exc) is INTERNAL:
            log.exception("the answer %s failed after it had begun", reply.headers)
        yield data_line(error_body(exc))


async def whole(reply: Reply) -> dict[str, Any]:
    """The reply's body, once all of it is there."""
    async for _ in events(reply):
        pass
    return reply.body()


def data_line(event: Event) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up. The body must have been read.

    Raises ClientGone.
    """
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(disconnect(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return answering.result()
        raise ClientGone
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
