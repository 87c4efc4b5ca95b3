"""The adapter of a task: found in the cache, or made once however many ask for it. Knows no HTTP and no
engine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from adapters.errors import AdapterNotFound
from proxy.bodies import OnMiss
from proxy.config import AdaptConfig
from proxy.engine.api import AdapterUnusable
from proxy.errors import AdaptationBusy, AdapterRequired, BadRequest, NoSkillFound

if TYPE_CHECKING:  # imports torch, which is loaded while the model is
    from adapters.store import StoredAdapter

Source = Literal["exact", "semantic", "generated", "pinned", "base", "fallback"]
log = logging.getLogger("et2l.adapt")

LONGEST_LINE = 16
"""Adapters that may wait to be made; each takes a third of a second. Who comes later is answered without."""
REMEMBERED = 256
"""Ended runs kept in memory."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a task led to. stored: None = the base model answers.

    source: exact or semantic (cache), generated (made now), pinned (named by the request), base (nothing
    fits, or the request wants no waiting), fallback (making it failed or took too long). similarity: cosine
    with the cached task of a semantic hit. weights: share of each skill. adapt_ms: time spent here.
    """

    source: Source
    stored: StoredAdapter | None = None
    similarity: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    adapt_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """A cache hit. similarity: None for the exact task."""

    stored: StoredAdapter
    similarity: float | None


@dataclass(frozen=True, slots=True)
class NoAdapter:
    """The pipeline says that the base model should answer. reason: for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an adapter is asked for. skills, weights: use these instead of what the pipeline finds."""

    task: str
    tenant: str
    skills: tuple[str, ...] | None = None
    weights: Mapping[str, float] | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for requests that must get the same adapter."""
        weights = None if self.weights is None else tuple(sorted(self.weights.items()))
        return self.task, self.tenant, self.skills, weights


class Shelf(Protocol):
    """Cache and pipeline behind one door (proxy/shelf.py); a test's fake fits on one screen."""

    state: str
    """For people: "on", or why nothing is adapted."""

    def find(self, wanted: Wanted, *, near: bool) -> Found | None:
        """The adapter of exactly this, or with `near` of a task close enough to it."""

    def make(self, wanted: Wanted) -> StoredAdapter | NoAdapter:
        """Generates and stores it."""

    def use(self, digest: str, tenant: str) -> StoredAdapter:
        """An adapter by name, marked as used. Raises AdapterNotFound, also for another tenant's."""

    def get(self, digest: str, tenant: str) -> StoredAdapter: ...
    def list(self, tenant: str) -> Sequence[StoredAdapter]: ...
    def delete(self, digest: str, tenant: str) -> None: ...
    def rate(self, digest: str, rating: float, skills: Mapping[str, bool], tenant: str) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def close(self) -> None: ...


class EmptyShelf:
    """Of a base model without a hypernetwork: nothing is there, and nothing can be made. Implements Shelf."""

    def __init__(self, model_name: str) -> None:
        self.state = f"off: no hypernetwork for {model_name}"

    def find(self, wanted: Wanted, *, near: bool) -> None:
        return None

    def make(self, wanted: Wanted) -> NoAdapter:
        return NoAdapter(self.state)

    def use(self, digest: str, tenant: str) -> StoredAdapter:
        raise AdapterNotFound(f"no adapter {digest}: adaptation is {self.state}")

    def list(self, tenant: str) -> list[StoredAdapter]:
        return []

    def delete(self, digest: str, tenant: str) -> None:
        self.use(digest, tenant)

    def rate(self, digest: str, rating: float, skills: Mapping[str, bool], tenant: str) -> None:
        self.use(digest, tenant)

    def stats(self) -> dict[str, Any]:
        return {"adapters": 0, "size_bytes": 0, "hits_exact": 0, "hits_semantic": 0, "misses": 0}

    def close(self) -> None:
        pass

    get = use


