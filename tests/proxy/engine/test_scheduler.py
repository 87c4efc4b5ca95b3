"""proxy/engine/scheduler.py: random schedules keep its promises; and the policies one by one."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.engine.parking import Parking
from proxy.engine.prefix import SequencePool
from proxy.engine.scheduler import Group, Job, Scheduler

A, B, C = Group(0, "a"), Group(0, "b"), Group(0, None)


class Cells:
    """KV memory, cell by cell: (group, token) as computed, owned by sequences."""

    def __init__(self) -> None:
        self.owned: dict[int, list[tuple[int, Group, int]]] = {}
        self.computed = 0

    def remove(self, sequence: int, start: int = 0, end: int = -1) -> bool:
        cells = self.owned.setdefault(sequence, [])
        if end < 0:
            del cells[start:]
        else:
            cells[start:end] = [None] * (end - start)
        return True

    def share(self, source: int, target: int, end: int) -> None:
        cells = self.owned.setdefault(target, [])
        assert not any(cells[:end])
        cells[:end] = self.owned[source][:end]

    def clear(self) -> None:
        self.owned.clear()

    def save(self, sequence: int) -> np.ndarray:
        state = np.empty(len(self.owned[sequence]), object)
        state[:] = [(group, token) for _, group, token in self.owned[sequence]]
        return state

    def load(self, sequence: int, state: np.ndarray) -> bool:
        assert not self.owned.get(sequence)
        start = self.computed + 1
        self.owned[sequence] = [(start + place, *cell) for place, cell in enumerate(state)]
        self.computed += len(state)
        return True

    def compute(self, job: Job, count: int) -> None:
        cells = self.owned.setdefault(job.sequence.id, [])
        for token in job.tokens[len(cells) : len(cells) + count]:
            self.computed += 1
            cells.append((self.computed, job.group, token))
        # Every cell of the job's sequence was computed for this group and for exactly these tokens.
        assert [token for _, _, token in cells] == job.tokens[: len(cells)]
        assert {group for _, group, _ in cells} == {job.group}

    @property
    def used(self) -> int:
        return len({cell for cells in self.owned.values() for cell in cells if cell})


class Bench:
    """A scheduler over simulated cells; an answer's n-th token is 1000 + n."""

    def __init__(
        self,
        *,
        cells: int = 1000,
        max_sequences: int = 4,
        batch: int = 16,
        max_wait_steps: int = 8,
        mixable: frozenset[Group] = frozenset(),
        parking: int = 0,
        idle_cells: int = 1000,
    ) -> None:
        """parking: budget, one byte a token. idle_cells: see `SequencePool.park_idle`."""
        self.cells = Cells()
        self.idle_cells = idle_cells
        self.pool = SequencePool(self.cells, cells=cells, sequences=2 * max_sequences, parking=Parking(parking))
        self.scheduler = Scheduler(
            max_sequences=max_sequences,
            batch_tokens=batch,
            max_outputs=batch,
            max_wait_steps=max_wait_steps,
            mixable=mixable.__contains__,
            pools={0: self.pool},
        )
        self.done: list[Job] = []
        self.log: list[list[tuple[Job, int]]] = []

    def submit(self, group: Group, prompt: list[int], new_tokens: int = 3, **options) -> Job:
        job = Job(group, list(prompt), new_tokens, **options)
        self.scheduler.enqueue(job)
        return job

    def step(self, prefill: int = 16) -> bool:
        scheduler = self.scheduler
        scheduler.admit(lambda job: True)
        plan = scheduler.plan(prefill)
        if plan is None:
            return False
        self.log.append(plan.parts)
        self.pool.park_idle(self.idle_cells)
        jobs = [job for job, _ in plan.parts]
        assert len(jobs) == len(set(jobs)) > 0
        groups = {job.group for job in jobs}
        assert {group.model for group in groups} == {plan.model}
        assert len(groups) == 1 or all(map(scheduler.mixable, groups))
        assert sum(count for _, count in plan.parts) <= scheduler.batch_tokens
        assert all(wait <= scheduler.max_wait_steps for wait in scheduler.waits().values())
        for job, count in plan.parts:
            done = count == job.pending
            self.cells.compute(job, count)
            scheduler.computed(job, count)
            if done:
                job.new_tokens += 1
                if job.new_tokens == job.max_new_tokens:
                    scheduler.drop(job, keep=True)
                    self.done.append(job)
                else:
                    job.tokens.append(1000 + job.new_tokens)
        self.check()
        return True

    def check(self) -> None:
        assert self.cells.used == self.pool.used <= self.pool.cells
        busy = [job.sequence for job in self.scheduler.running]
        assert len(busy) == len(set(map(id, busy))) <= self.scheduler.max_sequences
        assert {id(s) for s in busy} == {id(s) for s in self.pool.sequences if s.busy}

    def run(self, limit: int = 10_000) -> int:
        """Steps until nothing is left."""
        for steps in range(limit):
            if not self.step():
                assert not self.scheduler.queue
                return steps
        raise AssertionError("somebody is never answered")


prompts = st.builds(
    lambda shared, own: [*range(shared), *own],
    st.integers(0, 40),
    st.lists(st.integers(500, 503), min_size=1, max_size=20),
)
submits = st.tuples(st.just("submit"), st.sampled_from([A, B, C, Group(0, "d")]), prompts, st.integers(1, 12))
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))
steps = st.tuples(st.just("step"), st.integers(1, 16))


