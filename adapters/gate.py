"""The cache's content gate: whether two task hints that are near in embedding ask for the same thing.

Encoders put opposites side by side ("sort ascending", "sort descending": 0.95), so a threshold alone is wrong. This
gate compares what a paraphrase keeps: numbers, negation, opposites, names, formats, languages. It is made of rules
and knows the words below and no others; in doubt it says no, which costs a second, where a yes costs a wrong answer.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_COUNTED = _words("zero one two three four five six seven eight nine ten eleven twelve")
_NUMBERS = {word: str(value) for value, word in enumerate(_COUNTED)}
_ORDINALS = {word: str(value) for value, word in enumerate(_words("first second third fourth fifth"), start=1)}

_NEGATIONS = _words(
    "no not never none nothing neither nor cannot without avoid except exclude excluding omit skip unless only"
    " nicht kein keine keinen ohne nie niemals pas sans jamais ningún sin nunca"
)
_NEGATIONS_CJK = re.compile("[不没没無无别別勿非未禁]")

_OPPOSITES = tuple(
    tuple(frozenset(side.split("|")) for side in pair.split(":"))
    for pair in (
        "ascending|increasing:descending|decreasing",
        "increase|raise|grow:decrease|reduce|lower|shrink",
        "max|maximum|maximal|largest|biggest|highest|most:min|minimum|minimal|smallest|lowest|least|fewest",
        "first|earliest|oldest|start|beginning:last|latest|newest|end|ending",
        "encode|encoding|encoder:decode|decoding|decoder",
        "encrypt|encryption:decrypt|decryption",
        "serialize|serialise|serialization:deserialize|deserialise|parse|deserialization",
        "compress|compression|zip:decompress|decompression|unzip",
        "positive:negative",
        "add|insert|append|include|include|push:remove|delete|drop|exclude|pop",
        "shortest|short|shorten|brief|concise|summarize|summarise:longest|long|lengthen|detailed|expand|elaborate",
        "upper|uppercase|uppercased|capital:lower|lowercase|lowercased",
        "formal|formally|polite:informal|informally|casual|rude",
        "even:odd",
        "before:after",
        "left:right",
        "import|load|read|download:export|save|write|upload",
        "true:false",
        "valid:invalid",
        "simple|simplify|easy:complex|complicated|hard|difficult",
        "encourage|recommend|support|pro|pros|advantages|benefits:discourage|oppose|con|cons|disadvantages|drawbacks",
        "optimistic|happy|cheerful:pessimistic|sad|gloomy",
        "question|questions|ask:answer|answers|reply",
        "client:server",
        "input:output",
        "升序|递增:降序|递减",
        "最大|最高|最多:最小|最低|最少",
    )
)

_NAMED = _words(
    # output formats
    "json jsonl yaml toml csv tsv xml html markdown latex sql regex ascii unicode base64 hex binary decimal roman"
    " table bullets bullet bulleted numbered paragraph essay poem haiku sonnet story email"
    # programming languages
    " python java javascript typescript rust golang c c++ c# ruby php perl swift kotlin scala haskell lua r julia"
    " bash shell powershell matlab fortran cobol lisp clojure erlang elixir prolog assembly css react django flask"
    # natural languages
    " english german french spanish italian portuguese dutch polish russian ukrainian turkish arabic hebrew hindi"
    " chinese japanese korean vietnamese thai latin greek swedish danish norwegian finnish czech hungarian"
    # units that change an answer
    " celsius fahrenheit kelvin meters metres feet miles kilometers kilometres pounds kilograms dollars euros"
)

_QUOTED = re.compile(r"`([^`]+)`|\"([^\"]+)\"|“([^”]+)”|(?<!\w)'([^']+)'(?!\w)")
_IDENTIFIER = re.compile(r"\b(?:\w+_\w*|_\w+|\w*[a-z]\w*[A-Z]\w*|\w+(?:\.\w+)*\(\)|\w+(?:\.[A-Za-z]\w*)+|[A-Z]{2,}\w*)")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]+(?:['’]t\b)?[+#]*")


@dataclass(frozen=True, slots=True)
class _Content:
    """What a paraphrase keeps. named: in order, since "from German to English" has an opposite, too."""

    numbers: tuple[str, ...]
    negated: bool
    named: tuple[str, ...]
    identifiers: frozenset[str]
    script: str
    words: frozenset[str]


def same_content(one: str, other: str) -> bool:
    """Whether the two hints agree in everything that this gate can see. Symmetric."""
    a, b = _read(one), _read(other)
    if replace(a, words=b.words) != b:
        return False
    return not any(_opposed(a.words, b.words, left, right) for left, right in _OPPOSITES)


def _opposed(a: frozenset[str], b: frozenset[str], left: frozenset[str], right: frozenset[str]) -> bool:
    """One hint has a word of one side only, the other hint a word of the other side only."""
    sides = [(bool(words & left), bool(words & right)) for words in (a, b)]
    return sorted(sides) == [(False, True), (True, False)]


def _read(hint: str) -> _Content:
    text = unicodedata.normalize("NFC", hint)
    quoted = {next(part for part in match if part) for match in _QUOTED.findall(text)}
    identifiers = {name.casefold() for name in _IDENTIFIER.findall(text)} | quoted
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(text)]
    numbers = [number.replace(",", "").lstrip("+") for number in _NUMBER.findall(text)]
    numbers += [_NUMBERS[word] for word in words if word in _NUMBERS and word != "one"]  # "write one that ..."
    numbers += [_ORDINALS[word] for word in words if word in _ORDINALS]
    negated = any(word in _NEGATIONS or word.endswith("n't") for word in words)
    cjk = [side for pair in _OPPOSITES for side_words in pair for side in side_words if not side.isascii()]
    return _Content(
        tuple(sorted(numbers)),
        negated or bool(_NEGATIONS_CJK.search(text)),
        tuple(word for word in words if word in _NAMED),
        frozenset(identifiers - {name.casefold() for name in words if name in _NAMED}),
        _script(text),
        frozenset(words) | {word for word in cjk if word in text},
    )


def _script(text: str) -> str:
    """The script most letters are of, by the first word of their Unicode names: LATIN, CJK, CYRILLIC, ..."""
    counts: dict[str, int] = {}
    for letter in filter(str.isalpha, text):
        name = unicodedata.name(letter, "").split(" ")[0]
        counts[name] = counts.get(name, 0) + 1
    return max(counts, key=counts.__getitem__) if counts else ""
