"""adapters/store.py: an adapter is there as a whole, or not at all."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from adapters import store as store_module
from adapters.errors import AdapterCorrupt, AdapterMismatch, AdapterNotFound
from adapters.gguf_file import BaseModel, read_gguf
from adapters.lora import LoraAdapter, LoraDelta
from adapters.peft_file import read_peft
from adapters.store import Store
from tests.adapters.tiny import make_adapter, make_card, write_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return write_base(tmp_path_factory.mktemp("base") / "tiny.gguf")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_was_put_can_be_read_in_both_formats(store: Store, base: BaseModel):
    adapter, card = make_adapter(base), make_card(base)
    stored = store.put(adapter, card, base)
    assert stored == store.get(adapter.digest)
    assert stored.card == card
    assert stored.folder == store.folder / adapter.digest
    assert sorted(path.name for path in stored.folder.iterdir()) == [
        "adapter.gguf",
        "adapter_config.json",
        "adapter_model.safetensors",
        "card.json",
    ]
    assert read_peft(stored.folder, base.digest).digest == adapter.digest
    for path, delta in read_gguf(stored.gguf_path, base).deltas.items():
        assert np.array_equal(delta.weight(), adapter.deltas[path].weight())
    assert stored.size_bytes > 4 * sum(d.a.size + d.b.size for d in adapter.deltas.values())
    assert store.digests() == [adapter.digest]


def test_the_same_adapter_is_not_written_twice(store: Store, base: BaseModel):
    first = store.put(make_adapter(base), make_card(base, "first"), base)
    inode = first.gguf_path.stat().st_ino
    second = store.put(make_adapter(base), make_card(base, "second"), base)
    assert second.card.hint == store.get(first.digest).card.hint == "second", "the card of who came last"
    assert second.gguf_path.stat().st_ino == inode


@pytest.mark.parametrize("name", ["adapter.gguf", "adapter_config.json", "adapter_model.safetensors", "card.json"])
def test_a_damaged_folder_is_noticed_and_written_anew(store: Store, base: BaseModel, name: str):
    stored = store.put(make_adapter(base), make_card(base), base)
    whole = (stored.folder / name).read_bytes()
    for damaged in (whole[:-1], None):
        if damaged is None:
            (stored.folder / name).unlink()
        else:
            (stored.folder / name).write_bytes(damaged)
        with pytest.raises(AdapterCorrupt, match=stored.digest):
            store.get(stored.digest)
        assert store.put(make_adapter(base), make_card(base), base) == stored
        assert (stored.folder / name).read_bytes() == whole
    assert store.leftovers() == []


def test_a_card_of_another_version_is_no_whole_adapter(store: Store, base: BaseModel):
    stored = store.put(make_adapter(base), make_card(base), base)
    raw = json.loads((stored.folder / "card.json").read_text())
    (stored.folder / "card.json").write_text(json.dumps(raw | {"card_version": 99}))
    with pytest.raises(AdapterCorrupt, match="card_version is 99"):
        store.get(stored.digest)


@pytest.mark.parametrize("name", ["0123456789abcdef", "..", "", "../../etc", "0123456789ABCDEF", ".lock"])
def test_what_is_not_there_is_not_found_whatever_its_name(store: Store, name: str):
    with pytest.raises(AdapterNotFound):
        store.get(name)
    with pytest.raises(AdapterNotFound):
        store.delete(name)
    assert store.folder.exists()


def test_deleting_leaves_nothing(store: Store, base: BaseModel):
    stored = store.put(make_adapter(base), make_card(base), base)
    store.delete(stored.digest)
    assert not stored.folder.exists()
    assert store.digests() == store.leftovers() == []


def test_a_write_that_fails_leaves_nothing_and_says_why(store: Store, base: BaseModel, monkeypatch: pytest.MonkeyPatch):
    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "write_gguf", disk_full)
    with pytest.raises(OSError, match="No space left"):
        store.put(make_adapter(base), make_card(base), base)
    assert store.digests() == store.leftovers() == []


def test_leftovers_of_a_killed_write_are_found_cleaned_and_no_hindrance(store: Store, base: BaseModel):
    adapter = make_adapter(base)
    for name in (f".new-{adapter.digest}", f".old-{adapter.digest}"):
        (store.folder / name).mkdir()
        (store.folder / name / "adapter.gguf").write_bytes(b"half")
    assert [path.name for path in store.leftovers()] == [f".new-{adapter.digest}", f".old-{adapter.digest}"]
    store.put(adapter, make_card(base), base)
    store.delete(adapter.digest)
    assert store.leftovers() == []
    (store.folder / ".new-0123456789abcdef").mkdir()
    assert [path.name for path in store.clean()] == [".new-0123456789abcdef"]
    assert store.leftovers() == []


def test_an_adapter_that_is_not_finite_or_for_another_base_is_refused(store: Store, base: BaseModel):
    adapter = make_adapter(base)
    path, delta = next(iter(adapter.deltas.items()))
    bad = delta.b.copy()
    bad[0, 0] = float("nan")
    with pytest.raises(AdapterCorrupt, match=f"{path} has values that are not finite"):
        store.put(LoraAdapter(base.digest, {path: LoraDelta(delta.a, bad, 1.0)}), make_card(base), base)
    with pytest.raises(AdapterMismatch, match="is for base other"):
        store.put(LoraAdapter("other", {path: delta}), make_card(base), base)
    assert store.digests() == store.leftovers() == []


def test_threads_may_put_the_same_and_different_adapters_at_once(store: Store, base: BaseModel):
    adapters = [make_adapter(base, seed=i % 3) for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        stored = list(pool.map(lambda adapter: store.put(adapter, make_card(base), base), adapters))
    assert store.digests() == sorted({s.digest for s in stored})
    assert len(store.digests()) == 3
    assert store.leftovers() == []


def test_the_lock_keeps_other_threads_and_other_stores_out(store: Store):
    """A second Store on the same folder stands for another process: flock is per open file."""
    order = []
    other = Store(store.folder)

    def wait() -> None:
        with other.lock():
            order.append("other")

    with store.lock(), store.lock():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
