"""proxy/engine/prefix.py: what is reused, shared and dropped."""

import numpy as np
import pytest

from proxy.engine.parking import Parked, Parking
from proxy.engine.prefix import SequencePool
from proxy.engine.tokens import common_prefix


class Cells:
    """The KV memory, cell by cell: each is a (key, token) computed once and owned by sequences."""

    def __init__(self) -> None:
        self.owned: dict[int, list[object]] = {}

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
        state[:] = [type("Cell", (), {"key": cell.key, "token": cell.token})() for cell in self.owned[sequence]]
        return state

    def load(self, sequence: int, state: np.ndarray) -> bool:
        assert not self.owned.get(sequence)
        self.owned[sequence] = list(state)
        return True

    @property
    def used(self) -> int:
        return len({id(cell) for cells in self.owned.values() for cell in cells if cell})


def make(cells: int = 100, sequences: int = 4, splits: bool = True, parking: int = 0) -> tuple[SequencePool, Cells]:
    """parking: budget, one byte a token."""
    memory = Cells()
    return SequencePool(memory, cells=cells, sequences=sequences, splits=splits, parking=Parking(parking)), memory


def compute(pool: SequencePool, memory: Cells, key: str, tokens: list[int], **options) -> tuple[object, int]:
    """Acquires a sequence and computes what is missing; returns it and how much was reused."""
    sequence = pool.acquire(key, tokens, **options)
    reused = len(sequence.tokens)
    for token in tokens[reused:]:
        memory.owned.setdefault(sequence.id, []).append(type("Cell", (), {"key": key, "token": token})())
    pool.append(sequence, tokens[reused:])
    assert [cell.token for cell in memory.owned[sequence.id]] == tokens
    assert {cell.key for cell in memory.owned[sequence.id]} == {key}
    assert memory.used == pool.used
    return sequence, reused


def test_a_follow_up_turn_computes_its_new_tokens_only_also_after_others_were_served():
    pool, memory = make()
    first, _ = compute(pool, memory, "a", list(range(30)))
    pool.release(first, keep=True)
    other, _ = compute(pool, memory, "b", list(range(30)))
    pool.release(other, keep=True)
    again, reused = compute(pool, memory, "a", list(range(40)))
    assert reused == 30
    assert again is first


def test_cells_of_another_key_are_never_reused():
    pool, memory = make()
    sequence, _ = compute(pool, memory, "a", list(range(30)))
    pool.release(sequence, keep=True)
    assert compute(pool, memory, "b", list(range(30)))[1] == 0
    assert pool.find("a", list(range(30))).length == 29
    assert pool.find("c", list(range(30))).length == 0


def test_the_last_token_is_computed_again_because_its_logits_are_needed():
    pool, memory = make()
    sequence, _ = compute(pool, memory, "a", list(range(30)))
    pool.release(sequence, keep=True)
    assert compute(pool, memory, "a", list(range(30)))[1] == 29


def test_a_common_system_prompt_is_shared_with_a_running_sequence_and_stored_once():
    pool, memory = make()
    compute(pool, memory, "a", [*range(20), 100, 101])
    _, reused = compute(pool, memory, "a", [*range(20), 200, 201])
    assert reused == 20
    assert pool.used == 24


def test_a_conversation_keeps_its_tail_when_another_shares_its_beginning():
    pool, memory = make()
    first, _ = compute(pool, memory, "a", list(range(40)))
    pool.release(first, keep=True)
    compute(pool, memory, "a", [*range(20), 99])
    assert pool.find("a", list(range(41))).length == 40


def test_the_least_recently_used_idle_sequence_gives_up_its_cells_first():
    pool, memory = make(cells=60)
    for key in "ab":
        sequence, _ = compute(pool, memory, key, list(range(25)))
        pool.release(sequence, keep=True)
    assert pool.make_room(20)
    assert pool.find("a", list(range(25))).length == 0
    assert pool.find("b", list(range(25))).length == 24


