"""t2l/train/hints.py: system prompts as people write them."""

import re

from t2l.language import language_of
from t2l.train.hints import hints


def test_hints_differ_and_are_the_same_for_a_seed():
    found = hints(800, 1)
    assert len(set(found)) == 800 and found == hints(800, 1) != hints(800, 2)


def test_none_is_learnt_from_and_measured_with():
    assert not set(hints(3000, 1)) & set(hints(500, 2, held_out=True))


def test_hints_read_as_written_by_a_person():
    for text in hints(1500, 3):
        assert text == text.strip() and text[:1] == text[:1].upper()
        assert not re.search(r"[{}|]|\\n|。。|，，|\b[Aa] [aeiou]|\b[Aa]n [^aeiouAEIOU]|  ", text), text
        assert not re.search(r"[a-z] (Answer|Reply|Respond|Write|Output|Give) ", text), text


def test_some_are_chinese():
    chinese = [text for text in hints(1000, 4) if language_of(text) == "zh"]
    assert 150 < len(chinese) < 400
