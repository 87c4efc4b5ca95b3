import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters.errors import AdapterNotFound, CacheCorrupt
from proxy.adaptation import LONGEST_LINE, Adapters, EmptyShelf
from proxy.config import AdaptConfig
from proxy.errors import AdaptationBusy, AdapterRequired, BadRequest, NoSkillFound
from tests.proxy.fakes import FakeShelf


class Told:
    def __init__(self):
        self.sources, self.failures = [], 0

    def resolved(self, source, seconds):
        self.sources.append(source)

    def failed(self):
        self.failures += 1


@pytest.fixture
def shelf():
    return FakeShelf()


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def adapters(shelf, told):
    adapters = Adapters(shelf, AdaptConfig(), 1000, told.resolved, told.failed)
    yield adapters
    shelf.may_finish.set()
    adapters.close()


def held(shelf):
    """Makes the next run wait."""
    shelf.may_finish.clear()


def test_a_task_is_generated_then_exact_and_a_neighbour_is_semantic(adapters, told):
    first = adapters.resolve("write code", "me")
    again = adapters.resolve("write code", "me")
    near = adapters.resolve("write the same code", "me")
    assert [first.source, again.source, near.source] == ["generated", "exact", "semantic"]
    assert first.stored == again.stored == near.stored
    assert (first.similarity, again.similarity, near.similarity) == (None, None, 0.95)
    assert first.weights == {"code_generation": 0.6, "task": 0.4}
    assert told.sources == ["generated", "exact", "semantic"]


def test_a_task_of_absurd_length_is_refused_before_anybody_reads_it(adapters, told):
    assert adapters.resolve("x" * 1000, "me").source == "generated"
    for ask in (adapters.resolve, lambda task, tenant: adapters.create(task, tenant, None, None)):
        with pytest.raises(BadRequest, match=r"has 1001 characters, want at most 1000 .*hint\.max_words"):
            ask("x" * 1001, "me")
    assert told.sources == ["generated"]


def test_no_skill_means_the_base_model_and_is_remembered(adapters, shelf):
    assert adapters.resolve("nothing", "me").source == "base"
    assert adapters.resolve("nothing", "me").source == "base"
    assert len(shelf.made) == 1


def test_identical_misses_at_once_generate_once(adapters, shelf):
    held(shelf)
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(adapters.resolve, "write code", "me") for _ in range(16)]
        time.sleep(0.2)
        shelf.may_finish.set()
        resolutions = [one.result() for one in waiting]
    assert len(shelf.made) == 1
    assert {one.stored.digest for one in resolutions} == {"0000000000000001"}
    assert {one.source for one in resolutions} <= {"generated", "exact"}


def test_only_so_many_adapters_wait_to_be_made_and_others_are_answered_without(adapters, shelf, told):
    held(shelf)
    for number in range(LONGEST_LINE + 1):  # one of them is being made
        assert adapters.resolve(f"task {number}", "me", "base").source == "base"
    started = time.monotonic()
    assert adapters.resolve("one more", "me", "base").source == "base"
    assert adapters.resolve("one more", "you").source == "fallback"
    for ask in (lambda: adapters.resolve("one more", "me", "require"), lambda: adapters.create("it", "me", None, None)):
        with pytest.raises(AdaptationBusy, match="16 adapters wait"):
            ask()
    assert time.monotonic() - started < 1 and told.failures == 0
    assert adapters.resolve("task 3", "me", budget_ms=0).source == "fallback"  # in the line: waited for, in vain
    shelf.may_finish.set()
    assert adapters.create("task 16", "me", None, None).stored
    assert adapters.resolve("one more", "me").source == "generated"
    assert len(shelf.made) == LONGEST_LINE + 2


def test_a_request_that_looked_before_the_adapter_was_stored_does_not_make_it_again(adapters, shelf):
    """The look-up of the second request misses, then the first request's run ends, then the second goes on."""
    looked, go_on = threading.Event(), threading.Event()
    find = shelf.find

    def slow_find(wanted, *, near):
        found = find(wanted, near=near)
        if threading.current_thread().name == "slow":
            looked.set()
            assert go_on.wait(5)
        return found

    shelf.find = slow_find
    slow = threading.Thread(target=adapters.resolve, args=("write code", "me"), name="slow")
    slow.start()
    assert looked.wait(5)
    assert adapters.resolve("write code", "me").source == "generated"
    go_on.set()
    slow.join(5)
    assert len(shelf.made) == 1


