"""Fakes behind the doors of proxy/: an engine that says what it is told, a shelf that makes adapters of nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.card import Card
from adapters.errors import AdapterNotFound
from adapters.store import StoredAdapter
from proxy.adaptation import Found, NoAdapter, Wanted
from proxy.engine.api import (
    Chunk,
    ContextTooLong,
    EngineError,
    EngineStats,
    Generation,
    Stream,
    TokenLogprob,
    TopToken,
    Usage,
)

MESSAGE_END = "\n"


class FakeEngine:
    """Answers every request with `pieces`, one chunk each. Tokens are the characters' code points."""

    context_limit = 1000

    def __init__(self) -> None:
        self.pieces: list[str] = ["Hel", "lo"]
        self.finish_reason = "stop"
        self.error: EngineError | None = None  # raised by the stream after the pieces
        self.refused: EngineError | None = None  # raised by the stream of a request with an adapter
        self.holds = False  # never ends: waits to be closed
        self.delay_s = 0.0  # before each piece
        self.submitted: list[Generation] = []
        self.streams: list[Stream] = []
        self.cancelled = threading.Event()
        self.closed = False

    def submit(self, generation: Generation) -> Stream:
        if len(generation.prompt) >= self.context_limit:
            raise ContextTooLong(len(generation.prompt), self.context_limit)
        stream = Stream(on_close=self.cancelled.set)
        self.submitted.append(generation)
        self.streams.append(stream)
        threading.Thread(target=self._answer, args=(generation, stream), daemon=True).start()
        return stream

    def _answer(self, generation: Generation, stream: Stream) -> None:
        stream.usage = Usage(len(generation.prompt), 0, len(self.pieces) * generation.n)
        if generation.prompt_logprobs:
            said = [TokenLogprob(token, chr(token).encode(), -0.5) for token in generation.prompt]
            stream.prompt_logprobs = (None, *said[1:])
        if self.refused and generation.placement.adapter:
            stream.fail(self.refused)
            return
        pieces = [] if generation.max_tokens == 0 else self.pieces
        for index in range(generation.n):
            for piece in pieces:
                time.sleep(self.delay_s)
                stream.put(Chunk(index, piece, logprobs=logprobs_of(piece, generation.top_logprobs)))
            if not (self.holds or self.error):
                stream.put(Chunk(index, "", finish_reason="length" if not pieces else self.finish_reason))
        if self.error:
            stream.fail(self.error)
        elif not self.holds:
            stream.finish()

    def tokenize(self, text: str, *, special: bool = True, add_bos: bool = True) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        return "".join(map(chr, tokens))

    def chat_tokens(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[int, ...]:
        told = f"tools: {[tool['function']['name'] for tool in tools]}\n" if tools else ""
        said = "".join(f"{message['role']}: {message['content']}{MESSAGE_END}" for message in messages)
        return self.tokenize(told + said)

    def json_grammar(self, schema: Mapping[str, Any] | None) -> str:
        return f'root ::= "{sorted(schema) if schema else "any"}"'

    def stats(self) -> EngineStats:
        zeros = dict.fromkeys(EngineStats.__dataclass_fields__, 0)
        return EngineStats(**{**zeros, "generated_tokens": 7, "kv_total_tokens": 100, "models": ("base",)})

    def close(self, grace_s: float = 0.0) -> None:
        self.closed = True

    def prompt(self, index: int = -1) -> str:
        """The text of a submitted prompt."""
        return self.detokenize(self.submitted[index].prompt)


def logprobs_of(piece: str, top: int | None) -> tuple[TokenLogprob, ...]:
    if top is None:
        return ()
    best = tuple(TopToken(i, chr(97 + i).encode(), -1.0 - i) for i in range(top))
    return (TokenLogprob(ord(piece[0]), piece.encode(), -0.25, best),)


class FakeShelf:
    """Knows tasks it has made. A task with "same" in it is near to one it knows; "nothing" leads nowhere."""

    state = "on"

    def __init__(self, folder: Path = Path("/nowhere")) -> None:
        self.folder = folder
        self.stored: dict[tuple[object, ...], StoredAdapter] = {}
        self.owners: dict[str, set[str]] = {}
        self.made: list[Wanted] = []
        self.ratings: list[tuple[str, float, Mapping[str, bool], str]] = []
        self.fails: Exception | None = None
        self.broken: Exception | None = None
        self.may_finish = threading.Event()
        self.may_finish.set()

    def find(self, wanted: Wanted, *, near: bool) -> Found | None:
        if self.broken:
            raise self.broken
        if wanted.identity in self.stored:
            return Found(self.stored[wanted.identity], None)
        mine = [one for key, one in self.stored.items() if key[1] == wanted.tenant]
        return Found(mine[0], 0.95) if near and mine and "same" in wanted.task else None

    def make(self, wanted: Wanted) -> StoredAdapter | NoAdapter:
        self.made.append(wanted)
        assert self.may_finish.wait(10)
        if self.fails:
            raise self.fails
        if "nothing" in wanted.task:
            return NoAdapter("no skill scores above its threshold")
        digest = f"{len(self.made):016x}"
        weights = wanted.weights or {"code_generation": 0.6, "task": 0.4}
        card = Card("generated", "base", "0" * 64, 1.0, hint=wanted.task, weights=weights)
        stored = StoredAdapter(digest, self.folder / digest, card, 10)
        self.stored[wanted.identity] = stored
        self.owners[digest] = {wanted.tenant}
        return stored

    def use(self, digest: str, tenant: str) -> StoredAdapter:
        return self.get(digest, tenant)

    def get(self, digest: str, tenant: str) -> StoredAdapter:
        for one in self.list(tenant):
            if one.digest == digest:
                return one
        raise AdapterNotFound(f"no adapter {digest} is stored")

    def list(self, tenant: str) -> list[StoredAdapter]:
        return [one for one in self.stored.values() if tenant in self.owners[one.digest]]

    def delete(self, digest: str, tenant: str) -> None:
        self.get(digest, tenant)
        self.stored = {key: one for key, one in self.stored.items() if one.digest != digest}

    def rate(self, digest: str, rating: float, skills: Mapping[str, bool], tenant: str) -> None:
        self.get(digest, tenant)
        self.ratings.append((digest, rating, skills, tenant))

    def stats(self) -> dict[str, Any]:
        return {"adapters": len(self.stored), "misses": len(self.made)}

    def close(self) -> None:
        pass
