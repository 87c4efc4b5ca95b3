"""proxy/engine/api.py: Stream between the engine's thread and a consumer."""

import asyncio
import threading

import pytest

from proxy.engine.api import Chunk, EngineFailed, Generation, Stream

ONE, TWO = Chunk(0, "one"), Chunk(0, "two", finish_reason="stop")


def test_chunks_come_in_order_and_iteration_ends():
    stream = Stream()
    stream.put(ONE)
    stream.put(TWO)
    stream.finish()
    assert list(stream) == [ONE, TWO]
    assert list(stream) == []


def test_a_blocked_reader_is_woken_by_a_chunk_and_by_the_end():
    stream = Stream()
    got: list[Chunk] = []
    reader = threading.Thread(target=lambda: got.extend(stream))
    reader.start()
    stream.put(ONE)
    stream.finish()
    reader.join(timeout=10)
    assert got == [ONE]


def test_an_error_comes_after_the_chunks_that_were_put_before_it():
    stream = Stream()
    stream.put(ONE)
    stream.fail(EngineFailed("broken"))
    stream.put(TWO)
    assert next(stream) == ONE
    with pytest.raises(EngineFailed, match="broken"):
        next(stream)


def test_closing_ends_iteration_without_an_error_and_tells_the_engine_once():
    calls: list[int] = []
    stream = Stream(on_close=lambda: calls.append(1))
    stream.put(ONE)
    stream.close()
    stream.close()
    stream.put(TWO)
    stream.fail(EngineFailed("late"))
    assert list(stream) == []
    assert stream.closed
    assert calls == [1]


def test_closing_after_the_end_does_not_bother_the_engine():
    calls: list[int] = []
    with Stream(on_close=lambda: calls.append(1)) as stream:
        stream.finish()
    assert calls == []


def test_a_waiting_event_loop_is_woken_from_another_thread():
    async def main() -> list[Chunk]:
        stream = Stream()

        def produce() -> None:
            stream.put(ONE)
            stream.put(TWO)
            stream.finish()

        timer = threading.Timer(0.05, produce)
        timer.start()
        return [chunk async for chunk in stream]

    assert asyncio.run(main()) == [ONE, TWO]


def test_a_reader_that_was_cancelled_while_waiting_can_be_followed_by_another():
    async def main() -> Chunk:
        stream = Stream()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.02)
        stream.put(ONE)
        return await anext(stream)

    assert asyncio.run(main()) == ONE


def test_a_producer_survives_a_loop_that_has_ended():
    stream = Stream()

    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.02)

    asyncio.run(wait())
    stream.put(ONE)
    assert next(stream) == ONE


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": ()},
        {"n": 0},
        {"max_tokens": 0},
        {"stop": ("",)},
        {"top_logprobs": -1},
    ],
)
def test_an_impossible_generation_is_refused(options):
    with pytest.raises(ValueError, match=r"want|empty"):
        Generation(**({"prompt": (1,)} | options))
