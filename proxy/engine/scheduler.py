"""What is computed next: admission by KV room, groups in turn, prompts in chunks beside running answers.

Pure logic over `SequencePool`s; the engine carries plans out. Policy:

- A job waits in the queue until a sequence, KV room and a place among the groups are there. The queue is ordered by
  arrival plus the steps its own prompt costs: a short prompt overtakes a long one that came just before, and nobody
  is overtaken for ever.
- Groups (model and adapter) that the caller can mix in one step are served together; any other group has steps of
  its own. The one that has waited longest is next. At most `max_wait_steps + 1` take turns at a time, so a group with
  work is served after at most `max_wait_steps` steps of others.
- A step computes one token of every running answer in it and, in what the caller allows, chunks of prompts. A job
  whose prompt another job is just computing waits for it and shares the cells.
- Where cells run out in the middle, idle prefixes go first; then the job admitted last gives its cells back, returns
  to the queue and computes them again later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proxy.engine.prefix import Found, KvSequence, SequencePool
from proxy.engine.tokens import common_prefix

HEADROOM_TOKENS = 64
"""Answer tokens for which a job must find room when it is admitted; answers seldom reach their max_tokens."""
WORTH_WAITING_TOKENS = 32
"""A job waits for another's prompt only if that saves it at least this many tokens."""


class Group(NamedTuple):
    """Jobs of one group share their weights. `model` is unique, also after a reload."""

    model: int
    adapter: str | None


