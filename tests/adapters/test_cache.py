"""adapters/cache.py with real files, rows and index: what hits, what is evicted, what survives whom."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters.cache import AdapterCache
from adapters.cache_key import CacheKey, cache_key
from adapters.errors import AdapterCorrupt, AdapterNotFound, CacheCorrupt, CacheUnavailable
from adapters.gguf_file import BaseModel
from adapters.index import VectorIndex
from adapters.migrations import MIGRATIONS
from adapters.rows import Feedback, Rows
from adapters.store import Store, StoredAdapter
from tests.adapters.tiny import make_adapter, make_card, write_base

DIM = 8


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return write_base(tmp_path_factory.mktemp("base") / "tiny.gguf")


def open_cache(folder: Path, max_bytes: int = 10**9) -> AdapterCache:
    return AdapterCache(folder / "cache.db", folder / "cache.usearch", Store(folder / "store"), DIM, max_bytes)


@pytest.fixture
def cache(tmp_path: Path) -> AdapterCache:
    return open_cache(tmp_path)


def key(hint: str, tenant: str = "me") -> CacheKey:
    return cache_key(hint, tenant, {"base": "b", "embedder": "e"})


def direction(angle: float) -> np.ndarray:
    """A unit vector; the cosine of two is that of the difference of their angles."""
    vector = np.zeros(DIM, np.float32)
    vector[:2] = np.cos(angle), np.sin(angle)
    return vector


def never() -> np.ndarray:
    raise AssertionError("the embedding was asked for")


def anything(_: str, __: str) -> bool:
    return True


@pytest.fixture
def put(cache: AdapterCache, base: BaseModel) -> Callable[..., StoredAdapter]:
    def put(hint: str, angle: float = 0.0, seed: int = 0, tenant: str = "me") -> StoredAdapter:
        adapter = make_adapter(base, seed)
        return cache.store(key(hint, tenant), direction(angle), adapter, make_card(base, hint), base)

    return put


def test_the_same_hint_hits_exactly_and_needs_no_embedding(cache, put):
    stored = put("Add numbers")
    hit = cache.lookup(key("Add numbers"), never, 0.9, anything)
    assert (hit.source, hit.similarity, hit.stored, hit.hint) == ("exact", 1.0, stored, "Add numbers")
    assert cache.lookup(key("  Add\n numbers "), never, 0.9, anything).source == "exact"


def test_a_near_hint_hits_semantically_with_its_similarity_and_a_far_one_misses(cache, put):
    stored = put("add numbers", 0.0)
    hit = cache.lookup(key("sum numbers"), lambda: direction(0.3), 0.9, anything)
    assert (hit.source, hit.stored.digest, hit.hint) == ("semantic", stored.digest, "add numbers")
    assert hit.similarity == pytest.approx(np.cos(0.3), abs=1e-5)
    assert cache.lookup(key("write a poem"), lambda: direction(0.6), 0.9, anything) is None
    stats = cache.stats()
    assert (stats.hits_exact, stats.hits_semantic, stats.misses) == (0, 1, 1)


def test_the_gate_turns_a_neighbour_down_and_the_next_one_is_asked(cache, put):
    put("translate to German", 0.1, seed=1)
    farther = put("translate to English", 0.2, seed=2)
    asked = []

    def gate(hint: str, other: str) -> bool:
        asked.append((hint, other))
        return "English" in other

    hit = cache.lookup(key("into English, please"), lambda: direction(0.0), 0.9, gate)
    assert hit.stored.digest == farther.digest
    assert asked == [
        ("into English, please", "translate to German"),
        ("into English, please", "translate to English"),
    ]
    assert cache.lookup(key("z"), lambda: direction(0.0), 0.9, lambda *_: False) is None
    stats = cache.stats()
    assert (stats.gate_refusals, stats.hits_semantic, stats.misses) == (3, 1, 1)


def test_the_cache_is_free_for_others_while_the_gate_reads(cache, put):
    put("add numbers", 0.0)

    with ThreadPoolExecutor(1) as others:

        def gate(hint: str, other: str) -> bool:
            return others.submit(cache.stats).result(10).adapters == 1

        assert cache.lookup(key("sum numbers"), lambda: direction(0.1), 0.9, gate).source == "semantic"


def test_nobody_hits_in_another_partition(cache, put):
    put("add numbers", tenant="you")
    assert cache.lookup(key("add numbers"), lambda: direction(0.0), 0.5, anything) is None
    other_base = cache_key("add numbers", "you", {"base": "c", "embedder": "e"})
    assert cache.lookup(other_base, lambda: direction(0.0), 0.5, anything) is None
    assert cache.lookup(key("add numbers", "you"), never, 0.5, anything).source == "exact"


def test_other_tenants_hints_cannot_hide_ones_own(cache, put):
    """Forty nearer neighbours of another tenant: more than the first search asks for."""
    for i in range(40):
        put(f"hint {i}", 0.001 * i, seed=0, tenant="you")
    mine = put("mine", 0.3, seed=1)
    hit = cache.lookup(key("asked"), lambda: direction(0.0), 0.9, anything)
    assert hit.stored.digest == mine.digest


def test_several_hints_may_lead_to_one_adapter_and_go_with_it(cache, put):
    first, second = put("add", 0.0), put("sum up", 1.0)
    assert first.digest == second.digest
    stats = cache.stats()
    assert (stats.hints, stats.adapters) == (2, 1)
    assert [hint.hint for hint in cache.hints(first.digest)] == ["add", "sum up"]
    cache.delete(first.digest)
    assert cache.lookup(key("sum up"), lambda: direction(1.0), 0.5, anything) is None
    stats = cache.stats()
    assert (stats.hints, stats.adapters, stats.size_bytes) == (0, 0, 0)
    assert cache.check().ok


def test_hints_that_share_weights_have_cards_of_their_own_and_no_tenant_sees_anothers(cache, put, tmp_path):
    """Texts that the hypernetwork does not know get one adapter: its card told the first tenant's hint to all."""
    first, second = put("mine", 0.0), put("yours", 1.0, tenant="you")
    assert first.digest == second.digest
    assert (first.card.hint, second.card.hint) == ("mine", "yours")
    for opened in (cache, open_cache(tmp_path)):
        for tenant, hint in (("me", "mine"), ("you", "yours")):
            assert opened.lookup(key(hint, tenant), never, 0.9, anything).stored.card.hint == hint
            assert opened.get(first.digest, tenant).card.hint == hint
            assert opened.use(first.digest, tenant).card.hint == hint
    put("mine again", 2.0)
    assert cache.get(first.digest, "me").card.hint == "mine again", "the newest"
    assert cache.get(first.digest).card.hint == "mine again"
    near = cache.lookup(key("mine, almost"), lambda: direction(0.01), 0.9, anything)
    assert (near.source, near.stored.card.hint) == ("semantic", "mine")


