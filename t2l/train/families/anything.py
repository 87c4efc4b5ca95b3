# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""Operations that fit any text. Real inputs get them too, so that an input alone never tells what to do with it."""

import random
import re
import string

from t2l.train.families import code, dates, records, sentences, tables, texts
from t2l.train.families.core import Kind, Operation

_CJK = re.compile(r"[\u3040-\u9fff]")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?](?=\s|$)")
_LONGEST = 150
"""Characters of an input, and of a copied answer."""


def _make(rng: random.Random) -> tuple[str, str]:
    """A sentence and one more input of any kind, on lines of their own."""
    kinds = [kind for module in (sentences, texts, records, tables, dates, code) for kind in module.KINDS]
    while True:
        _, sentence = rng.choice(sentences.KINDS).make(rng)
        _, other = rng.choice(kinds).make(rng)
        text = f"{sentence}\n{other}"
        if len(text) <= _LONGEST:
            return text, text


def _words(text: str) -> list[str]:
    """Between blanks, without the punctuation around them; none where words are not set apart by blanks."""
    bare = (word.strip(string.punctuation) for word in text.split())
    return [] if _CJK.search(text) else [word for word in bare if word]


def _word(place: int):
    def compute(text: str) -> str | None:
        words = _words(text)
        return words[place] if len(words) > abs(place) else None

    return compute


def _few(text: str | None) -> str | None:
    return text if text and len(text) <= _LONGEST else None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _first_sentence(text: str) -> str | None:
    found = _SENTENCE.match(text)
    return _few(found.group().strip()) if found else None


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


OPERATIONS = (
    Operation("first_word", "token", _word(0), what="the first word( of the text| of the message|)", zh="给出第一个单词"),
    Operation("last_word", "token", _word(-1), what="the (last|final) word( of the text| of the message|)", zh="给出最后一个单词"),
    Operation("second_word", "token", _word(1), what="the second word( of the text|)"),
    Operation("first_letter", "token", lambda t: words[0][0] if (words := _words(t)) else None, what="the (first letter|initial letter|first character of the first word)"),
    Operation("first_sentence", "prose", _first_sentence, do="(copy|repeat|return) the first sentence(, word for word| unchanged|)", what="the (first|opening) sentence"),
    Operation("first_line", "prose", lambda t: _few(lines[0]) if len(lines := _lines(t)) > 1 else None, do="(copy|repeat|return) the first line( unchanged|)", what="the (first|top) line"),
    Operation("last_line", "prose", lambda t: _few(lines[-1]) if len(lines := _lines(t)) > 1 else None, do="(copy|repeat|return) the last line( unchanged|)", what="the (last|bottom) line"),
    Operation("copy", "prose", _few, do="(repeat|copy|echo) (the text|the message|the input|everything)( word for word| unchanged| exactly|)", zh="原样重复输入"),
    Operation("has_digit", "text", lambda t: _yes(any(c.isdigit() for c in t)), do="(say|tell me|check) (whether|if) (there is a digit in it|it contains any digits), yes or no"),
    Operation("has_question", "text", lambda t: _yes("?" in t), do="(say|tell me|check) (whether|if) (it asks a question|there is a question mark in it), yes or no"),
    Operation("acknowledge", "text", lambda _: "received", do="(do nothing with it and say received|whatever it says, answer with the word received|ignore the content; the answer is the word received)"),
)  # fmt: skip

KINDS = (Kind("anything", "(a text|a message|an input|some text)", _make, OPERATIONS),)
