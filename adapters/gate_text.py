"""Reads a hint for the content gate: drops politeness, brings words to a common form, finds numbers and negations.

All word lists stand in gate_words.toml.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_DATA = tomllib.loads(Path(__file__).with_name("gate_words.toml").read_text(encoding="utf-8"))


def _alternatives(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


FILLER = frozenset(_DATA["filler"]["words"].split())
IMPLIED = {word: frozenset(implied.split()) for word, implied in _DATA["implied"].items()}
IMPLIED |= dict.fromkeys(_DATA["named"]["programming"].split(), IMPLIED["programming"])
LIGHT = frozenset(_DATA["filler"]["light"].split()) | FILLER
_HOUSE = frozenset(_DATA["filler"]["house"].split()) | FILLER
_POLITE = frozenset(_DATA["filler"]["polite"].split())
_NEGATIONS = frozenset(_DATA["english"]["negations"].split())
_SCOPES = frozenset(_DATA["english"]["scopes"].split())
_NEGATION_ENDS = frozenset({",", ".", "but", "and", "when", "while", "if", "because", "then", "before", "after"})
_TARGETS = frozenset({"to", "into", "as"})
_ROWS = [row.split() for row in _DATA["synonyms"]["rows"]]
_SYNONYMS = {word: row[0] for row in reversed(_ROWS) for word in row}
OPPOSITES = [tuple(frozenset(side.split()) for side in row.split(" : ")) for row in _DATA["opposites"]["rows"]]
KNOWN = (
    frozenset(_SYNONYMS)
    | _HOUSE
    | LIGHT
    | _NEGATIONS
    | _SCOPES
    | frozenset(word for words in _DATA["named"].values() for word in words.split())
    | frozenset(word for pair in OPPOSITES for side in pair for word in side)
)
_PHRASES = _DATA["phrases"]
_NUMBERS = {word: str(value) for value, word in enumerate(_DATA["english"]["counted"].split())}
_NUMBERS |= {word: str(value) for value, word in enumerate(_DATA["english"]["ordinals"].split(), start=3)}
_NUMBERS |= _DATA["number_words"]
del _NUMBERS["one"]  # mostly an article: "write one that ..."

_HAN = "\u3400-\u9fff"
_PHRASE = re.compile(rf"(?<!\w)(?:{_alternatives(_PHRASES)})(?!\w)")
_SENTENCE_END = re.compile(rf"(?<![.!?;:])[.!?;:]++(?=\s|$)|(?<![!?;:])[!?;:]++(?=[{_HAN}])|[。\n]+")
_CLAUSE_END = re.compile("(?<=,)")
_TOKEN = re.compile(rf"\d+(?:[.,]\d+)*|[^\W\d_{_HAN}]+(?:'[^\W\d_{_HAN}]+)?[+#]*|[,%&]")
_IDENTIFIER = re.compile(r"(?<!\w)(?:\w+_\w*|_\w+|[A-Za-z]\w+(?:\.[A-Za-z]\w+)+|[a-z]+[A-Z]\w*|\w+\(\))", re.A)
_SYMBOL = re.compile(r"[<>=≤≥≠≈€£¥$%√∞]|(?<![-+*/])[-+*/](?=\s?[\d(])")
_CAPITALISED = re.compile(r"(?<=[\w,] )[A-Z]\w*")
_JOINED_PREFIX = re.compile(r"\b(e|re|un|non|pre|co|de|sub|anti|multi)-(?=\w)", re.I)
_CONTRACTIONS = (
    (re.compile(r"\bcan(?:'t|not)\b", re.I), "can not"),
    (re.compile(r"\bwon't\b", re.I), "will not"),
    (re.compile(r"\bdont\b", re.I), "do not"),
    (re.compile(r"n't\b", re.I), " not"),
    (re.compile(r"(?<=\w)'(s|re|ve|ll|d|m)\b", re.I), ""),
    (re.compile(r"(?<=\w)-(?=\w)"), " "),
)
_QUOTES = str.maketrans("’‘“”–—", "''\"\"--")

WORDS_KEPT = 8192
"""Words whose forms are remembered: texts come from clients, and memory must not grow with them."""

END = "."
"""The form of a sentence's end among the tokens."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word as written, in lower case, and in the form that it shares with its synonyms and inflections."""

    written: str
    folded: str
    lemma: str
    common: str
    name: bool
    """Capitalised inside a sentence, or part of an identifier."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What the rules compare. han: the Chinese letters, synonyms as one private letter each, filler left out."""

    tokens: tuple[Token, ...]
    content: tuple[Token, ...]
    numbers: frozenset[str]
    symbols: tuple[str, ...]
    negated: frozenset[str]
    negates: bool
    scopes: frozenset[str]
    targets: frozenset[str]
    words: frozenset[str]
    han: str
    han_plain: str