def test_cells_of_busy_sequences_are_not_given_up():
    pool, memory = make(cells=60)
    compute(pool, memory, "a", list(range(25)))
    shared, _ = compute(pool, memory, "a", [*range(20), *range(50, 70)])
    pool.release(shared, keep=True)
    assert pool.evictable == 20
    assert not pool.make_room(36)
    assert pool.make_room(35)
    assert pool.used == memory.used == 25


def test_when_no_sequence_is_free_the_oldest_idle_one_is_taken():
    pool, memory = make(sequences=2)
    for key in "abc":
        sequence, _ = compute(pool, memory, key, list(range(10)))
        pool.release(sequence, keep=True)
    assert pool.find("a", list(range(10))).length == 0
    assert pool.find("c", list(range(10))).length == 9


def test_memory_that_cannot_be_cut_is_reused_only_as_a_whole():
    pool, memory = make(splits=False)
    sequence, _ = compute(pool, memory, "a", list(range(20)))
    pool.release(sequence, keep=True)
    assert pool.find("a", [*range(15), 99]).length == 0
    assert compute(pool, memory, "a", list(range(25)))[1] == 20


def test_nothing_is_reused_when_the_caller_wants_every_token_computed():
    pool, memory = make()
    sequence, _ = compute(pool, memory, "a", list(range(20)))
    pool.release(sequence, keep=True)
    assert compute(pool, memory, "a", list(range(20)), limit=0)[1] == 0