def test_rows_of_an_earlier_version_have_the_folders_card_unless_it_is_anothers(tmp_path, base, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("adapters.migrations.MIGRATIONS", MIGRATIONS[:1])
        Rows(tmp_path / "cache.db").close()
    card = replace(make_card(base, "mine"), enhanced="MINE", weights={"task": 1.0})
    digest = Store(tmp_path / "store").put(make_adapter(base), card, base).digest
    with sqlite3.connect(tmp_path / "cache.db") as old:
        old.execute("INSERT INTO adapters VALUES (?, 'b', 9, 0, 0, 0, 0)", [digest])
        for tenant, hint in (("me", "mine"), ("you", "yours")):
            one = key(hint, tenant)
            values = [one.exact, one.partition, tenant, hint, digest, direction(0).tobytes()]
            old.execute("INSERT INTO hints VALUES (NULL, ?, ?, ?, ?, ?, ?, 0)", values)
    cache = open_cache(tmp_path)
    yours = cache.get(digest, "you").card
    assert cache.get(digest, "me").card == card
    assert (yours.hint, yours.enhanced, yours.weights) == ("yours", "", {})


def test_a_card_that_cannot_be_read_is_lost_but_not_the_adapter(cache, put, caplog):
    stored = put("a hint")
    with sqlite3.connect(cache._rows.path) as other:
        other.execute("UPDATE hints SET card = '{}'")
    assert cache.get(stored.digest, "me") == stored, "the folder has it, too"
    assert "the card of hint 1 is lost" in caplog.text


def test_the_folder_tells_the_newest_hint_and_none_of_who_has_left(cache, put, tmp_path):
    """Exports copy the folder: a deleted hint lived on in it."""
    store = Store(tmp_path / "store")
    digest = put("mine", 0.0).digest
    put("yours", 1.0, tenant="you")
    assert store.get(digest).card.hint == "yours"
    cache.delete(digest, "you")
    assert store.get(digest).card.hint == "mine"
    assert "yours" not in (store.folder / digest / "card.json").read_text()


def test_of_the_hints_that_lead_to_one_adapter_the_oldest_go(cache, put, monkeypatch):
    """Strange hints all lead to a few adapters, whose bytes bound nothing then."""
    monkeypatch.setattr("adapters.cache.HINTS_KEPT", 2)
    digest = put("a", 0.0).digest
    put("another", 2.0, seed=5)
    put("b", 0.5)
    put("c", 1.0)
    assert [hint.hint for hint in cache.hints(digest)] == ["b", "c"]
    assert cache.lookup(key("a"), lambda: direction(0), 0.99, anything) is None
    assert cache.lookup(key("another"), never, 0.99, anything) is not None
    assert cache.check().ok


def test_a_hint_stored_by_two_processes_keeps_the_first_adapter(cache, put, base, tmp_path):
    """The second once took the hint over: the first's adapter, of no hint then, was shown to every tenant."""
    first, other = put("add", seed=0), open_cache(tmp_path)
    assert other.store(key("add"), direction(0.0), make_adapter(base, 1), make_card(base), base) == first
    assert cache.lookup(key("add"), never, 0.9, anything).stored == first
    assert (cache.stats().hints, Store(tmp_path / "store").digests()) == (1, [first.digest])
    assert cache.adapters("you") == []
    assert cache.check().ok


def test_a_hint_whose_adapter_is_damaged_is_pointed_at_the_new_one(cache, put):
    put("add", seed=0).gguf_path.unlink()
    new = put("add", seed=1)
    assert cache.lookup(key("add"), never, 0.9, anything).stored == new
    assert cache.stats().hints == 1


def test_the_least_recently_used_adapters_go_when_the_budget_is_exceeded(tmp_path, base):
    size = Store(tmp_path / "probe").put(make_adapter(base), make_card(base), base).size_bytes
    cache = open_cache(tmp_path, max_bytes=3 * size + size // 2)
    digests = []
    for i, hint in enumerate("abc"):
        adapter = make_adapter(base, i)
        digests.append(cache.store(key(hint), direction(i), adapter, make_card(base), base).digest)
    assert cache.lookup(key("a"), never, 0.9, anything) is not None
    cache.use(digests[1])
    fourth = cache.store(key("d"), direction(4), make_adapter(base, 9), make_card(base), base).digest
    assert [row.digest for row in cache.adapters()] == [fourth, digests[1], digests[0]]
    assert cache.lookup(key("c"), lambda: direction(2), 0.99, anything) is None
    stats = cache.stats()
    assert stats.evictions == 1
    assert stats.size_bytes <= stats.max_bytes
    assert cache.check().ok


def test_an_adapter_larger_than_the_budget_is_kept_until_the_next_one(tmp_path, base):
    cache = open_cache(tmp_path, max_bytes=1)
    first = cache.store(key("a"), direction(0), make_adapter(base, 0), make_card(base), base)
    assert cache.lookup(key("a"), never, 0.9, anything).stored == first
    second = cache.store(key("b"), direction(1), make_adapter(base, 1), make_card(base), base)
    assert [row.digest for row in cache.adapters()] == [second.digest]


def test_hits_are_counted_per_adapter(cache, put):
    stored = put("add", 0.0)
    for _ in range(2):
        cache.lookup(key("add"), never, 0.9, anything)
    cache.lookup(key("sum"), lambda: direction(0.1), 0.9, anything)
    cache.use(stored.digest)
    (row,) = cache.adapters()
    assert (row.hits_exact, row.hits_semantic) == (2, 1)
    assert row.last_used > row.created


def test_a_tenant_sees_its_own_adapters(cache, put):
    mine, yours = put("a", seed=1), put("b", seed=2, tenant="you")
    assert {row.digest for row in cache.adapters("me")} == {mine.digest}
    assert {row.digest for row in cache.adapters()} == {mine.digest, yours.digest}
    assert cache.get(mine.digest, "me") == mine
    for ask in (cache.get, cache.use):
        with pytest.raises(AdapterNotFound, match=yours.digest):
            ask(yours.digest, "me")


def test_a_tenant_deletes_its_own_hints_and_the_last_one_the_adapter(cache, put):
    shared = put("add", 0.0)
    assert put("add", 0.0, tenant="you").digest == shared.digest
    cache.delete(shared.digest, "me")
    assert cache.lookup(key("add"), lambda: direction(0.0), 0.9, anything) is None
    with pytest.raises(AdapterNotFound):
        cache.get(shared.digest, "me")
    assert cache.lookup(key("add", "you"), never, 0.9, anything).stored.digest == shared.digest
    cache.delete(shared.digest, "you")
    assert cache.stats().adapters == 0
    assert not shared.folder.exists()
    assert cache.check().ok


def test_a_folder_that_was_removed_by_hand_is_an_error_not_a_miss(cache, put):
    stored = put("add", 0.0)
    shutil.rmtree(stored.folder)
    with pytest.raises(AdapterCorrupt, match="cache rebuild"):
        cache.lookup(key("add"), never, 0.9, anything)
    with pytest.raises(AdapterCorrupt):
        cache.lookup(key("sum"), lambda: direction(0.1), 0.9, anything)
    assert cache.check().damaged == (stored.digest,)
    assert cache.rebuild().damaged == (stored.digest,)
    assert cache.check().ok
    assert cache.lookup(key("add"), lambda: direction(0.0), 0.9, anything) is None


def test_check_names_what_does_not_fit_and_rebuild_puts_it_right(cache, put, base, tmp_path):
    damaged, kept = put("a", 0.0, seed=0), put("b", 1.0, seed=1)
    assert cache.check().ok
    (damaged.folder / "adapter.gguf").write_bytes(b"")
    orphan = Store(tmp_path / "store").put(make_adapter(base, 7), make_card(base), base)
    (tmp_path / "store" / ".new-0123456789abcdef").mkdir()
    index = VectorIndex(DIM)
    index.add(999, direction(0))
    with sqlite3.connect(tmp_path / "cache.db") as other:
        (identity,) = other.execute("SELECT id FROM identity").fetchone()
    index.save(tmp_path / "cache.usearch", identity)
    found = cache.check()
    assert found.damaged == (damaged.digest,)
    assert found.orphans == (orphan.digest,)
    assert found.leftovers == (".new-0123456789abcdef",)
    assert found.unindexed == (1, 2)
    assert found.stale == (999,)
    assert cache.rebuild() == found
    assert cache.check().ok
    assert [row.digest for row in cache.adapters()] == [kept.digest]
    assert not orphan.folder.exists()


def test_clear_removes_everything_but_what_was_learnt(cache, put, base, tmp_path):
    stored = put("a")
    Store(tmp_path / "store").put(make_adapter(base, 7), make_card(base), base)
    cache.add_feedback(Feedback(stored.digest, 1.0, {"code_generation": True}, "me", 5.0))
    assert cache.clear() == 1
    assert cache.check().ok
    assert Store(tmp_path / "store").digests() == []
    assert cache.feedback() == [Feedback(stored.digest, 1.0, {"code_generation": True}, "me", 5.0)]


def test_feedback_needs_an_adapter_and_a_rating_in_range(cache):
    with pytest.raises(AdapterNotFound):
        cache.add_feedback(Feedback("0" * 16, 1.0, {}, "me", 5.0))
    with pytest.raises(ValueError, match=r"rating is 1\.5, want -1 to 1"):
        Feedback("0" * 16, 1.5, {}, "me", 5.0)


def test_everything_is_there_after_a_restart_also_without_the_index_file(cache, put, tmp_path):
    stored = put("add", 0.0)
    cache.close()
    for damage in (lambda path: None, Path.unlink, lambda path: path.write_bytes(b"broken")):
        damage(tmp_path / "cache.usearch")
        again = open_cache(tmp_path)
        assert again.lookup(key("sum"), lambda: direction(0.1), 0.9, anything).stored == stored
        assert again.lookup(key("add"), never, 0.9, anything).stored == stored
        again.close()


def test_an_index_left_from_another_database_is_not_believed(cache, put, tmp_path, base):
    """Row ids begin at 1 in every database: without its identity the old index would answer for new rows."""
    put("add", 0.0)
    cache.close()
    for path in tmp_path.glob("cache.db*"):
        path.unlink()
    again = open_cache(tmp_path)
    again.store(key("poem"), direction(2.0), make_adapter(base, 1), make_card(base), base)
    assert again.lookup(key("sum"), lambda: direction(0.0), 0.9, anything) is None
    assert again.lookup(key("ode"), lambda: direction(2.1), 0.9, anything).hint == "poem"


def test_an_index_that_cannot_be_saved_holds_nothing_up(tmp_path, base, caplog):
    """It once did: no adapter was evicted any more, and a deleted one's files stayed, counted by nobody."""
    folder, files = tmp_path / "made" / "index", Store(tmp_path / "store")
    cache = AdapterCache(tmp_path / "cache.db", folder / "cache.usearch", files, DIM, max_bytes=1)
    folder.rmdir()
    for seed in range(2):
        last = cache.store(key(f"hint {seed}"), direction(seed), make_adapter(base, seed), make_card(base), base)
    assert files.digests() == [last.digest]
    assert cache.lookup(key("near"), lambda: direction(1.1), 0.9, anything).stored == last
    assert cache.rebuild().unindexed == (2,)
    cache.delete(last.digest)
    assert files.digests() == []
    assert "index is not saved" in caplog.text


def test_rows_of_an_embedder_with_other_dimensions_are_left_alone(cache, put, tmp_path):
    put("add", 0.0)
    cache.close()
    other = AdapterCache(tmp_path / "cache.db", tmp_path / "other", Store(tmp_path / "store"), DIM + 1, 10**9)
    assert other.lookup(key("sum"), lambda: np.ones(DIM + 1, np.float32), 0.0, anything) is None
    assert other.check().ok
    assert other.lookup(key("add"), never, 0.9, anything).source == "exact"


def test_two_caches_on_one_database_see_each_others_changes(cache, put, tmp_path):
    other = open_cache(tmp_path)
    stored = put("add", 0.0)
    assert other.lookup(key("add"), never, 0.9, anything).stored == stored
    assert other.lookup(key("sum"), lambda: direction(0.1), 0.9, anything).source == "semantic"
    other.delete(stored.digest)
    assert cache.lookup(key("add"), lambda: direction(0.0), 0.9, anything) is None
    assert cache.check().ok


def test_a_lookup_while_another_process_deletes_is_a_miss_not_an_error(cache, put, tmp_path, monkeypatch):
    """The row is read, then row and folder go, then the folder is looked for."""
    put("add", 0.0)
    other = open_cache(tmp_path)
    read = cache._rows.hint_by_key

    def read_then_lose(name: str):
        row = read(name)
        if row:
            other.delete(row.digest)
        return row

    monkeypatch.setattr(cache._rows, "hint_by_key", read_then_lose)
    assert cache.lookup(key("add"), lambda: direction(0.0), 0.9, anything) is None


def test_threads_store_look_up_and_delete_at_once(cache, put):
    failures = []

    def work(worker: int) -> None:
        try:
            for i in range(6):
                stored = put(f"hint {worker} {i % 2}", worker + 0.1 * i, seed=worker)
                cache.lookup(key(f"hint {worker} {i % 2}"), lambda: direction(worker), 0.9, anything)
                if i == 3:
                    cache.delete(stored.digest)
                cache.stats()
        except Exception as exc:
            failures.append(exc)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert failures == []
    assert cache.check().ok
    assert threading.active_count() < 50


def test_a_file_that_is_no_database_says_so_and_what_to_do(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"not a database, but long enough to look at" * 10)
    with pytest.raises(CacheCorrupt, match=r"cache\.db: .*cache rebuild"):
        open_cache(tmp_path)


def test_a_database_of_a_newer_program_is_refused(cache, tmp_path):
    cache.close()
    with sqlite3.connect(tmp_path / "cache.db") as other:
        other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(CacheCorrupt, match=f"schema version {len(MIGRATIONS) + 1}"):
        open_cache(tmp_path)


def test_a_migration_that_fails_leaves_no_half_schema(tmp_path, monkeypatch):
    def broken(db) -> None:
        db.execute("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("stopped")

    monkeypatch.setattr("adapters.migrations.MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(CacheUnavailable, match="stopped"):
        open_cache(tmp_path)
    with sqlite3.connect(tmp_path / "cache.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert not db.execute("SELECT * FROM sqlite_master WHERE name = 'half'").fetchall()


def test_a_database_that_stays_locked_is_unavailable_not_corrupt(cache, put, tmp_path, monkeypatch):
    other = sqlite3.connect(tmp_path / "cache.db")
    other.execute("BEGIN IMMEDIATE")
    cache._rows._db.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(CacheUnavailable, match="locked"):
        put("add")
    other.rollback()
    put("add")
    assert cache.check().ok


def test_hits_answer_uncounted_while_the_database_cannot_be_written(cache, put, tmp_path, caplog):
    """A cache that cannot count once turned each hit into a fallback and each pinned request into a 503."""
    stored = put("add", 0.0)
    for pragma in ("query_only = ON", "query_only = OFF"):
        cache._rows._db.execute(f"PRAGMA {pragma}")
        assert cache.lookup(key("add"), never, 0.9, anything).stored == stored
        assert cache.lookup(key("sum"), lambda: direction(0.1), 0.9, anything).stored == stored
        assert cache.lookup(key("ode"), lambda: direction(2.0), 0.9, anything) is None
        assert cache.use(stored.digest, "me") == stored
    stats = cache.stats()
    assert (stats.hits_exact, stats.hits_semantic, stats.misses) == (1, 1, 1)
    assert caplog.text.count("not counted") == 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("add", "me", {"base": "1"}), ("Add", "me", {"base": "1"})),
        (("add", "me", {"base": "1"}), ("add", "you", {"base": "1"})),
        (("add", "me", {"base": "1"}), ("add", "me", {"base": "2"})),
        (("add", "me", {"base": "1"}), ("add", "me", {"base": "1", "weights": "x"})),
        (("x\u00b2", "me", {}), ("x2", "me", {})),
        (("a", "me", {"b": "c"}), ("a", "me", {"bc": ""})),
    ],
)
def test_what_could_matter_makes_another_key(one, other):
    assert cache_key(*one).exact != cache_key(*other).exact


def test_white_space_and_unicode_composition_make_no_other_key():
    assert cache_key("caf\u00e9  au\nlait", "me", {}).exact == cache_key("cafe\u0301 au lait ", "me", {}).exact
    assert cache_key("a", "me", {"x": "1", "y": "2"}) == cache_key("a", "me", {"y": "2", "x": "1"})
