"""t2l/train/lettered.py: the right option under its letter, in any place; what does not fit is left out."""

import random
from collections import Counter

import pytest

from t2l.evaluate.data import Item
from t2l.train.data import RealTask
from t2l.train.lettered import ask_for_letter, lettered, own_choices, short_answers

CAPITALS = tuple(
    Item("capital", str(i), "train", f"Name the capital.\n\n{country}", (city,), meta={"input_start": 19})
    for i, (country, city) in enumerate(
        (("Italy", "Rome"), ("France", "Paris"), ("Spain", "Madrid"), ("Peru", "Lima"), ("Cuba", "Havana"))
    )
)
OWN = Item("sky", "1", "train", "The sky is\n\nA. red\nB. blue\nC. green\n\nAnswer.", ("B",), ("red", "blue", "green"))


def chosen(prompt: str, letter: str) -> str:
    """The text of the option with that letter."""
    (line,) = [x for x in prompt.splitlines() if x.lstrip("(")[:2] in (f"{letter}.", f"{letter})")]
    return line.split(" ", 1)[1]


def test_the_letter_is_that_of_the_answer():
    rng = random.Random(0)
    others = short_answers(CAPITALS)
    for item in CAPITALS * 20:
        found = lettered(item, item.bare_prompt, others, rng)
        assert found.prompt.startswith(item.bare_prompt)
        assert chosen(found.prompt, found.answer) == item.answer


def test_own_choices_come_in_a_new_order_and_only_once():
    rng = random.Random(0)
    letters = Counter()
    for _ in range(300):
        found = lettered(OWN, OWN.prompt, (), rng)
        assert chosen(found.prompt, found.answer) == "blue"
        assert found.prompt.startswith("The sky is\n\n") and found.prompt.count("green") == 1
        letters[found.answer] += 1
    assert set(letters) == set("ABC") and min(letters.values()) > 60


def test_no_other_reference_is_a_wrong_option():
    item = Item("t", "1", "train", "Small?", ("tiny", "Little"))
    rng = random.Random(0)
    for _ in range(50):
        assert "little" not in lettered(item, item.prompt, ("tiny", "little", "huge", "big"), rng).prompt


@pytest.mark.parametrize(
    ("item", "others"),
    [
        (Item("t", "1", "train", "p", ("yes",)), ("yes",)),
        (Item("t", "1", "train", "p", ("long " * 30,)), ("a b", "c d")),
        (Item("t", "1", "train", "p", ("two\nlines",)), ("a b", "c d")),
        (Item("t", "1", "train", "p " * 300, ("yes",)), ("yes", "no")),
        (Item("t", "1", "train", "A: he\nB: she", ("A",), ("A", "B")), ("x", "y")),
    ],
)
def test_what_does_not_fit_is_left_out(item, others):
    assert lettered(item, item.prompt, others, random.Random(0)) is None


def test_choices_that_are_only_letters_are_no_options():
    assert own_choices(OWN) == 1
    assert own_choices(Item("t", "1", "train", "p", ("A",), ("A", "B"))) is None
    assert own_choices(Item("t", "1", "train", "p", ("yes",), ("yes", "no"))) is None


def test_a_description_can_ask_for_the_letter():
    asked = ask_for_letter("Name the capital.", random.Random(0))
    assert asked.startswith("Name the capital. ") and "letter" in asked


def test_somebody_says_that_a_letter_is_wanted():
    rng = random.Random(0)
    task = RealTask("capital", ("Name the capital.",), "", CAPITALS)
    drawn = [task.lettered(rng) for _ in range(400)]
    assert all("letter" in one.description or one.prompt.splitlines()[-1].endswith((".", ":", ")")) for one in drawn)
    assert 140 < sum(bool(one.system) for one in drawn) < 260
    assert all(one.system in ("", one.description) for one in drawn)


def test_of_many_choices_as_many_are_taken_as_there_are_letters():
    many = Item("t", "1", "train", "Which?\n\nA. a", ("B",), tuple(f"town {i}" for i in range(9)))
    found = lettered(many, many.prompt, (), random.Random(0))
    assert chosen(found.prompt, found.answer) == "town 1" and found.prompt.count("town") == 5
