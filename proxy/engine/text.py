"""From tokens to text that may be sent: whole characters, and nothing that may become a stop string."""

from __future__ import annotations

import codecs
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Released(Generic[T]):
    """Text that is settled, and the tokens that lie wholly in the text settled so far."""

    text: str
    tokens: tuple[T, ...]


class TextAssembler(Generic[T]):
    """Collects one answer's pieces. `T` is whatever travels with a token (its id and logprob)."""

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._stop = stop
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._sent = 0  # characters released so far
        self._waiting: deque[tuple[int, T]] = deque()  # (characters that must be out before it, token)
        self.stopped_by: str | None = None
        """The stop string that was met; nothing comes after it."""

    def push(self, piece: bytes, token: T) -> Released[T]:
        """Adds a token's bytes and returns what is settled by now."""
        self._held += self._decoder.decode(piece)
        end = self._sent + len(self._held) + (1 if self._decoder.getstate()[0] else 0)
        self._waiting.append((end, token))
        if self._stop:
            where, stop = self._find_stop()
            if stop is not None:
                self.stopped_by = stop
                released = self._release(where)
                self._held = ""
                self._waiting.clear()
                return released
        return self._release(len(self._held) - self._may_be_stop())

    def finish(self) -> Released[T]:
        """What was held back, once no further token comes. A broken character becomes U+FFFD."""
        if self.stopped_by is None:
            self._held += self._decoder.decode(b"", final=True)
        released = self._release(len(self._held))
        rest = tuple(token for _, token in self._waiting)
        self._waiting.clear()
        return Released(released.text, released.tokens + rest)

    def _find_stop(self) -> tuple[int, str | None]:
        """Where the earliest stop string begins, the longest where several begin there."""
        found = [(where, -len(stop), stop) for stop in self._stop if (where := self._held.find(stop)) >= 0]
        if not found:
            return 0, None
        where, _, stop = min(found)
        return where, stop

    def _may_be_stop(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _release(self, length: int) -> Released[T]:
        text, self._held = self._held[:length], self._held[length:]
        self._sent += length
        tokens = []
        while self._waiting and self._waiting[0][0] <= self._sent:
            tokens.append(self._waiting.popleft()[1])
        return Released(text, tuple(tokens))
