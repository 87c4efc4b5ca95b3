"""A progress line with rate and time left: redrawn on a terminal, a line every half minute in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LOG_EVERY_S = 30.0
WIDTH = 24


class Progress:
    """Counts up to `total`. Not for several threads at once."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        """stream: None = stderr, as it is now."""
        self._total = total
        self._stream = stream or sys.stderr
        self._done = 0
        self._start = time.monotonic()
        self._last = self._start

    def advance(self, label: str) -> None:
        self._done += 1
        now = time.monotonic()
        terminal = self._stream.isatty()
        if now - self._last < (0.1 if terminal else LOG_EVERY_S) and self._done < self._total:
            return
        self._last = now
        print(("\r\x1b[K" if terminal else "") + self._line(now, label), end="" if terminal else "\n",
              file=self._stream, flush=True)  # fmt: skip

    def close(self) -> None:
        if self._stream.isatty():
            print(file=self._stream)

    def _line(self, now: float, label: str) -> str:
        rate = self._done / max(now - self._start, 1e-9)
        left = (self._total - self._done) / rate
        filled = WIDTH * self._done // max(self._total, 1)
        eta = f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}"
        bar = "#" * filled + "-" * (WIDTH - filled)
        return f"[{bar}] {self._done}/{self._total}  {rate:.1f}/s  left {eta}  {label}"