@settings(max_examples=150, deadline=None)
@given(
    schedule=st.lists(st.one_of(submits, submits, cancels, steps, steps), max_size=60),
    cells=st.integers(80, 400),
    max_sequences=st.integers(1, 5),
    max_wait_steps=st.integers(1, 4),
    mixable=st.frozensets(st.sampled_from([A, B, C])),
    parking=st.sampled_from([0, 40, 1000]),
    idle_cells=st.sampled_from([0, 30, 1000]),
)
def test_over_random_schedules_cells_are_owned_once_nothing_leaks_everyone_is_answered_in_time(
    schedule, cells, max_sequences, max_wait_steps, mixable, parking, idle_cells
):
    bench = Bench(
        cells=cells,
        max_sequences=max_sequences,
        max_wait_steps=max_wait_steps,
        mixable=mixable,
        parking=parking,
        idle_cells=idle_cells,
    )
    jobs: list[Job] = []
    cancelled = 0
    for kind, *arguments in schedule:
        if kind == "submit":
            jobs.append(bench.submit(*arguments))
        elif kind == "cancel" and jobs:
            job = jobs[arguments[0] % len(jobs)]
            if job not in bench.done and (job.sequence is not None or job in bench.scheduler.queue):
                bench.scheduler.drop(job, keep=True)
                cancelled += 1
                bench.check()
        elif kind == "step":
            bench.step(prefill=arguments[0])
    bench.run()
    assert len(bench.done) + cancelled == len(jobs)
    bench.pool.drop_idle()
    assert bench.pool.used == bench.cells.used == 0
    assert not bench.scheduler.waits()


def test_a_group_with_work_waits_at_most_max_wait_steps_for_others():
    bench = Bench(max_sequences=8, max_wait_steps=2)
    for name in "abcdefgh":
        bench.submit(Group(0, name), [1, 2, 3], new_tokens=20)
    bench.step()
    assert len({job.group for job in bench.scheduler.running}) == 3
    bench.run()  # every step asserts the bound
    assert len(bench.done) == 8


def test_groups_take_turns_step_by_step():
    bench = Bench()
    for group in (A, B):
        for start in (0, 100):
            bench.submit(group, [start, start + 1], new_tokens=5)
    bench.run()
    served = [parts[0][0].group for parts in bench.log]
    assert all(first != second for first, second in pairwise(served))
    assert all(len(parts) == 2 for parts in bench.log)


def test_prompts_are_computed_in_chunks_beside_running_answers():
    bench = Bench()
    answer = bench.submit(A, [1, 2], new_tokens=10)
    bench.step()
    prompt = bench.submit(A, list(range(100, 140)))
    bench.step(prefill=6)
    assert dict(bench.log[-1]) == {answer: 1, prompt: 6}


def test_a_short_prompt_overtakes_a_long_one_that_came_just_before_but_not_one_that_came_long_ago():
    bench = Bench(max_sequences=1, batch=10)
    long = bench.submit(A, list(range(45)), new_tokens=1)
    short = bench.submit(A, list(range(100, 105)), new_tokens=1)
    bench.run()
    assert bench.done == [short, long]

    bench = Bench(max_sequences=1, batch=10)
    bench.submit(B, [1, 2], new_tokens=8)
    bench.step()
    long = bench.submit(A, list(range(45)), new_tokens=1)
    for _ in range(5):
        bench.step()
    bench.submit(A, list(range(100, 105)), new_tokens=1)
    bench.run()
    assert bench.done[1] is long


def test_a_prompt_that_is_being_computed_is_waited_for_and_its_cells_are_shared():
    bench = Bench(max_sequences=4, batch=16)
    for _ in range(4):
        bench.submit(A, list(range(64)), new_tokens=2)
    bench.run()
    assert bench.cells.computed == 64 + 3 + 4


def test_requests_that_do_not_fit_together_run_one_after_the_other():
    bench = Bench(cells=100)
    for start in (0, 200, 400):
        bench.submit(A, list(range(start, start + 60)), new_tokens=5)
    bench.run()
    assert len(bench.done) == 3


def test_when_answers_outgrow_the_cells_the_last_one_gives_way_and_is_still_answered():
    bench = Bench(cells=160, max_sequences=2)
    for start in (0, 200):
        bench.submit(A, list(range(start, start + 5)), new_tokens=120)
    bench.run()
    assert [len(job.tokens) for job in bench.done] == [124, 124]
    assert bench.cells.computed > 2 * 124  # somebody was computed again


def test_a_job_whose_adapter_is_not_loaded_yet_stays_in_the_queue_and_holds_nobody_up():
    bench = Bench()
    late, ready = bench.submit(A, [1, 2]), bench.submit(B, [3, 4])
    assert bench.scheduler.admit(lambda job: job.group == B) == [ready]
    assert bench.scheduler.queue == [late]


def test_scored_prompts_take_no_more_logits_than_a_step_has():
    bench = Bench(batch=16)
    bench.scheduler.max_outputs = 5
    job = bench.submit(A, list(range(30)), new_tokens=1, reuse_limit=0, all_logits=True)
    other = bench.submit(A, list(range(100, 104)), new_tokens=9)
    bench.step()
    bench.step()
    assert dict(bench.log[0])[job] <= 5
    assert sum(n if j.all_logits else 1 for j, n in bench.log[1]) <= 5
    bench.run()
    assert {id(job), id(other)} == {id(done) for done in bench.done}


def test_groups_that_can_be_mixed_are_served_in_every_step_and_others_take_turns_with_them():
    bench = Bench(mixable=frozenset([A, B]))
    for group, start in ((A, 0), (B, 100), (C, 200)):
        bench.submit(group, [start, start + 1], new_tokens=6)
    for _ in range(6):
        bench.step()
    groups = [{job.group for job, _ in parts} for parts in bench.log]
    assert groups == [{A, B}, {C}] * 3
