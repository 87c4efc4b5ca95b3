"""The measurements of bench/serve.py: each sends the same work to both servers in turn and returns plain numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench._client import Answer, Client
from bench._servers import Adapter, Ours, Server

SUBJECTS = (
    "an old lighthouse and the people who kept it", "the tides", "a clockmaker in a port town", "volcanic islands",
    "how bread is made", "the history of maps", "a night train across the mountains", "bees and their dances",
    "the first telephone in a village", "a flooded library", "glass and how it is blown", "a lost expedition",
    "the salt trade", "migrating cranes", "a bridge that nobody crosses", "why leaves turn red",
)  # fmt: skip
STYLES = ("as a long story", "as a detailed essay", "as a lecture with many examples", "as a travel report")
TURN_QUESTIONS = (
    "Go on with what happened next.", "Say more about the second point.", "How did that come about?",
    "What would a critic say?", "Give another example, please.", "Now tell it from another point of view.",
)  # fmt: skip
PAUSE_S = 0.2
"""Between two measurements, for threads that still spin."""


class DifferentWork(Exception):
    """The servers did not do the same amount of work, so their times cannot be compared."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked in every request. end_tokens: banned, so that answers have their full length."""

    tokens: int
    temperature: float
    end_tokens: Sequence[int]

    def body(self, messages: list[dict[str, str]], tokens: int | None = None) -> dict[str, Any]:
        return {
            "messages": messages,
            "max_tokens": tokens or self.tokens,
            "temperature": self.temperature,
            "top_k": 20,
            "top_p": 0.8,
            "min_p": 0.0,
            "seed": 1,
            "logit_bias": {str(token): -100 for token in self.end_tokens},
        }


@dataclass(frozen=True, slots=True)
class Burst:
    """One server, some clients at once. seconds: from the first request to the last answer's end.

    engine, loop_lags: what /metrics of ours counted meanwhile (seconds, steps; see `Ours.loop_lags`); empty for
    llama-server.
    """

    seconds: float
    cpu_s: float
    tokens: int
    prompt_tokens: int
    ttft_s: list[float]
    engine: dict[str, float] = field(default_factory=dict)
    loop_lags: dict[float, int] = field(default_factory=dict)

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Turn:
    """prompt_tokens of the turn, and how many of them were computed."""

    prompt_tokens: int
    computed_tokens: int
    ttft_s: float


def prompt(number: int, random: Random) -> list[dict[str, str]]:
    """About 60 tokens with the chat template's own, different from the first word on: no prefix is shared."""
    one, other = random.sample(SUBJECTS, 2)
    return [
        {"role": "system", "content": f"{number:06d} is your visitor's number. Be thorough."},
        {"role": "user", "content": f"Write {random.choice(STYLES)} about {one}, with a long aside about {other}."},
    ]


