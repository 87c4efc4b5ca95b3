"""Clients that leave: the engine must be told, whether the answer was streamed or not."""

import asyncio
import json

import pytest
from anyio import CapacityLimiter

from proxy.app import create_app

BODY = json.dumps({"model": "et2l", "messages": [{"role": "user", "content": "hi"}]})
STREAMED = json.dumps({**json.loads(BODY), "stream": True})


class Client:
    """One HTTP exchange at ASGI level; `leave()` hangs up."""

    def __init__(self, services, body):
        self.app = create_app(services.config.server, lambda: services)
        self.services = services
        self.body = body.encode()
        self.sent = []
        self.left = asyncio.Event()
        self.read = False

    async def receive(self):
        if not self.read:
            self.read = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    async def run(self):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},  # what uvicorn says
            "method": "POST",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "state": {"services": self.services, "waiting": CapacityLimiter(4)},  # as the lifespan gives it
        }
        await self.app(scope, self.receive, self.send)


@pytest.mark.parametrize("body", [BODY, STREAMED])
@pytest.mark.parametrize("pieces", [[], ["begun"]])
def test_a_client_that_leaves_cancels_its_answer(build, engine, body, pieces):
    engine.pieces, engine.holds = pieces, True

    async def scenario():
        client = Client(build(), body)
        running = asyncio.ensure_future(client.run())
        while not engine.streams:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not engine.cancelled.is_set()
        client.left.set()
        await asyncio.wait_for(running, 5)

    asyncio.run(scenario())
    assert engine.cancelled.is_set() and engine.streams[0].closed


def test_a_server_that_stops_cancels_the_answers_under_way(build, engine):
    engine.pieces, engine.holds = ["begun"], True

    async def scenario():
        client = Client(build(), STREAMED)
        running = asyncio.ensure_future(client.run())
        while not any(message["type"] == "http.response.body" for message in client.sent):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    assert engine.cancelled.is_set()


def test_a_finished_stream_is_closed(build, engine):
    async def scenario():
        client = Client(build(), STREAMED)
        await client.run()
        return b"".join(message.get("body", b"") for message in client.sent)

    assert asyncio.run(scenario()).endswith(b"data: [DONE]\n\n")
    assert engine.streams[0].closed