def test_tenants_share_nothing(adapters, shelf):
    adapters.resolve("write code", "me")
    assert adapters.resolve("write code", "you").source == "generated"
    assert adapters.resolve("write the same code", "them").source == "generated"
    assert len(shelf.made) == 3


def test_past_the_budget_the_base_model_answers_and_the_adapter_is_there_later(adapters, shelf):
    held(shelf)
    late = adapters.resolve("write code", "me", budget_ms=20)
    assert (late.source, late.stored) == ("fallback", None)
    assert late.adapt_ms >= 20
    shelf.may_finish.set()
    adapters._worker.submit(lambda: None).result()
    assert adapters.resolve("write code", "me").source == "exact"


def test_on_miss_base_answers_at_once_and_makes_the_adapter_for_the_next_request(adapters, shelf):
    held(shelf)
    assert adapters.resolve("write code", "me", on_miss="base").source == "base"
    shelf.may_finish.set()
    adapters._worker.submit(lambda: None).result()
    assert adapters.resolve("write code", "me", on_miss="base").source == "exact"


def test_a_failing_pipeline_falls_back_to_the_base_model_and_is_counted(adapters, shelf, told, caplog):
    shelf.fails = RuntimeError("no memory")
    assert adapters.resolve("write code", "me").source == "fallback"
    assert told.failures == 1 and "no memory" in caplog.text
    shelf.fails = None
    assert adapters.resolve("write code", "me").source == "generated"


def test_a_broken_cache_falls_back_and_is_counted(adapters, shelf, told):
    shelf.broken = CacheCorrupt("cache.db: not a database")
    assert adapters.resolve("write code", "me").source == "fallback"
    assert told.failures == 1
    with pytest.raises(AdapterRequired, match="not a database"):
        adapters.resolve("write code", "me", on_miss="require")


def test_require_fails_rather_than_answer_without(adapters, shelf):
    assert adapters.resolve("write code", "me", on_miss="require").source == "generated"
    with pytest.raises(NoSkillFound, match="no skill scores"):
        adapters.resolve("nothing", "me", on_miss="require")
    shelf.fails = RuntimeError("no memory")
    with pytest.raises(AdapterRequired, match="could not be made: no memory"):
        adapters.resolve("write more", "me", on_miss="require")
    shelf.fails = None
    held(shelf)
    with pytest.raises(AdapterRequired, match="not ready within 10 ms"):
        adapters.resolve("write less", "me", on_miss="require", budget_ms=10)


def test_a_timeout_inside_the_pipeline_is_a_failure_not_a_passed_budget(adapters, shelf):
    shelf.fails = TimeoutError("upstream")
    with pytest.raises(AdapterRequired, match="could not be made: upstream"):
        adapters.resolve("write code", "me", on_miss="require")


def test_create_makes_exactly_what_was_asked(adapters, shelf):
    adapters.resolve("write code", "me")
    near = adapters.create("write the same code", "me", None, None)
    assert near.source == "generated"
    own = adapters.create("write code", "me", ("a",), {"a": 1.0})
    assert (own.source, own.weights) == ("generated", {"a": 1.0})
    assert adapters.create("write code", "me", ("a",), {"a": 1.0}).source == "exact"
    with pytest.raises(NoSkillFound):
        adapters.create("nothing", "me", None, None)


def test_a_bad_wish_is_the_clients_fault_and_not_counted_as_a_failure(adapters, shelf, told):
    shelf.fails = BadRequest("unknown skill x")
    with pytest.raises(BadRequest):
        adapters.create("write code", "me", ("x",), None)
    assert told.failures == 0


def test_a_pinned_adapter_is_the_named_one_or_not_found(adapters):
    made = adapters.resolve("write code", "me").stored
    assert adapters.pinned(made.digest, "me").stored == made
    with pytest.raises(AdapterNotFound):
        adapters.pinned(made.digest, "you")


def test_a_model_without_a_hypernetwork_answers_as_it_is():
    adapters = Adapters(EmptyShelf("llama"), AdaptConfig(), 1000)
    assert adapters.resolve("write code", "me").source == "base"
    with pytest.raises(NoSkillFound, match="no hypernetwork for llama"):
        adapters.resolve("write code", "me", on_miss="require")
    with pytest.raises(AdapterNotFound):
        adapters.pinned("0" * 16, "me")
    adapters.close()