class Prompts:
    """Prompts that never come twice."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._numbers = self._random.sample(range(100_000, 1_000_000), 20_000)

    def take(self, count: int) -> list[list[dict[str, str]]]:
        return [prompt(self._numbers.pop(), self._random) for _ in range(count)]

    def take_short(self, count: int) -> list[list[dict[str, str]]]:
        """About 20 tokens each: what a server does besides computing them shows."""
        return [
            [{"role": "system", "content": f"{self._numbers.pop():06d}"}, {"role": "user", "content": "Hello."}]
            for _ in range(count)
        ]


class Serving:
    """Runs the measurements against the two servers."""

    def __init__(self, client: Client, ours: Ours, peer: Server, work: Work, seed: int) -> None:
        self.client = client
        self.ours = ours
        self.peer = peer
        self.work = work
        self.prompts = Prompts(seed)

    def in_turn(self, number: int) -> tuple[Server, Server]:
        """Both servers; who goes first changes from one number to the next (A B B A)."""
        return (self.peer, self.ours) if number % 2 else (self.ours, self.peer)

    async def warm_up(self, adapters: Sequence[Adapter]) -> None:
        """Every adapter once alone, and the base model, so that nothing is read from disk later."""
        for server in (self.ours, self.peer):
            for adapter in (None, *adapters):
                body = self.work.body(self.prompts.take(1)[0], 4) | server.asks_for(adapter)
                await self.client.ask(server.url, body)

    async def bursts(self, clients: int, adapters: Sequence[Adapter], turn: int) -> dict[str, Burst]:
        """The same prompts to each server, one per client, spread over the adapters; turn decides who is first.

        Raises DifferentWork.
        """
        messages = self.prompts.take(clients)
        found = {}
        for server in self.in_turn(turn):
            bodies = [
                self.work.body(one) | server.asks_for(adapters[number % len(adapters)] if adapters else None)
                for number, one in enumerate(messages)
            ]
            found[server.name] = await self.burst(server, bodies)
            time.sleep(PAUSE_S)
        one, other = found[self.ours.name], found[self.peer.name]
        if (one.tokens, one.prompt_tokens) != (other.tokens, other.prompt_tokens):
            raise DifferentWork(
                f"{clients} clients, prompt and output tokens: ours {one.prompt_tokens} and {one.tokens}, "
                f"llama-server {other.prompt_tokens} and {other.tokens}"
            )
        return found

    async def burst(self, server: Server, bodies: Sequence[dict[str, Any]]) -> Burst:
        counted, lags = engine_counters(server), loop_lags(server)
        cpu_s, begun = server.cpu_s(), time.perf_counter()
        answers = await self.client.ask_all(server.url, bodies)
        seconds = time.perf_counter() - begun
        cpu_s = server.cpu_s() - cpu_s
        time.sleep(0.05)  # the engine counts its last step after the chunks went out
        return Burst(
            seconds=seconds,
            cpu_s=cpu_s,
            tokens=sum(answer.completion_tokens for answer in answers),
            prompt_tokens=sum(answer.prompt_tokens for answer in answers),
            ttft_s=[answer.ttft_s for answer in answers],
            engine={key: value - counted[key] for key, value in engine_counters(server).items()},
            loop_lags={bound: count - lags[bound] for bound, count in loop_lags(server).items()},
        )

    async def turns(self, adapters: Sequence[Adapter | None], count: int, tokens: int) -> dict[str, list[list[Turn]]]:
        """One conversation per adapter (None: the base model), their turns interleaved: by server, by conversation.

        Each server is given back its own answers.
        """
        opening = self.prompts.take(len(adapters))
        told = {server.name: [list(one) for one in opening] for server in (self.ours, self.peer)}
        found: dict[str, list[list[Turn]]] = {name: [[] for _ in adapters] for name in told}
        for turn in range(count):
            for number, adapter in enumerate(adapters):
                for server in self.in_turn(turn):
                    messages = told[server.name][number]
                    if turn:
                        messages.append({"role": "user", "content": TURN_QUESTIONS[turn % len(TURN_QUESTIONS)]})
                    body = self.work.body(messages, tokens) | server.asks_for(adapter)
                    answer = await self.client.ask(server.url, body)
                    messages.append({"role": "assistant", "content": answer.text})
                    seen = Turn(answer.prompt_tokens, answer.computed_tokens, answer.ttft_s)
                    found[server.name][number].append(seen)
        return found

    async def latencies(self, adapter: Adapter, count: int) -> list[tuple[Answer, Answer]]:
        """Pairs (ours, llama-server's) of one short prompt each; ours finds the adapter by its task, in the cache.

        Raises DifferentWork.
        """
        pairs = []
        for number, messages in enumerate(self.prompts.take_short(count)):
            answers = {}
            for server in self.in_turn(number):
                chosen = self.ours.asks_by_task(adapter) if server is self.ours else server.asks_for(adapter)
                answers[server.name] = await self.client.ask(server.url, self.work.body(messages, 2) | chosen)
            one, other = answers[self.ours.name], answers[self.peer.name]
            if one.source != "exact":
                raise DifferentWork(f"the adapter of {adapter.task!r} came from {one.source}, not from the cache")
            if one.prompt_tokens != other.prompt_tokens:
                raise DifferentWork(f"a prompt of {one.prompt_tokens} tokens and of {other.prompt_tokens}")
            pairs.append((one, other))
        return pairs


def engine_counters(server: Server) -> dict[str, float]:
    if not isinstance(server, Ours):
        return {}
    counters = server.counters()
    names = {"decode_s": "decode_seconds", "busy_s": "busy_seconds", "steps": "decode_steps"}
    return {short: counters[f"et2l_{name}_total"] for short, name in names.items()}


def loop_lags(server: Server) -> dict[float, int]:
    return server.loop_lags() if isinstance(server, Ours) else {}
