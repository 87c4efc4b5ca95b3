"""Hot adapters served from merged builds: an engine that moves an adapter's requests to its build.

Counts what each adapter answers; past both limits its build is made in the background, loaded, warmed with the
adapter's latest prompt, and only then given new requests. Running ones finish where they are.
docs/results-builds.md says when that pays.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.errors import AdapterError
from proxy.config import BuildsConfig
from proxy.engine.api import (
    AdapterFile,
    EngineApi,
    EngineError,
    EngineStats,
    Generation,
    Placement,
    Sampling,
    Stream,
    UnknownModel,
)

if TYPE_CHECKING:  # imports torch, which is loaded while the model is
    from adapters.builds import Build

log = logging.getLogger("et2l.promotion")

WATCHED_STREAMS = 64
"""Answers per adapter whose tokens are still to be counted."""

MakeBuild = Callable[[str, Path], "Build"]
"""(digest, the adapter's folder) -> its build; takes its time. See proxy/build_jobs.py."""


@dataclass(slots=True)
class Heat:
    """How much an adapter has answered since the server started. tokens: of ended answers, prompts included."""

    hits: int = 0
    tokens: int = 0
    streams: deque[Stream] = field(default_factory=lambda: deque(maxlen=WATCHED_STREAMS))
    asked: bool = False

    def count(self) -> None:
        """Add the tokens of answers that have ended."""
        still = [stream for stream in self.streams if not stream.ended]
        for stream in self.streams:
            if stream.ended:
                self.tokens += stream.usage.prompt_tokens + stream.usage.completion_tokens
        self.streams = deque(still, maxlen=WATCHED_STREAMS)


class PromotingEngine:
    """An EngineApi over another one. Any thread may call; one worker makes, loads and unloads builds."""

    def __init__(self, engine: EngineApi, config: BuildsConfig, make: MakeBuild) -> None:
        self.engine = engine
        self.config = config
        self.make = make
        self.context_limit = engine.context_limit
        self._lock = threading.Lock()
        self._heat: dict[str, Heat] = {}
        self._promoted: OrderedDict[str, str] = OrderedDict()  # digest -> model name, the longest unused first
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="promote")

    def submit(self, generation: Generation) -> Stream:
        """As the engine's, from the adapter's build where there is one."""
        adapter = generation.placement.adapter
        if adapter is None:
            return self.engine.submit(generation)
        name = self._model_of(adapter.digest)
        if name is not None:
            with contextlib.suppress(UnknownModel):  # unloaded since the line above
                return self.engine.submit(replace(generation, placement=Placement(name)))
        stream = self.engine.submit(generation)
        self._count(adapter, generation.prompt, stream)
        return stream

    def promoted(self) -> dict[str, str]:
        """Model name by digest of the adapters served from builds, the longest unused first."""
        with self._lock:
            return dict(self._promoted)

    def _model_of(self, digest: str) -> str | None:
        with self._lock:
            if digest in self._promoted:
                self._promoted.move_to_end(digest)
            return self._promoted.get(digest)

    def _count(self, adapter: AdapterFile, prompt: tuple[int, ...], stream: Stream) -> None:
        with self._lock:
            heat = self._heat.setdefault(adapter.digest, Heat())
            heat.hits += 1
            heat.count()
            heat.streams.append(stream)
            hot = heat.hits >= self.config.promote_after_hits and heat.tokens >= self.config.promote_after_tokens
            if not hot or heat.asked:
                return
            heat.asked = True
        self._worker.submit(self._promote, adapter, prompt)

    def _promote(self, adapter: AdapterFile, prompt: tuple[int, ...]) -> None:
        """On the worker: make the build, load it, warm it, and let new requests go there."""
        name = f"build-{adapter.digest}"
        try:
            build = self.make(adapter.digest, adapter.path.parent)
            self._make_place()
            self.engine.add_model(name, build.path)
            try:
                self._warm(name, prompt)
            except EngineError:
                self.engine.remove_model(name)
                raise
        except (AdapterError, EngineError) as exc:  # it is not asked for again: the reason would be the same
            log.warning("adapter %s stays attached: %s", adapter.digest, exc)
            return
        except Exception:  # a worker has no caller to tell
            log.exception("promoting adapter %s failed", adapter.digest)
            return
        with self._lock:
            self._promoted[adapter.digest] = name
        log.info("adapter %s is served from %s", adapter.digest, build.path.name)

    def _make_place(self) -> None:
        """Unload the longest unused builds until one more may be loaded; their adapters are attached again."""
        while True:
            with self._lock:
                if len(self._promoted) < self.config.max_loaded:
                    return
                digest, name = self._promoted.popitem(last=False)
                self._heat[digest] = Heat()  # it may become hot again
            self.engine.remove_model(name)
            log.info("adapter %s is attached again", digest)

    def _warm(self, name: str, prompt: tuple[int, ...]) -> None:
        """Answer one token to the adapter's latest prompt: its pages are read and its prefix is in the KV cells.

        Without it the first request after the switch would pay for both.
        """
        warm = Generation(prompt, Placement(name), max_tokens=1, sampling=Sampling(temperature=0.0))
        with self.engine.submit(warm) as stream:
            for _ in stream:
                pass

    def close(self, grace_s: float = 0.0) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)
        self.engine.close(grace_s)

    # The rest is the engine's.

    def tokenize(self, text: str, *, special: bool = True, add_bos: bool = True) -> tuple[int, ...]:
        return self.engine.tokenize(text, special=special, add_bos=add_bos)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        return self.engine.detokenize(tokens, special=special)

    def chat_tokens(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> tuple[int, ...]:
        return self.engine.chat_tokens(messages, **options)

    def json_grammar(self, schema: Mapping[str, Any] | None) -> str:
        return self.engine.json_grammar(schema)

    def add_model(self, name: str, path: Path) -> None:
        self.engine.add_model(name, path)

    def remove_model(self, name: str) -> None:
        self.engine.remove_model(name)

    def stats(self) -> EngineStats:
        return self.engine.stats()