@pytest.mark.parametrize("length", [0, 1, 2, 15, 16, 17, 47, 48, 49, 200])
def test_the_common_prefix_is_found_at_any_length(length):
    first = [*range(length), -1, *range(100)]
    second = [*range(length), -2, *range(100)]
    assert common_prefix(first, second, 1000) == length
    assert common_prefix(first, second, length // 2) == length // 2
    assert common_prefix(first, first[:length], 1000) == length


def parked_pool(**options) -> tuple[SequencePool, Cells]:
    """Conversation "a" of 30 tokens has left the cells for the parking; nothing else is there."""
    pool, memory = make(parking=100, **options)
    sequence, _ = compute(pool, memory, "a", list(range(30)))
    pool.release(sequence, keep=True)
    pool.park_idle(20)
    assert pool.used == memory.used == 0
    return pool, memory


def test_idle_prefixes_stay_in_the_cells_until_they_are_too_many():
    pool, memory = make(parking=100)
    for key in "ab":
        sequence, _ = compute(pool, memory, key, list(range(15)))
        pool.release(sequence, keep=True)
    pool.park_idle(30)
    assert pool.used == 30
    pool.park_idle(29)
    assert pool.used == memory.used == 15
    assert pool.find("b", list(range(15))).sequence is not None
    assert pool.find("a", list(range(15))).parked is not None


def test_a_parked_conversation_comes_back_into_the_cells_and_goes_on():
    pool, memory = parked_pool()
    sequence, reused = compute(pool, memory, "a", list(range(40)))
    assert reused == 30
    pool.release(sequence, keep=True)
    assert pool.find("a", list(range(41))).parked is None, "what is in the cells is parked no longer"


def test_a_parked_prefix_is_not_reused_for_another_key():
    pool, memory = parked_pool()
    assert compute(pool, memory, "b", list(range(40)))[1] == 0


def test_the_rest_of_a_parked_conversation_stays_parked_when_only_its_beginning_is_used():
    pool, memory = parked_pool()
    assert compute(pool, memory, "a", [*range(20), 99])[1] == 20
    assert pool.find("a", list(range(31))).length == 30


def test_a_restored_prefix_makes_room_by_parking_others():
    pool, memory = parked_pool(cells=40)
    other, _ = compute(pool, memory, "b", list(range(35)))
    pool.release(other, keep=True)
    assert compute(pool, memory, "a", list(range(32)))[1] == 30
    assert pool.find("b", list(range(36))).parked is not None


def test_where_busy_sequences_leave_no_room_the_prompt_is_computed():
    pool, memory = parked_pool(cells=40)
    compute(pool, memory, "b", list(range(35)))
    assert compute(pool, memory, "a", [0, 1, 2])[1] == 0
    assert pool.find("a", list(range(31))).length == 30, "and stays parked"


def test_cells_that_cannot_be_saved_are_given_up():
    pool, memory = make(parking=100)
    memory.save = lambda sequence: None
    sequence, _ = compute(pool, memory, "a", list(range(30)))
    pool.release(sequence, keep=True)
    pool.park_idle(0)
    assert pool.used == 0
    assert pool.find("a", list(range(31))).length == 0


def test_parking_keeps_to_its_budget_and_drops_the_least_recently_used():
    parking = Parking(25)
    for key in "abc":
        parking.put(Parked(key, list(range(10)), np.zeros(10, np.uint8)))
    assert parking.size_bytes == 20
    assert parking.best("a", list(range(10)), 10) == (None, 0)
    assert parking.best("c", list(range(10)), 10)[1] == 10
    parking.put(Parked("d", list(range(30)), np.zeros(30, np.uint8)))
    assert parking.size_bytes == 20, "one that is larger than the budget pushes nothing out"


def test_a_longer_conversation_replaces_its_own_beginning():
    parking = Parking(100)
    parking.put(Parked("a", list(range(10)), np.zeros(10, np.uint8)))
    parking.put(Parked("a", list(range(15)), np.zeros(15, np.uint8)))
    assert parking.size_bytes == 15


def test_parked_prefixes_of_a_model_that_is_gone_are_forgotten():
    parking = Parking(100)
    for key in "ab":
        parking.put(Parked(key, list(range(10)), np.zeros(10, np.uint8)))
    parking.forget(lambda key: key == "a")
    assert parking.best("a", list(range(10)), 10) == (None, 0)
    assert parking.size_bytes == 10


def test_a_system_prompt_is_in_the_cells_once_also_when_its_conversations_come_back():
    pool, memory = make(cells=1000, sequences=6, parking=1000)
    system = list(range(60))
    for own in (100, 200, 300):
        sequence, _ = compute(pool, memory, "a", [*system, *range(own, own + 20)])
        pool.release(sequence, keep=True)
    while pool.used:
        pool.park_idle(0)
    for own in (100, 200, 300):
        assert compute(pool, memory, "a", [*system, *range(own, own + 25)])[1] == 80
    assert pool.used == memory.used == 60 + 3 * 25


def test_a_prompt_needs_no_room_for_the_rest_of_a_parked_conversation_it_shares_little_with():
    pool, memory = make(cells=100, parking=1000)
    long, _ = compute(pool, memory, "a", list(range(90)))
    pool.release(long, keep=True)
    pool.park_idle(0)
    compute(pool, memory, "b", list(range(50)))
    found = pool.find("a", [*range(20), 500])
    assert found.length == 20
    assert found.cells_for(30) == 30
    assert compute(pool, memory, "a", [*range(20), 500])[1] == 0


def test_cells_that_busy_ones_own_are_not_needed_again_and_idle_ones_may_be_given_up_so_they_are():
    pool, memory = make()
    sequence, _ = compute(pool, memory, "a", list(range(30)))
    assert pool.find("a", list(range(40))).cells_for(45) == 15
    pool.release(sequence, keep=True)
    assert pool.find("a", list(range(40))).cells_for(45) == 45


def test_a_prefix_too_large_to_park_stays_in_the_cells_while_nobody_needs_them():
    pool, memory = make(cells=200, parking=50)
    for tokens in (range(40), range(1000, 1100)):
        sequence, _ = compute(pool, memory, "a", list(tokens))
        pool.release(sequence, keep=True)
    for _ in range(3):
        pool.park_idle(0)
    assert pool.used == 100
    assert pool.find("a", [*range(1000, 1100), 1]).length == 100
    assert pool.make_room(150)
    assert pool.used == 0


def test_cells_of_a_failed_step_are_given_up_though_no_token_was_recorded():
    pool, memory = make()
    sequence = pool.acquire("a", list(range(10)))
    memory.owned[sequence.id] = [object()] * 10  # computed, and then the step failed
    pool.release(sequence, keep=False)
    assert memory.used == 0
