"""The engine: one thread owns models, KV cells and adapters, and answers many requests at once.

Other threads reach it through `submit` and a few short commands; what they share with the thread is the
inbox, under one lock. The thread's loop: take in what arrived, admit, plan a step, compute it, choose tokens,
deliver.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from proxy.config import EngineConfig
from proxy.engine.adapter_pool import AdapterPool
from proxy.engine.answers import Answer, Request
from proxy.engine.api import (
    BASE_MODEL,
    AdapterUnusable,
    BadGrammar,
    ContextTooLong,
    EngineBusy,
    EngineClosed,
    EngineError,
    EngineFailed,
    EngineStats,
    Generation,
    Stream,
    UnknownModel,
    UnknownToken,
)
from proxy.engine.chat import ChatTemplate
from proxy.engine.llama import (
    MAX_SEQUENCES,
    Candidates,
    Context,
    LlamaError,
    Model,
    NoRoom,
    json_schema_to_gbnf,
    new_mixer,
)
from proxy.engine.mixer import Mixer, MixerUnavailable
from proxy.engine.parking import Parking
from proxy.engine.prefix import SequencePool
from proxy.engine.sampling import Chooser
from proxy.engine.scheduler import Group, Job, Plan, Scheduler

log = logging.getLogger(__name__)

IDLE_SEQUENCES_PER_RUNNING = 3
"""Sequences kept for finished conversations, per sequence that may run."""
IDLE_CELLS = 512
"""Cells that idle sequences keep while others are computed; more would slow every token down (see parking.py)."""
PAUSE_S = 0.2
"""How long each waiting prompt may hold up running answers in one step."""
LONGEST_PAUSE_S = 1.0
"""The same for any number of prompts, and where nobody answers: how late a new request or a cancel is noticed."""
LEAST_PREFILL_TOKENS = 16


def default_threads() -> int:
    """Physical cores this process may use: two threads of one core share its arithmetic units."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in allowed:
        try:
            siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            siblings = str(cpu)
        cores.add(siblings.strip())
    return max(1, len(cores))


class Runtime:
    """One loaded model with all that belongs to it. Made on any thread, then used by the engine's alone."""

    _ids = count()

    def __init__(
        self, name: str, path: Path, config: EngineConfig, parking: Parking, limit: int | None = None
    ) -> None:
        """limit: most tokens of a request; None = what context and model allow. Raises LlamaError."""
        self.id = next(self._ids)
        self.name = name
        self.model = Model(path, gpu_layers=config.gpu_layers)
        sequences = min(MAX_SEQUENCES, config.max_sequences * (1 + IDLE_SEQUENCES_PER_RUNNING))
        self.context = Context(
            self.model,
            context_tokens=config.context_tokens,
            batch_tokens=max(config.batch_tokens, config.max_sequences),
            max_sequences=sequences,
            max_outputs=max_outputs(config),
            threads=config.threads or default_threads(),
            mixer=_mixer(config),
        )
        self.limit = limit or min(self.context.context_tokens, self.model.train_context)
        self.pool = SequencePool(
            self.context,
            cells=self.context.context_tokens,
            sequences=sequences,
            splits=self.model.splits_sequences,
            parking=parking,
        )
        self.adapters = AdapterPool(self.model, self.context, config.adapter_pool_bytes)
        self.candidates = Candidates(self.model.n_vocab)

    def close(self) -> None:
        self.adapters.close()
        self.context.close()


def _mixer(config: EngineConfig) -> Mixer | None:
    """Mixing adapters needs their values in the CPU's memory, and C code that could be compiled."""
    if config.gpu_layers:
        return None
    try:
        return new_mixer()
    except MixerUnavailable as exc:
        log.warning("serving one adapter per step: %s", exc)
        return None


def max_outputs(config: EngineConfig) -> int:
    """Positions of one step whose logits may be wanted: one per answer, and a useful chunk of a scored
    prompt.
    """
    return max(64, min(MAX_SEQUENCES, config.max_sequences * (1 + IDLE_SEQUENCES_PER_RUNNING)))


@dataclass(slots=True)
class Counters:
    """Sums since start-up, written by the engine's thread."""

    prefill_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    decode_steps: int = 0
    decode_seconds: float = 0.0
    busy_seconds: float = 0.0