@dataclass(eq=False, slots=True)
class Job:
    """One answer to be computed. `tokens`: prompt and answer so far; those not in `sequence` are pending."""

    group: Group
    tokens: list[int]
    max_new_tokens: int
    reuse_limit: int | None = None
    """Most tokens whose cells may come from other jobs; None = all but the last."""
    all_logits: bool = False
    """Logits of every pending token are wanted, not of the last alone."""
    payload: Any = None
    sequence: KvSequence | None = None
    rank: float = 0.0
    admitted: int = 0
    new_tokens: int = 0

    @property
    def pending(self) -> int:
        return len(self.tokens) - (len(self.sequence.tokens) if self.sequence else 0)

    @property
    def claim(self) -> int:
        """Cells the job will still need soon."""
        return self.pending + min(self.max_new_tokens - self.new_tokens, HEADROOM_TOKENS)


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: for each job the number of its pending tokens to compute. `prefill`: those of prompts."""

    model: int
    parts: list[tuple[Job, int]]
    prefill: int

    @property
    def adapters(self) -> list[str]:
        """Digests of the adapters in use, in a fixed order."""
        return sorted({job.group.adapter for job, _ in self.parts if job.group.adapter is not None})


@dataclass(slots=True)
class Scheduler:
    """Queue and running jobs of an engine. Owned by its thread."""

    max_sequences: int
    batch_tokens: int
    max_outputs: int
    max_wait_steps: int
    mixable: Callable[[Group], bool] = lambda group: False
    """Whether a group can share a step with the other mixable groups of its model."""
    pools: dict[int, SequencePool] = field(default_factory=dict)
    queue: list[Job] = field(default_factory=list)
    running: list[Job] = field(default_factory=list)
    step: int = 0
    _served: dict[Group, int] = field(default_factory=dict)

    def enqueue(self, job: Job) -> None:
        job.rank = self.step + len(job.tokens) / self.batch_tokens
        self.queue.append(job)

    def admit(self, ready: Callable[[Job], bool]) -> list[Job]:
        """Moves jobs from the queue to the running ones.

        `ready(job)` is asked last; False leaves the job in the queue for this time (its adapter is not
        loaded).
        """
        admitted: list[Job] = []
        if not self.queue or len(self.running) >= self.max_sequences:
            return admitted
        groups = {job.group for job in self.running}
        for job in sorted(self.queue, key=lambda job: job.rank):
            if len(self.running) >= self.max_sequences:
                break
            if job.group not in groups and self._turns(groups | {job.group}) > self.max_wait_steps + 1:
                continue
            pool = self.pools[job.group.model]
            found = pool.find(job.group, job.tokens, job.reuse_limit)
            if self._is_being_computed(job, found.length):
                continue
            if not self._has_room(job, found):
                break  # a job behind it must not take the room it is waiting for
            if not ready(job):
                continue
            self.queue.remove(job)
            job.sequence = pool.acquire(job.group, job.tokens, job.reuse_limit)
            job.admitted = self.step
            if job.group not in groups:
                groups.add(job.group)
                self._served[job.group] = self.step
            self.running.append(job)
            admitted.append(job)
        return admitted

    def plan(self, prefill_tokens: int) -> Plan | None:
        """The next step, or None when nothing runs. prefill_tokens: most prompt tokens in it."""
        while self.running:
            waiting: dict[Group, list[Job]] = {}
            for job in self.running:
                waiting.setdefault(job.group, []).append(job)
            group = min(waiting, key=lambda group: self._served[group])
            together = [group]
            if self.mixable(group):
                together = [other for other in waiting if other.model == group.model and self.mixable(other)]
            jobs = [job for member in together for job in waiting[member]]
            plan = self._compose(group.model, jobs, prefill_tokens)
            if self.pools[group.model].make_room(sum(count for _, count in plan.parts)):
                self.step += 1
                self._served.update(dict.fromkeys(together, self.step))
                return plan
            self._preempt(group.model)
        return None

    def computed(self, job: Job, count: int) -> None:
        """Records that the job's next `count` pending tokens are in its sequence."""
        start = len(job.sequence.tokens)
        self.pools[job.group.model].append(job.sequence, job.tokens[start : start + count])

    def drop(self, job: Job, *, keep: bool) -> None:
        """Takes a job out, wherever it is; keep: what it computed stays for later prompts."""
        if job.sequence is None:
            if job in self.queue:
                self.queue.remove(job)
            return
        self.running.remove(job)
        self.pools[job.group.model].release(job.sequence, keep=keep)
        job.sequence = None
        if all(other.group != job.group for other in self.running):
            self._served.pop(job.group, None)

    def waits(self) -> Mapping[Group, int]:
        """Steps since each running group was served."""
        return {group: self.step - served for group, served in self._served.items()}

    def _compose(self, model: int, jobs: list[Job], prefill_tokens: int) -> Plan:
        parts = [(job, 1) for job in jobs if job.pending == 1]
        room = min(prefill_tokens, self.batch_tokens - len(parts))
        outputs = self.max_outputs - len(parts)
        prefill = 0
        for job in sorted((job for job in jobs if job.pending > 1), key=lambda job: job.rank):
            count = min(job.pending, room, outputs if job.all_logits else room)
            if count <= 0 or outputs <= 0:  # a prompt that ends in this step takes an output too
                break
            parts.append((job, count))
            room -= count
            outputs -= count if job.all_logits else 1
            prefill += count
        return Plan(model, parts, prefill)

    def _turns(self, groups: set[Group]) -> int:
        """How many steps it takes to serve all of these once."""
        mixed = {group.model for group in groups if self.mixable(group)}
        return len(mixed) + sum(not self.mixable(group) for group in groups)

    def _is_being_computed(self, job: Job, cached: int) -> bool:
        """Whether a running job of the group is just computing a prompt that would save this job much of its
        own.
        """
        for other in self.running:
            if other.group == job.group and other.pending > 1:
                most = len(job.tokens) - 1 if job.reuse_limit is None else job.reuse_limit
                saved = common_prefix(other.tokens, job.tokens, min(len(other.tokens), most)) - cached
                if saved >= min(WORTH_WAITING_TOKENS, max(1, most - cached)):
                    return True
        return False

    def _has_room(self, job: Job, found: Found) -> bool:
        pool = self.pools[job.group.model]
        claims = [other.claim for other in self.running if other.group.model == job.group.model]
        if not claims:
            return True  # the engine refuses what does not fit the whole context
        return found.cells_for(job.claim) + sum(claims) <= pool.free + pool.evictable

    def _preempt(self, model: int) -> None:
        """Sends the job of this model that was admitted last back to the queue."""
        jobs = [job for job in self.running if job.group.model == model]
        if len(jobs) == 1:
            raise RuntimeError(f"one job of {len(jobs[0].tokens)} tokens does not fit the context")
        job = max(jobs, key=lambda job: (job.admitted, job.rank))
        self.drop(job, keep=False)
        self.queue.append(job)