@lru_cache(64)
def read(text: str) -> Hint:
    """Never raises; an empty text is an empty hint."""
    text = _in_common_letters(text)
    tokens, kept = [], []
    for sentence in _tasks(text):
        identifiers = {part.casefold() for name in _IDENTIFIER.findall(sentence) for part in re.split(r"[_.()]", name)}
        tokens += [*_tokens(sentence, identifiers), Token(END, END, END, END, False)]
        kept.append(sentence)
    han_plain = re.sub(f"[^{_HAN}、,]", "", ",".join(kept)).strip("、,")
    tokens = tokens[:-1]
    negates = any(map(_is_negation, tokens))
    scopes = frozenset(token.common for token in tokens) & _SCOPES
    return Hint(
        tuple(tokens),
        tuple(filter(_is_content, tokens)),
        frozenset(filter(None, map(_number, tokens))) | _han_numbers(han_plain),
        tuple(sorted("".join(_SYMBOL.findall(text)))),
        _negated(tokens),
        negates,
        scopes - {"any"} if negates else scopes,
        _targets(tokens),
        frozenset(form for token in tokens for form in (token.folded, token.lemma, token.common)),
        _han_common(han_plain),
        han_plain,
    )


def _in_common_letters(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    for chinese, latin in _DATA["chinese"]["latin"].items():
        text = text.replace(chinese, f" {latin} ")
    return _JOINED_PREFIX.sub(r"\1", text)


def _tasks(text: str) -> list[str]:
    """The sentences, without those and without those clauses that are nothing but politeness, role or house rule."""
    sentences = [part for part in _SENTENCE_END.split(text) if any(map(str.isalnum, part))]
    tasks = []
    for sentence in sentences:
        if not _is_filler(sentence):
            tasks.append("".join(part for part in _CLAUSE_END.split(sentence) if not _is_polite(part)).strip(" ,"))
    return list(filter(None, tasks)) or sentences


def _is_polite(clause: str) -> bool:
    return _is_filler(clause) and (
        bool(re.search(f"[{_HAN}]", clause)) or any({token.folded, token.lemma} & _POLITE for token in _tokens(clause))
    )


def _is_filler(part: str) -> bool:
    if re.search(f"[{_HAN}]", part):
        return not _han_common(re.sub(f"[^{_HAN}]", "", part)) and not re.search(r"[A-Za-z0-9]", part)
    tokens = [token for token in _tokens(part) if token.folded[0].isalnum()]
    line = " ".join(token.folded for token in tokens)
    role = line.startswith(("you are ", "best wish", "dear ", "i am ", "hello", "hi ", "your name "))
    if len(tokens) < 3 and not any({token.folded, token.lemma} & _POLITE for token in tokens):
        return False
    if any(token.common in _SCOPES for token in tokens):
        return False
    if any(map(_is_negation, tokens)) and not any(token.lemma in _HOUSE - LIGHT for token in tokens):
        return False
    return all({token.folded, token.lemma} & _HOUSE or (role and token.name) or _is_negation(token) for token in tokens)


def _tokens(sentence: str, identifiers: Iterable[str] = ()) -> list[Token]:
    for pattern, plain in _CONTRACTIONS:
        sentence = pattern.sub(plain, sentence)
    names = {word.casefold() for word in _CAPITALISED.findall(sentence)} | set(identifiers)
    written = {word.casefold(): word for word in re.findall(r"[^\W_]+", sentence)}
    folded = _PHRASE.sub(lambda match: _PHRASES[match[0]], sentence.casefold())
    return [
        Token(written.get(word, word), word, lemma(word), common_form(word), word in names)
        for word in _TOKEN.findall(folded)
    ]


@lru_cache(WORDS_KEPT)
def common_form(word: str) -> str:
    return _SYNONYMS.get(word) or _SYNONYMS.get(lemma(word)) or lemma(word)


@lru_cache(WORDS_KEPT)
def synonym_rows(word: str) -> frozenset[int]:
    """The rows of synonyms that have the word: it may be of several, as "correct" is."""
    return frozenset(index for index, row in enumerate(_ROWS) if not {word, lemma(word)}.isdisjoint(row))


@lru_cache(WORDS_KEPT)
def lemma(word: str) -> str:
    """A light stem: the known word behind a plural, -ed, -ing or -ly if there is one, else the ending cut off."""
    word = re.sub(r"(?<=\w\w)iz(?=[aei])", "is", word)
    stems = _stems(word)
    return next((stem for stem in (word, *stems) if stem in KNOWN), stems[-1])


_ENDINGS = (
    ("ies", ("y",)), ("sses", ("ss",)), ("es", ("e", "")), ("s", ("",)),
    ("ying", ("y", "ie")), ("ing", ("e", "")), ("ied", ("y",)), ("ed", ("e", "")), ("ly", ("",)),
)  # fmt: skip


def _stems(word: str) -> list[str]:
    """What is left without the ending, the shortest last."""
    stems = [word]
    if not word.endswith(("ss", "us", "is")):
        for ending, replacements in _ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                stems = [word.removesuffix(ending) + letters for letters in replacements]
                break
    shortest = stems[-1]
    if len(shortest) > 3 and shortest[-1] == shortest[-2] and word.endswith(("ing", "ed")):  # planned, planning
        stems.append(shortest[:-1])
    return [*stems, stems[-1].removesuffix("e")] if len(stems[-1]) > 3 else stems


def _number(token: Token) -> str:
    """The number that the word says; empty for other words."""
    if token.folded[0].isdigit():
        return re.sub(r",(?=\d{3})", "", token.folded)
    return _NUMBERS.get(token.folded, "")


def _is_negation(token: Token) -> bool:
    return token.folded in _NEGATIONS or token.lemma in _NEGATIONS


def _is_content(token: Token) -> bool:
    return (
        token.folded[0].isalpha()
        and (token.folded not in FILLER or (token.name and len(token.written) > 1 and token.written.isupper()))
        and token.common not in _SCOPES
        and not _is_negation(token)
        and not _number(token)
    )


def _negated(tokens: list[Token]) -> frozenset[str]:
    """Words that stand in the same clause after a negation."""
    found, inside = set(), False
    for token in tokens:
        if _is_negation(token):
            inside = True
        elif token.folded in _NEGATION_ENDS:
            inside = False
        elif inside and _is_content(token):
            found.add(token.common)
    return frozenset(found)


def _targets(tokens: list[Token]) -> frozenset[str]:
    """The first word of what something is turned into, after "to", "into" or "as"."""
    found = set()
    for index, token in enumerate(tokens):
        if token.folded in _TARGETS:
            found.update([after.common for after in tokens[index + 1 : index + 4] if _is_content(after)][:1])
    return frozenset(found)


_PRIVATE = 0xE000  # of Unicode's private letters: no text has them
_HAN_SYNONYMS = {
    word: chr(_PRIVATE + index)
    for index, row in enumerate(_DATA["chinese"]["synonyms"].splitlines())
    for word in row.split()
}
_HAN_FORMS = {word: "" for word in _DATA["chinese"]["filler"].split()} | _HAN_SYNONYMS
_HAN_FORM = re.compile(_alternatives(_HAN_FORMS))
_HAN_NUMBER = re.compile("[一二两三四五六七八九十百千万零]+")
_HAN_DIGITS = {letter: value for value, letter in enumerate("零一二三四五六七八九")} | {"两": 2}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10000}
HAN_OPPOSITES = [row.split(" : ") for row in _DATA["chinese"]["opposites"].splitlines()]
HAN_OPPOSITES = [tuple(frozenset(side.split()) for side in row) for row in HAN_OPPOSITES]
HAN_NEGATIONS = frozenset(_HAN_FORMS.get(word, word) for word in _DATA["chinese"]["negations"].split())
"""Letters of `Hint.han` that change the meaning by themselves."""


def _han_common(text: str) -> str:
    """Without numbers, which are compared by themselves."""
    text = _HAN_FORM.sub(lambda match: _HAN_FORMS[match[0]], text)
    return _HAN_NUMBER.sub("", text)


def _han_numbers(text: str) -> frozenset[str]:
    """In digits; without a lone 一, which is mostly an article."""
    found = set()
    for written in _HAN_NUMBER.findall(text):
        total, digit = 0, 0
        for letter in written:
            if letter in _HAN_DIGITS:
                digit = _HAN_DIGITS[letter]
            else:
                total, digit = total + (digit or 1) * _HAN_UNITS[letter], 0
        found.add(str(total + digit))
    return frozenset(found - {"1"})