class Engine:
    """Implements `api.EngineApi`, where the methods are described. Close it, or its thread keeps the process
    alive.
    """

    def __init__(self, model_path: Path, config: EngineConfig, chat_template: str | None = None) -> None:
        """Loads the base model and starts the thread. Raises EngineFailed.

        chat_template: Jinja text used instead of the file's own.
        """
        self._config = config
        try:
            self._parking = Parking(config.prefix_cache_bytes)
            base = Runtime(BASE_MODEL, model_path, config, self._parking)
        except LlamaError as exc:
            raise EngineFailed(str(exc)) from exc
        model = base.model
        self.context_limit = base.limit
        template = chat_template or model.chat_template
        self._template = ChatTemplate(template, bos=model.special_text("bos"), eos=model.special_text("eos"))
        self._base_model = model
        self._lock = threading.Condition()
        self._models: dict[str, Runtime] = {BASE_MODEL: base}  # by name, under the lock
        self._inbox: deque[Callable[[], None]] = deque()  # commands for the thread, under the lock
        self._outstanding = 0  # requests submitted and not ended, under the lock
        self._closing_at: float | None = None  # monotonic time at which running answers are given up
        self._ended = False

        # What follows belongs to the thread.
        self._runtimes: dict[int, Runtime] = {base.id: base}
        self._scheduler = Scheduler(
            max_sequences=config.max_sequences,
            batch_tokens=max(config.batch_tokens, config.max_sequences),
            max_outputs=max_outputs(config),
            max_wait_steps=config.max_wait_steps,
            mixable=self._mixable,
            pools={base.id: base.pool},
        )
        self._jobs: dict[Request, list[Job]] = {}
        self._prefill_rate = 256.0  # tokens per second, a running mean
        self._adapter_users: set[Job] = set()
        self._may_load = True
        self._unusable: dict[Request, AdapterUnusable] = {}
        self.counters = Counters()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=False)
        self._thread.start()

    # --- from any thread ------------------------------------------------------------------------------------

    def submit(self, generation: Generation) -> Stream:
        runtime, tokens = self._runtime(generation.placement.model), len(generation.prompt)
        _check_tokens(generation, runtime.model.n_vocab)
        scored_only = generation.max_tokens == 0
        if tokens + (0 if scored_only else 1) > runtime.limit:
            raise ContextTooLong(tokens, runtime.limit)
        room = runtime.limit - tokens
        max_tokens = room if generation.max_tokens is None else min(generation.max_tokens, room)
        with self._lock:
            self._check_open()
            waiting = self._outstanding - self._config.max_sequences
            if waiting >= self._config.queue_limit:
                raise EngineBusy(waiting, self._config.queue_limit)
            self._outstanding += 1
        try:
            choosers = _choosers(generation, runtime.model)
        except BaseException:
            self._request_ended()
            raise
        stream = Stream(on_close=lambda: self._call(lambda: self._drop_request(request)))
        request = Request(generation, runtime.model, stream, open_answers=generation.n)
        answers = [Answer(request, index, chooser, max_tokens) for index, chooser in enumerate(choosers)]
        try:
            self._call(lambda: self._enqueue(request, answers, runtime.id))
        except EngineClosed:
            for answer in answers:
                answer.close()
            raise
        return stream

    def tokenize(self, text: str, *, special: bool = True, add_bos: bool = True) -> tuple[int, ...]:
        return self._base_model.tokenize(text, special=special, add_bos=add_bos)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        return b"".join(self._base_model.spell(t, special=special) for t in tokens).decode("utf-8", "replace")

    def chat_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        text = self._template.render(
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            arguments=template_arguments,
        )
        bos = self._base_model.special_text("bos")
        return self.tokenize(text, add_bos=not (bos and text.startswith(bos)))

    def json_grammar(self, schema: Mapping[str, Any] | None) -> str:
        try:
            return json_schema_to_gbnf({"type": "object"} if schema is None else schema)
        except LlamaError as exc:
            raise BadGrammar(f"the JSON schema cannot be made a grammar: {exc}") from exc

    def add_model(self, name: str, path: Path) -> None:
        with self._lock:
            self._check_open()
            if name in self._models:
                raise EngineFailed(f"a model named {name!r} is loaded already")
        try:
            runtime = Runtime(name, path, self._config, self._parking, self.context_limit)
        except LlamaError as exc:
            raise EngineFailed(str(exc)) from exc
        done: Future[None] = Future()

        def register() -> None:
            self._runtimes[runtime.id] = runtime
            self._scheduler.pools[runtime.id] = runtime.pool
            with self._lock:
                self._models[name] = runtime
            done.set_result(None)

        try:
            self._call(register)
        except EngineClosed:
            runtime.close()
            raise
        done.result()

    def remove_model(self, name: str) -> None:
        if name == BASE_MODEL:
            raise ValueError("the base model cannot be removed")
        self._runtime(name)
        with self._lock:
            self._models.pop(name, None)
        self._call(lambda: None)  # the thread frees what no name and no job refers to

    def stats(self) -> EngineStats:
        with self._lock:
            runtimes, outstanding = list(self._models.values()), self._outstanding
        running = len({job.payload.request for job in list(self._scheduler.running)})
        return EngineStats(
            running=running,
            queued=max(0, outstanding - running),
            prefix_cache_bytes=self._parking.size_bytes,
            kv_used_tokens=sum(runtime.pool.used for runtime in runtimes),
            kv_total_tokens=sum(runtime.pool.cells for runtime in runtimes),
            prefill_tokens=self.counters.prefill_tokens,
            cached_tokens=self.counters.cached_tokens,
            generated_tokens=self.counters.generated_tokens,
            decode_steps=self.counters.decode_steps,
            decode_seconds=self.counters.decode_seconds,
            busy_seconds=self.counters.busy_seconds,
            adapters_loaded=sum(len(runtime.adapters) for runtime in runtimes),
            adapter_bytes=sum(runtime.adapters.size_bytes for runtime in runtimes),
            models=tuple(runtime.name for runtime in runtimes),
        )

    def close(self, grace_s: float = 0.0) -> None:
        with self._lock:
            if self._closing_at is None:
                self._closing_at = time.monotonic() + grace_s
            self._lock.notify()
        self._thread.join()

    def _runtime(self, name: str) -> Runtime:
        with self._lock:
            self._check_open()
            runtime = self._models.get(name)
            if runtime is None:
                raise UnknownModel(name, sorted(self._models))
            return runtime

    def _check_open(self) -> None:
        if self._closing_at is not None:
            raise EngineClosed("the engine is shutting down")

    def _call(self, command: Callable[[], None]) -> None:
        """Has the thread run `command` before its next step. Raises EngineClosed when it no longer runs."""
        with self._lock:
            if self._ended:
                raise EngineClosed("the engine is closed")
            self._inbox.append(command)
            self._lock.notify()

    def _request_ended(self) -> None:
        with self._lock:
            self._outstanding -= 1

    # --- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            going = True
            while going:
                try:
                    going = self._take_commands()
                    started = time.perf_counter()
                    self._step()
                    self.counters.busy_seconds += time.perf_counter() - started
                except Exception as exc:  # whatever it is, waiting clients must be told and the rest go on
                    log.exception("a step of the engine failed")
                    self._start_over(EngineFailed(f"{type(exc).__name__}: {exc}"))
        finally:
            self._shut_down()

    def _take_commands(self) -> bool:
        """Runs what arrived; waits while there is nothing to do. False: the engine is to end."""
        while True:
            self._free_removed()
            with self._lock:
                idle = not self._scheduler.running and not self._scheduler.queue
                while idle and not self._inbox and self._closing_at is None:
                    self._lock.wait()
                commands = list(self._inbox)
                self._inbox.clear()
                closing_at = self._closing_at
            for command in commands:
                command()
            idle = not self._scheduler.running and not self._scheduler.queue
            if closing_at is not None and (idle or time.monotonic() >= closing_at):
                return False
            if not idle:
                return True

    def _enqueue(self, request: Request, answers: list[Answer], model: int) -> None:
        generation = request.generation
        group = Group(model, generation.placement.adapter.digest if generation.placement.adapter else None)
        jobs = []
        for answer in answers:
            scored = generation.prompt_logprobs and answer.index == 0
            job = Job(
                group=group,
                tokens=list(generation.prompt),
                max_new_tokens=answer.max_tokens,
                reuse_limit=generation.prompt_logprobs_from - 1 if scored else None,
                all_logits=scored,
                payload=answer,
            )
            jobs.append(job)
        self._jobs[request] = jobs
        if request.stream.closed:
            self._drop_request(request)
        elif model not in self._runtimes:  # removed since it was submitted
            self._fail(request, UnknownModel(generation.placement.model, sorted(self._models)))
        else:
            for job in jobs:
                self._scheduler.enqueue(job)

    def _step(self) -> None:
        self._may_load = True
        admitted = self._scheduler.admit(self._take_adapter)
        while self._unusable:
            self._fail(*self._unusable.popitem())
        for job in admitted:
            cached = len(job.sequence.tokens)
            if job.payload.index == 0 and job.new_tokens == 0:
                self.counters.cached_tokens += cached
                job.payload.request.started(cached)
        plan = self._scheduler.plan(self._prefill_tokens())
        if plan is None:
            return
        runtime = self._runtimes[plan.model]
        runtime.pool.park_idle(IDLE_CELLS)
        try:
            self._compute(runtime, plan)
        except NoRoom:
            # The pool believed there was room: give up what only it knows about, and try again next step.
            log.warning("no KV cells although %d seemed free; dropping idle prefixes", runtime.pool.free)
            if not runtime.pool.evictable:
                raise
            runtime.pool.drop_idle()
            return
        except LlamaError as exc:
            log.error("decoding failed: %s", exc)
            for job, _ in plan.parts:
                if not job.payload.request.failed:
                    self._fail(job.payload.request, EngineFailed(str(exc)))
            return
        self._deliver(runtime, plan)

    def _prefill_tokens(self) -> int:
        """Most prompt tokens of the next step.

        A long step holds up those who answer; many short ones hold up those who wait, since each step also computes
        the answers. So it may take the longer, the more wait.
        """
        waiting = sum(job.pending > 1 for job in self._scheduler.running)
        alone = waiting == len(self._scheduler.running)
        pause = LONGEST_PAUSE_S if alone else min(PAUSE_S * waiting, LONGEST_PAUSE_S)
        return max(LEAST_PREFILL_TOKENS, int(self._prefill_rate * pause))

    def _take_adapter(self, job: Job) -> bool:
        """Makes sure the job's adapter is loaded and stays so. At most one is loaded per step."""
        file = job.payload.request.generation.placement.adapter
        if file is None or job in self._adapter_users:
            return True
        adapters = self._runtimes[job.group.model].adapters
        if file.digest not in adapters:
            if not self._may_load:
                return False
            self._may_load = False
        try:
            adapters.take(file)
        except AdapterUnusable as exc:
            self._unusable[job.payload.request] = exc
            return False
        self._adapter_users.add(job)
        return True

    def _compute(self, runtime: Runtime, plan: Plan) -> None:
        context = runtime.context
        filled = 0
        for job, tokens in plan.parts:
            start, end = len(job.sequence.tokens), filled + tokens
            context.tokens[filled:end] = job.tokens[start : start + tokens]
            context.positions[filled:end] = range(start, start + tokens)
            context.sequences[filled:end] = job.sequence.id
            context.wanted[filled:end] = job.all_logits
            context.wanted[end - 1] = job.all_logits or tokens == job.pending
            filled = end
        started = time.perf_counter()
        self._attach(runtime, plan, filled)
        context.decode(filled)
        self._check_adapters(runtime, plan)
        seconds = time.perf_counter() - started
        self.counters.decode_steps += 1
        self.counters.decode_seconds += seconds
        if plan.prefill:
            self.counters.prefill_tokens += plan.prefill
            if plan.prefill >= filled // 2:
                self._prefill_rate += 0.3 * (filled / seconds - self._prefill_rate)

    def _attach(self, runtime: Runtime, plan: Plan, filled: int) -> None:
        """Attaches the step's adapters, and tells the mixer which tokens use which."""
        context, digests = runtime.context, plan.adapters
        adapters = [runtime.adapters.get(digest) for digest in digests]
        context.attach(tuple(adapters))
        mixer = context.mixer
        if mixer is None:
            return
        wanted = context.wanted[:filled]
        if len(adapters) == 1 and adapters[0].tensors is None:
            mixer.learn(wanted)
        elif len({job.group for job, _ in plan.parts}) > 1:
            number = {digest: index for index, digest in enumerate(digests)}
            users = np.repeat(
                [number.get(job.group.adapter, -1) for job, _ in plan.parts],
                [tokens for _, tokens in plan.parts],
            )
            mixer.mix([adapter.tensors for adapter in adapters], users, wanted)
        else:
            mixer.off()

    def _check_adapters(self, runtime: Runtime, plan: Plan) -> None:
        """After a step: keeps what the mixer learned, or finds that it failed to keep adapters apart."""
        mixer = runtime.context.mixer
        if mixer is None:
            return
        adapters = [runtime.adapters.get(digest) for digest in plan.adapters]
        if len(adapters) == 1 and adapters[0].tensors is None:
            adapters[0].tensors = mixer.learned()
        elif len({job.group for job, _ in plan.parts}) > 1 and not mixer.kept_apart:
            for adapter in adapters:
                adapter.tensors = np.zeros(0, np.uint64)  # never to be mixed again
            raise LlamaError("adapters could not be kept apart in one step")

    def _mixable(self, group: Group) -> bool:
        runtime = self._runtimes[group.model]
        if runtime.context.mixer is None or group.adapter is None:
            return runtime.context.mixer is not None
        if group.adapter not in runtime.adapters:
            return False
        tensors = runtime.adapters.get(group.adapter).tensors
        return tensors is not None and len(tensors) > 0

    def _deliver(self, runtime: Runtime, plan: Plan) -> None:
        """Chooses a token for every answer whose tokens are all computed."""
        rows = runtime.context.logits()
        best = rows.argmax(axis=1) if len(rows) and any(_is_plain(job) for job, _ in plan.parts) else None
        row = 0
        for job, tokens in plan.parts:
            done = tokens == job.pending
            count = tokens if job.all_logits else int(done)
            if job.all_logits:
                start = len(job.sequence.tokens)
                job.payload.request.take_prompt_logits(start, rows[row : row + count])
                job.all_logits = not done
            self._scheduler.computed(job, tokens)
            row += count
            if done:
                self._advance(runtime, job, rows[row - 1], int(best[row - 1]) if _is_plain(job) else None)

    def _advance(self, runtime: Runtime, job: Job, row: np.ndarray, best: int | None) -> None:
        answer: Answer = job.payload
        if answer.request.failed:  # by another of its answers, in this step
            return
        try:
            token = answer.step(row, best, runtime.candidates)
        except Exception as exc:  # one answer's sampling must not take the others with it
            if not isinstance(exc, BadGrammar):
                log.exception("choosing a token failed")
                exc = EngineFailed(f"{type(exc).__name__}: {exc}")
            answer.request.fail(exc)
            self._call(lambda: self._drop_request(answer.request, keep=False))
            return
        if token is None:
            self._end_job(job)
        else:
            self.counters.generated_tokens += 1
            job.new_tokens += 1
            job.tokens.append(token)

    def _end_job(self, job: Job) -> None:
        """Takes out a job that has ended by itself."""
        request = job.payload.request
        self._discard(job, keep=True)
        self._jobs[request].remove(job)
        if not self._jobs[request]:
            del self._jobs[request]
            self._request_ended()

    def _drop_request(self, request: Request, *, keep: bool = True) -> None:
        """Frees all that a request holds: its client has left, or it has failed.

        keep: what was computed for it may serve later prompts.
        """
        jobs = self._jobs.pop(request, None)
        if jobs is None:
            return
        for job in jobs:
            self._discard(job, keep=keep)
        request.report()
        self._request_ended()

    def _discard(self, job: Job, *, keep: bool) -> None:
        self._scheduler.drop(job, keep=keep)
        if job in self._adapter_users:
            self._adapter_users.remove(job)
            self._runtimes[job.group.model].adapters.give_back(job.group.adapter)
        job.payload.close()

    def _fail(self, request: Request, error: EngineError) -> None:
        request.fail(error)
        self._drop_request(request, keep=False)

    def _start_over(self, error: EngineError) -> None:
        """After a fault nobody foresaw: every request is failed and every cell forgotten."""
        for request in list(self._jobs):
            self._fail(request, error)
        for runtime in self._runtimes.values():
            runtime.pool.reset()

    def _free_removed(self) -> None:
        if len(self._runtimes) == len(self._models):
            return
        with self._lock:
            named = {runtime.id for runtime in self._models.values()}
        busy = {job.group.model for jobs in self._jobs.values() for job in jobs}
        for number in set(self._runtimes) - named - busy:
            self._scheduler.pools.pop(number)
            self._runtimes.pop(number).close()
            self._parking.forget(lambda key, gone=number: key.model == gone)

    def _shut_down(self) -> None:
        with self._lock:
            self._ended = True
            self._closing_at = self._closing_at or time.monotonic()
            commands = list(self._inbox)
            self._inbox.clear()
        for command in commands:
            command()
        for request in list(self._jobs):
            self._fail(request, EngineClosed("the engine was shut down"))
        for runtime in self._runtimes.values():
            runtime.close()


def _is_plain(job: Job) -> bool:
    answer: Answer = job.payload
    return answer.chooser.plain_greedy


def _choosers(generation: Generation, model: Model) -> list[Chooser]:
    choosers: list[Chooser] = []
    try:
        for number in range(generation.n):
            chooser = Chooser(
                model,
                generation.sampling,
                generation.prompt,
                number=number,
                ignore_eos=generation.ignore_eos,
            )
            choosers.append(chooser)
    except BaseException:
        for chooser in choosers:
            chooser.close()
        raise
    return choosers


def _check_tokens(generation: Generation, n_vocab: int) -> None:
    biased = [token for token, _ in generation.sampling.logit_bias]
    for tokens in (generation.prompt, biased):
        if tokens and not 0 <= min(tokens) <= max(tokens) < n_vocab:
            raise UnknownToken(min(tokens) if min(tokens) < 0 else max(tokens), n_vocab)
