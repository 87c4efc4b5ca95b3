"""proxy/loop_lag.py: a blocked event loop is seen."""

import asyncio
import time
from contextlib import suppress

from proxy.loop_lag import EVERY_S, watch_loop


async def observe_for(block_s: float) -> list[float]:
    seen: list[float] = []
    watch = asyncio.create_task(watch_loop(seen.append))
    await asyncio.sleep(1.5 * EVERY_S)
    time.sleep(block_s)
    await asyncio.sleep(2.5 * EVERY_S)
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    return seen


def test_a_blocked_loop_shows_as_lag():
    seen = asyncio.run(observe_for(0.5))
    assert len(seen) >= 3
    assert max(seen) >= 0.4
    assert min(seen) >= 0