@dataclass(frozen=True, slots=True)
class Made:
    """A run that makes, or made, an adapter. ended_at: time.perf_counter() at its end."""

    future: Future[StoredAdapter | NoAdapter]
    ended_at: float | None = None


class Adapters:
    """Resolves tasks to adapters. Any thread may call; one worker thread makes adapters, identical misses
    share it.
    """

    def __init__(
        self,
        shelf: Shelf,
        config: AdaptConfig,
        longest_task: int,
        on_resolution: Callable[[Source, float], None] = lambda source, seconds: None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """longest_task: in characters. on_resolution, on_failure: told of every resolution (source, seconds) and
        every failure to make one.
        """
        self.shelf = shelf
        self.config = config
        self.longest_task = longest_task
        self.on_resolution = on_resolution
        self.on_failure = on_failure
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="adapt")
        self._lock = threading.Lock()
        self._runs: OrderedDict[tuple[object, ...], Made] = OrderedDict()  # under way, and the last REMEMBERED ended

    def resolve(
        self, task: str, tenant: str, on_miss: OnMiss | None = None, budget_ms: int | None = None
    ) -> Resolution:
        """The adapter of a task: exact key, else semantic neighbour, else made now.

        on_miss: wait for a new one (at most budget_ms, then the base model answers and the adapter is there
        for the next request), answer with the base model at once, or require: fail rather than answer
        without. A failure to make it falls back to the base model, and so does a line of LONGEST_LINE others. Raises
        AdapterRequired, AdaptationBusy and NoSkillFound, with require only; BadRequest for a task that is too long.
        """
        started = time.perf_counter()
        on_miss = on_miss or self.config.on_miss
        wanted = self._wanted(task, tenant)
        try:
            found = self.shelf.find(wanted, near=True)
        except Exception as exc:  # a broken cache must not take the answer with it
            self._failed(task)
            if on_miss == "require":
                raise AdapterRequired(f"the adapter cache failed: {exc}") from exc
            return self._finished(Resolution("fallback"), started)
        resolution = hit(found) if found else self._missed(wanted, on_miss, budget_ms, started)
        return self._finished(resolution, started)

    def _wanted(
        self,
        task: str,
        tenant: str,
        skills: tuple[str, ...] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> Wanted:
        """Reading a task takes time and memory by its length, and no description needs megabytes."""
        if len(task) > self.longest_task:
            raise BadRequest(
                f"the task has {len(task)} characters, want at most {self.longest_task} (they follow from "
                "hint.max_words): describe it in fewer words"
            )
        return Wanted(task, tenant, skills, weights)

    def _missed(self, wanted: Wanted, on_miss: OnMiss, budget_ms: int | None, looked_at: float) -> Resolution:
        try:
            making = self._make(wanted, looked_at)
        except AdaptationBusy as exc:
            if on_miss == "require":
                raise
            log.warning("no adapter for %r: %s", wanted.task[:80], exc)
            return Resolution("base" if on_miss == "base" else "fallback")
        if on_miss == "base":
            return Resolution("base")
        if budget_ms is None and on_miss == "wait":
            budget_ms = self.config.budget_ms
        try:
            made = making.result(None if budget_ms is None else budget_ms / 1000)
        except Exception as exc:
            if not making.done():
                log.warning("no adapter for %r within %s ms; it will be there later", wanted.task[:80], budget_ms)
                problem = f"the adapter was not ready within {budget_ms} ms; ask again"
            else:
                problem = f"the adapter could not be made: {exc}"
            if on_miss == "require":
                raise AdapterRequired(problem) from exc
            return Resolution("fallback")
        if not isinstance(made, NoAdapter):
            return Resolution("generated", made, weights=made.card.weights)
        if on_miss == "require":
            raise NoSkillFound(f"no adapter for this task: {made.reason}")
        return Resolution("base")

    def create(
        self, task: str, tenant: str, skills: tuple[str, ...] | None, weights: Mapping[str, float] | None
    ) -> Resolution:
        """The adapter of exactly this task, with these skills and weights where given; waits for it.

        Raises NoSkillFound, AdaptationBusy, and what finding or making it raises.
        """
        started = time.perf_counter()
        wanted = self._wanted(task, tenant, skills, weights)
        found = self.shelf.find(wanted, near=False)
        if found:
            return self._finished(hit(found), started)
        made = self._make(wanted, started).result()
        if isinstance(made, NoAdapter):
            raise NoSkillFound(f"no adapter for this task: {made.reason}")
        return self._finished(Resolution("generated", made, weights=made.card.weights), started)

    def pinned(self, digest: str, tenant: str) -> Resolution:
        """Raises AdapterNotFound."""
        stored = self.shelf.use(digest, tenant)
        return self._finished(Resolution("pinned", stored, weights=stored.card.weights), time.perf_counter())

    def given_up(self, problem: AdapterUnusable, on_miss: OnMiss | None, pinned: bool) -> Resolution:
        """The base model, for an adapter that the engine refused. Raises `problem` where only an adapter will do."""
        self.on_failure()
        log.error("%s", problem)
        if pinned or (on_miss or self.config.on_miss) == "require":
            raise problem
        return self._finished(Resolution("fallback"), time.perf_counter())

    def close(self) -> None:
        """Finishes the adapter being made, drops those that wait."""
        self._worker.shutdown(cancel_futures=True)
        self.shelf.close()

    def _make(self, wanted: Wanted, looked_at: float) -> Future[StoredAdapter | NoAdapter]:
        """The run that makes this adapter: the one under way, one that ended after the caller looked, or a
        new one.

        A task that led to no adapter is not tried again while it is remembered. Raises AdaptationBusy.
        """
        with self._lock:
            run = self._runs.get(wanted.identity)
            if run and (run.ended_at is None or run.ended_at >= looked_at or leads_nowhere(run)):
                return run.future
            if sum(run.ended_at is None for run in self._runs.values()) > LONGEST_LINE:
                raise AdaptationBusy(f"{LONGEST_LINE} adapters wait to be made already; ask again later")
            future = self._worker.submit(self._run, wanted)
            self._runs[wanted.identity] = Made(future)
            return future

    def _run(self, wanted: Wanted) -> StoredAdapter | NoAdapter:
        try:
            return self.shelf.make(wanted)
        except BadRequest:  # the client's fault, not the pipeline's
            raise
        except Exception:
            self._failed(wanted.task)
            raise
        finally:
            with self._lock:
                run = self._runs.pop(wanted.identity)
                self._runs[wanted.identity] = Made(run.future, time.perf_counter())
                for identity in list(self._runs)[: max(0, len(self._runs) - REMEMBERED)]:
                    if self._runs[identity].ended_at is not None:
                        del self._runs[identity]

    def _failed(self, task: str) -> None:
        self.on_failure()
        log.exception("no adapter for %r", task[:80])

    def _finished(self, resolution: Resolution, started: float) -> Resolution:
        seconds = time.perf_counter() - started
        self.on_resolution(resolution.source, seconds)
        return replace(resolution, adapt_ms=seconds * 1000)


def hit(found: Found) -> Resolution:
    source: Source = "exact" if found.similarity is None else "semantic"
    return Resolution(source, found.stored, found.similarity, found.stored.card.weights)


def leads_nowhere(run: Made) -> bool:
    future = run.future
    return (
        future.done()
        and not future.cancelled()
        and future.exception() is None
        and isinstance(future.result(), NoAdapter)
    )


def adapter_json(stored: StoredAdapter) -> dict[str, Any]:
    """A stored adapter as clients and the command line see it: its card, digest and size."""
    return {
        "id": stored.digest,
        "object": "adapter",
        "size_bytes": stored.size_bytes,
        **stored.card.to_json(),
    }
