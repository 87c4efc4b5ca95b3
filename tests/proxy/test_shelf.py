"""The real cache and store behind the shelf, with a pipeline that makes small adapters of nothing."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adapters.cache import AdapterCache
from adapters.errors import AdapterCorrupt, AdapterNotFound
from adapters.lora import LoraAdapter, LoraDelta
from adapters.store import Store
from proxy.adaptation import NoAdapter, Wanted
from proxy.cli import main
from proxy.errors import BadRequest
from proxy.shelf import LLM, CacheShelf
from t2l.pipeline import Adaptation, NoSkill
from t2l.quality import Quality
from t2l.skills import SkillsError

QUALITY = Quality(0.1, 0.2, 0.3, 0.4, 0.5)


def unit(*numbers):
    return torch.nn.functional.normalize(torch.tensor([numbers]), dim=-1)[0]


class FakeEt2l:
    """Tasks that begin alike are near to each other; each word is a skill."""

    def __init__(self, base_digest):
        self.base_digest = base_digest
        self.digests = {"hypernetwork": "h"}
        self.embedder = SimpleNamespace(embed=lambda texts: torch.stack([self.vector(text) for text in texts]))
        self.decomposer = SimpleNamespace(decompose=self.skills)
        self.embedded = []
        self.llm_failed = False

    def vector(self, text):
        self.embedded.append(text)
        return unit(1.0, 0.0, 0.1) if text.startswith("sort") else unit(0.0, 1.0, 0.0)

    def skills(self, text):
        names = {"maths"} if "sum" in text else {"code"}
        return tuple(SimpleNamespace(skill=SimpleNamespace(name=name), score=0.8) for name in names)

    def adapt(self, task, *, skills=None, weights=None):
        enhancement = SimpleNamespace(text=f"{task}!", q_before=QUALITY, q_after=QUALITY, llm_failed=self.llm_failed)
        if task == "hello":
            return NoSkill(task, enhancement, (), "no skill", {})
        if skills == ("unknown",):
            raise SkillsError("unknown skill unknown")
        seed = int(hashlib.sha256(f"{task}{weights}".encode()).hexdigest()[:8], 16)
        a = np.random.default_rng(seed).standard_normal((2, 8), dtype=np.float32)
        adapter = LoraAdapter(
            self.base_digest, {"model.layers.0.self_attn.q_proj": LoraDelta(a, np.ascontiguousarray(a.T), 1.0)}
        )
        shares = weights or {"code": 0.7, "task": 0.3}
        return Adaptation(task, enhancement, self.skills(task), shares, shares, adapter, {"generate": 1.0})


@pytest.fixture
def et2l(base):
    return FakeEt2l(base.digest)


@pytest.fixture
def shelf(tmp_path, base, et2l):
    cache = AdapterCache(tmp_path / "c.db", tmp_path / "c.usearch", Store(tmp_path / "store"), 3, 10**9)
    shelf = CacheShelf(cache, et2l, base, "base", {"llm": "off"}, 0.9)
    yield shelf
    shelf.close()


def test_an_adapter_is_made_stored_and_found_again(shelf, et2l):
    wanted = Wanted("sort numbers", "me")
    assert shelf.find(wanted, near=True) is None
    made = shelf.make(wanted)
    found = shelf.find(wanted, near=True)
    assert (found.stored, found.similarity) == (made, None)
    assert et2l.embedded.count("sort numbers") == 1
    assert made.gguf_path.is_file()
    assert [one.digest for one in shelf.list("me")] == [made.digest] and shelf.list("you") == []


def test_the_card_says_how_it_came_to_be(shelf, base):
    card = shelf.make(Wanted("sort numbers", "me")).card
    assert (card.hint, card.enhanced, card.source) == ("sort numbers", "sort numbers!", "generated")
    assert (card.skills, card.weights) == ({"code": 0.8}, {"code": 0.7, "task": 0.3})
    assert card.q_before.vocabulary == 0.3 and card.q_before.total == pytest.approx(QUALITY.total)
    assert card.versions == {"base": base.digest, "hypernetwork": "h", "llm": "off"}


def test_a_near_task_is_a_hit_unless_the_content_disagrees(shelf):
    shelf.make(Wanted("sort numbers ascending", "me"))
    near = shelf.find(Wanted("sort the numbers ascending", "me"), near=True)
    assert near.similarity == pytest.approx(1, abs=1e-5)
    assert shelf.find(Wanted("sort the numbers ascending", "me"), near=False) is None
    assert shelf.find(Wanted("sort numbers descending", "me"), near=True) is None
    assert shelf.find(Wanted("sort numbers ascending by sum", "me"), near=True) is None
    assert shelf.find(Wanted("sort the numbers ascending", "you"), near=True) is None


def test_own_skills_or_weights_are_another_adapter(shelf):
    plain = shelf.make(Wanted("sort numbers", "me"))
    weighted = Wanted("sort numbers", "me", None, {"a": 1.0})
    assert shelf.find(weighted, near=True) is None
    assert shelf.make(weighted).digest != plain.digest
    assert shelf.find(weighted, near=True).stored.card.weights == {"a": 1.0}
    assert shelf.find(Wanted("sort numbers", "me", ("code",)), near=True) is None


def test_another_part_is_another_key(shelf, et2l, base):
    shelf.make(Wanted("sort numbers", "me"))
    et2l.digests = {"hypernetwork": "new"}
    newer = CacheShelf(shelf.cache, et2l, base, "base", {"llm": "off"}, 0.9)
    assert newer.find(Wanted("sort numbers", "me"), near=True) is None


def test_no_skill_and_bad_wishes_are_told(shelf):
    assert shelf.make(Wanted("hello", "me")) == NoAdapter("no skill")
    with pytest.raises(BadRequest, match="unknown skill"):
        shelf.make(Wanted("sort numbers", "me", ("unknown",)))


def test_another_tenants_adapter_cannot_be_used_shown_rated_or_deleted(shelf):
    digest = shelf.make(Wanted("sort numbers", "me")).digest
    for attempt in (
        lambda: shelf.use(digest, "you"),
        lambda: shelf.get(digest, "you"),
        lambda: shelf.rate(digest, 1.0, {}, "you"),
        lambda: shelf.delete(digest, "you"),
    ):
        with pytest.raises(AdapterNotFound):
            attempt()
    shelf.rate(digest, 0.5, {"code": True}, "me")
    assert shelf.cache.feedback()[0].rating == 0.5
    shelf.delete(digest, "me")
    assert shelf.list("me") == [] and shelf.stats()["adapters"] == 0


def test_a_damaged_adapter_is_left_out_and_can_be_deleted(shelf, base, caplog):
    kept = shelf.make(Wanted("sort it", "me"))
    broken = shelf.make(Wanted("translate it", "me"))
    broken.gguf_path.unlink()
    assert [one.digest for one in shelf.list("me")] == [kept.digest]
    assert broken.digest in caplog.text
    with pytest.raises(AdapterCorrupt):
        shelf.get(broken.digest, "me")
    with pytest.raises(AdapterNotFound):
        shelf.delete(broken.digest, "you")
    shelf.delete(broken.digest, "me")
    with pytest.raises(AdapterNotFound):
        shelf.get(broken.digest, "me")


def test_what_the_llm_could_not_be_asked_is_asked_again(tmp_path, base, et2l):
    cache = AdapterCache(tmp_path / "c.db", tmp_path / "c.usearch", Store(tmp_path / "store"), 3, 10**9)
    rewriting, plain = (CacheShelf(cache, et2l, base, "base", {LLM: llm}, 0.9) for llm in ("local", "off"))
    wanted = Wanted("sort numbers", "me")
    et2l.llm_failed = True
    made = rewriting.make(wanted)
    assert rewriting.find(wanted, near=False) is None
    assert plain.find(wanted, near=False).stored.digest == made.digest
    et2l.llm_failed = False
    rewriting.make(wanted)
    assert rewriting.find(wanted, near=False)
    cache.close()


def test_the_command_lists_the_others_beside_a_damaged_adapter_and_deletes_it(shelf, tmp_path, monkeypatch, capsys):
    good, bad = (shelf.make(Wanted(task, "me")) for task in ("sort numbers", "sort names"))
    bad.gguf_path.unlink()
    for name, path in (("PATH", "c.db"), ("INDEX_PATH", "c.usearch"), ("STORE_PATH", "store")):
        monkeypatch.setenv(f"ET2L__CACHE__{name}", str(tmp_path / path))
    monkeypatch.setattr("proxy.wiring.embedding_dim", lambda config: 3)
    monkeypatch.chdir(tmp_path)
    assert main(["adapters", "list"]) == 0
    told = capsys.readouterr()
    assert good.digest in told.out and bad.digest not in told.out and f"{bad.digest} is left out" in told.err
    assert main(["adapters", "delete", bad.digest]) == 0
    assert main(["adapters", "list"]) == 0
    assert bad.digest not in "".join(capsys.readouterr()[1:])
