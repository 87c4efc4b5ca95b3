"""How late the event loop is: the proof that nothing blocks it, whatever the engine computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY_S = 0.05


async def watch_loop(observe: Callable[[float], None]) -> None:
    """Tells `observe` again and again how many seconds later than due the loop came round. Ends when cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        observe(max(0.0, loop.time() - due))
