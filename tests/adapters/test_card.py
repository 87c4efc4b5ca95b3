"""adapters/card.py: a card survives JSON, and only what it knows is read."""

import json
from dataclasses import fields

import pytest

from adapters.card import _READERS, Card, CardQuality

QUALITY = CardQuality(0.5, 0.1, 0.2, 0.3, 0.4, 0.5)
CARD = Card(
    source="generated",
    base_name="tiny",
    base_digest="ab" * 32,
    created=12.5,
    hint="编写一个函数",
    enhanced="Write a function.",
    q_before=QUALITY,
    q_after=None,
    skills={"code_generation": 0.9},
    weights={"code_generation": 1.0},
    parents=("0123456789abcdef",),
    timings_ms={"generate": 3.5},
    versions={"embedder": "x"},
)


def test_a_card_comes_back_from_json():
    assert Card.from_json(json.loads(json.dumps(CARD.to_json()))) == CARD


def test_every_field_has_a_reader():
    assert set(_READERS) == {field.name for field in fields(Card)}


def test_unknown_keys_are_ignored_and_missing_optional_ones_have_defaults():
    raw = {"card_version": 1, "source": "loaded", "base_name": "b", "base_digest": "d", "created": 1, "later": 2}
    assert Card.from_json(raw) == Card("loaded", "b", "d", 1.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"card_version": 2}, "card_version is 2, want 1"),
        ({"created": "now"}, "created is 'now', want a number"),
        ({"created": True}, "created is True"),
        ({"hint": None}, "hint is None, want a string"),
        ({"skills": {"a": "b"}}, "skills.a is 'b'"),
        ({"versions": []}, "versions is .., want an object"),
        ({"parents": "abc"}, "parents is 'abc', want a list"),
        ({"q_before": {"total": 1}}, "q_before has"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(change, reason):
    with pytest.raises(ValueError, match=reason):
        Card.from_json(CARD.to_json() | change)


def test_what_is_no_card_is_refused():
    with pytest.raises(ValueError, match="JSON object"):
        Card.from_json([])
    with pytest.raises(ValueError, match="lacks base_name, source"):
        Card.from_json({"card_version": 1, "base_digest": "d", "created": 1})
