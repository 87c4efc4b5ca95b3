import pytest

from adapters.lora import DIGEST_HEX
from proxy.config import ModelConfig
from proxy.errors import ModelNotFound
from proxy.models import AutoChoice, BaseChoice, KnownAdapter, ModelNames, PinnedChoice

ONE, TWO = "aaaaaa1111111111", "aaaaaa2222222222"


@pytest.fixture
def names():
    mine = [
        KnownAdapter(ONE, 7.9, "/store/one"),
        KnownAdapter(TWO, 8, "/store/two"),
        KnownAdapter(TWO, 8, "/p", "mine"),
    ]
    return ModelNames(
        ModelConfig(name="base", aliases=("et2l", "gpt-4o")),
        "b" * 64,
        4096,
        "mini",
        lambda tenant: mine if tenant == "me" else [],
        created=3,
    )


@pytest.mark.parametrize("name", ["base", "base@auto", "et2l", "gpt-4o", "gpt-4o@auto"])
def test_the_base_and_its_aliases_adapt(names, name):
    assert names.choose(name, "me") == AutoChoice()


@pytest.mark.parametrize("name", ["base@off", "et2l@off"])
def test_off_is_the_bare_model(names, name):
    assert names.choose(name, "me") == BaseChoice()


def test_a_digest_or_a_unique_beginning_of_it_pins_an_adapter(names):
    assert names.choose(f"base@{ONE}", "me") == PinnedChoice(ONE)
    assert names.choose("et2l@aaaaaa2", "me") == PinnedChoice(TWO)
    assert names.choose("mine", "me") == PinnedChoice(TWO)
    with pytest.raises(ModelNotFound, match=f"not unique: {ONE}, {TWO}"):
        names.choose("base@aaaaaa", "me")


@pytest.mark.parametrize("name", ["", "other", "base@", "base@aaaaa", "base@bbbbbb", f"other@{ONE}", "base@on", "BASE"])
def test_an_unknown_name_is_refused_and_told_what_exists(names, name):
    with pytest.raises(ModelNotFound, match="There are: base, base@off, base@auto, et2l"):
        names.choose(name, "me")


def test_another_tenants_adapters_do_not_exist(names):
    with pytest.raises(ModelNotFound):
        names.choose(f"base@{ONE}", "you")
    assert not any(ONE in card["id"] for card in names.cards("you"))


def test_every_name_on_a_card_can_be_chosen(names):
    cards = names.cards("me")
    for card in cards[:-1]:
        names.choose(card["id"], "me")
    assert len({card["id"] for card in cards}) == len(cards)
    assert cards[0] | {"created": 3, "root": "base", "parent": None, "max_model_len": 4096} == cards[0]
    adapter = names.find_card(f"base@{ONE}", "me")
    assert (adapter["parent"], adapter["root"], adapter["created"]) == ("base", "/store/one", 7)
    assert names.find_card("et2l@aaaaaa1", "me")["root"] == "/store/one"
    assert names.find_card("mini", "me")["max_model_len"] == 256


def test_digests_are_as_long_as_adapters_make_them():
    assert len(ONE) == DIGEST_HEX


def test_a_loaded_adapter_is_found_by_its_digest_too():
    loaded = [KnownAdapter(ONE, 7.9, "/p", "mine")]
    names = ModelNames(ModelConfig(name="base"), "b" * 64, 4096, "mini", lambda tenant: loaded, created=3)
    for name in (f"base@{ONE}", f"base@{ONE[:6]}", "mine"):
        card = names.find_card(name, "me")
        assert (card["id"], card["root"], card["created"]) == (name, "/p", 7)
