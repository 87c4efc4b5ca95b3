"""The cache's content gate: whether two task hints that are near in embedding ask for the same thing.

Encoders put opposites side by side ("sort ascending", "sort descending": 0.95), so a threshold alone is wrong. The gate
lays the two hints beside each other, word by word (letter by letter in Chinese): equal words, inflections, known
synonyms, misspellings and abbreviations pair off; politeness, roles without a subject and function words are left out.
They ask for the same thing if no word of substance is left over on either side, and numbers, symbols, negations,
quantifiers and directions ("from X to Y") agree.

It knows English and some Chinese, by the lists of gate_words.toml; in other languages only near-identical hints pass.
It does not understand: a paraphrase in words that no list has is turned down, and so is a translation. In doubt it says
no, which costs a second, where a wrong yes costs a wrong answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

from adapters.gate_text import (
    END,
    FILLER,
    HAN_NEGATIONS,
    HAN_OPPOSITES,
    IMPLIED,
    KNOWN,
    LIGHT,
    OPPOSITES,
    Hint,
    Token,
    read,
    synonym_rows,
)

_JOINERS = frozenset({"and", "or", "then", "&", ",", END})
_HAN_JOINERS = frozenset("、,和与及或")
_UNHEARD = frozenset({"a", "an", "the", "it", "its", "they", "their", "is", "are", "be", "this", "that", "these", "as"})
_SMALL = frozenset({"of", "the", "on", "a", "an", "and", "in", "for", "to"})
_OPPOSED_PREFIXES = (
    "un: in: im: ir: dis: non: a: anti: mis: en:de en:dis inter:intra hyper:hypo macro:micro pre:post over:under"
    " up:down endo:exo homo:hetero mono:poly multi:single multi:uni bi:uni maxi:mini sub:super"
    " im:ex in:ex in:out as:des"
)
_PREFIXES = tuple(tuple(pair.split(":")) for pair in _OPPOSED_PREFIXES.split())

_MANY = 40
"""Words left over that nobody tries to pair off any more: such hints differ."""
_LONGEST_WORD = 40
"""Letters of a word that may be misspelt."""
_LONG = 500
"""Words of a rearranged part that is not searched for an exchange, and turned down."""


def same_content(one: str, other: str, words: Container[str] = frozenset()) -> bool:
    """Whether the two hints agree in everything that this gate can see. Symmetric, and true of any text and itself.

    words: of English, small letters: of two of them neither is the other misspelt ("neuron", "neutron").
    """
    a, b = read(one), read(other)
    if one == other:
        return True
    return not (
        any(rule(a, b) or rule(b, a) for rule in _RULES) or _left_over(a, b, words) or _left_over(b, a, words)
    )


def _other_script(a: Hint, b: Hint) -> bool:
    return bool(a.han) != bool(b.han)


def _nothing_in_common(a: Hint, b: Hint) -> bool:
    """Not even one word of content, or one Chinese letter."""
    return {token.common for token in a.content}.isdisjoint(token.common for token in b.content) and not (
        set(a.han) & set(b.han)
    )


def _other_numbers(a: Hint, b: Hint) -> bool:
    return a.numbers != b.numbers


def _other_symbols(a: Hint, b: Hint) -> bool:
    """Comparisons, currencies, percentages, and operators and signs before numbers."""
    return a.symbols != b.symbols


def _other_negation(a: Hint, b: Hint) -> bool:
    """One negates and the other does not, or b has a word without the negation that a puts before it."""
    bare = {token.common for token in b.content} - b.negated
    return a.negates != b.negates or bool(a.negated & bare)


def _other_scope(a: Hint, b: Hint) -> bool:
    """Quantifiers and the like differ; "all" and "each" may be left out ("label each tweet", "label tweets")."""
    return a.scopes - {"all"} != b.scopes - {"all"}


def _opposite(a: Hint, b: Hint) -> bool:
    """a has a word of one side only, b of the other side only."""
    if any(_opposed(a.words, b.words, left, right) for left, right in OPPOSITES):
        return True
    for left, right in HAN_OPPOSITES:
        both = left | right
        a_has, b_has = ({word for word in both if word in hint.han_plain} for hint in (a, b))
        if _opposed(a_has, b_has, left, right):
            return True
    return False


def _opposed(a: frozenset[str] | set[str], b: frozenset[str] | set[str], left: frozenset[str], right: frozenset[str]):
    return bool(a & left and not a & right and b & right and not b & left)


def _opposed_prefix(a: Hint, b: Hint) -> bool:
    """encode, decode; typical, atypical; macroeconomics, microeconomics."""
    mine, theirs = a.words - b.words, b.words - a.words
    return any(
        word.startswith(one) and len(word) - len(one) >= 3 and other + word.removeprefix(one) in theirs
        for word in mine
        for one, other in _PREFIXES
    )


def _exchanged_targets(a: Hint, b: Hint) -> bool:
    """What a turns something into, b has elsewhere, and the other way round."""
    return bool((a.targets - b.targets) & b.words and (b.targets - a.targets) & a.words)


def _swapped(a: Hint, b: Hint) -> bool:
    """Two parts have changed places around words that stay ("given the answer, write the question")."""
    mine, theirs = ([token.common for token in hint.tokens if token.folded not in _UNHEARD] for hint in (a, b))
    return _is_swap(mine, theirs, _JOINERS) or _is_swap(a.han, b.han, _HAN_JOINERS)


def _is_swap(one: Sequence[str], other: Sequence[str], joiners: frozenset[str]) -> bool:
    """one = P x M y S and other = P y M x S, where x and y are not the items of a list or whole clauses."""
    if len(one) != len(other) or one == other:
        return False
    start = next(i for i in range(len(one)) if one[i] != other[i])
    end = next(i for i in range(len(one), 0, -1) if one[i - 1] != other[i - 1])
    one, other = one[start:end], other[start:end]
    size = len(one)
    if size > _LONG:
        return True
    for x in (x for x in range(1, size) if one[:x] == other[size - x :]):
        for y in range(1, size - x):
            middle = one[x : size - y]
            if one[size - y :] == other[:y] and middle == other[y : size - x]:
                return not (middle[0] in joiners and middle[-1] in joiners)
    return False


def _left_over(a: Hint, b: Hint, words: Container[str]) -> bool:
    """a has a word of substance that nothing in b stands for."""
    light = LIGHT.union(*(IMPLIED[word] for word in a.words & b.words & IMPLIED.keys()))
    return any({token.folded, token.lemma, token.common}.isdisjoint(light) for token in _unpaired(a, b, words))


def _unpaired(a: Hint, b: Hint, words: Container[str]) -> list[Token]:
    mine, theirs = {token.common for token in a.content}, {token.common for token in b.content}
    left = [token for token in a.content if token.common not in theirs]
    right = [token for token in b.content if token.common not in mine]
    if not left or len(left) > _MANY:
        return left
    spelt_out = {word.common for token in right for word in _spelt_out(token, a)}
    return [
        token
        for token in left
        if token.common not in spelt_out
        and not _spelt_out(token, b)
        and not any(_same_word(token, other, words) for other in right)
        and not any(_misspelt_filler(token, other) for other in b.tokens)
    ]


def _spelt_out(token: Token, hint: Hint) -> list[Token]:
    """The consecutive words whose initials the acronym has ("OOP"); none if it is none."""
    letters = token.written.removesuffix("s")
    if not (letters.isupper() and 2 <= len(letters) <= 6):
        return []
    words = [word for word in hint.tokens if word.folded[0].isalpha() and word.folded not in _SMALL]
    at = "".join(word.folded[0] for word in words).find(letters.casefold())
    return words[at : at + len(letters)] if at >= 0 else []


def _same_word(one: Token, other: Token, words: Container[str]) -> bool:
    """Synonyms, of one family, a misspelling or a shortened form. A word that a list has is taken as it is."""
    if synonym_rows(one.folded) & synonym_rows(other.folded):
        return True
    if one.folded in KNOWN and other.folded in KNOWN:
        return False
    a, b = one.folded, other.folded
    spelt = all(token.folded in words or token.lemma in words for token in (one, other))
    if one.name and other.name:
        return not spelt and _edits(a, b) == 1 and (sorted(a) == sorted(b) or min(len(a), len(b)) >= 8)
    return (not spelt and _misspelt(a, b)) or _same_family(a, b) or _shortened(a, b) or _shortened(b, a)


def _misspelt_filler(one: Token, other: Token) -> bool:
    """teh, abuot: an unknown word with the letters of a function word, in another order."""
    a, b = one.folded, other.folded
    return b in FILLER and a not in KNOWN and sorted(a) == sorted(b) and _misspelt(a, b)


def _misspelt(one: str, other: str) -> bool:
    longer = max(len(one), len(other))
    if one[0] != other[0]:
        return False
    edits = _edits(one, other)
    if longer < 4 or len(one) == len(other):  # with a letter changed it may be another word ("nitrate", "nitrite")
        return edits <= 2 and (sorted(one) == sorted(other) or (edits == 1 and longer >= 8))
    return edits <= (1 if longer < 7 else 2)


def _edits(one: str, other: str) -> int:
    """Letters to add, drop, change or exchange with the next; 3 for any number above 2."""
    if abs(len(one) - len(other)) > 2 or len(one) > _LONGEST_WORD:
        return 3
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, start=1):
        above, row = rows[-1], [i]
        for j, theirs in enumerate(other, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != theirs)))
            if i > 1 and j > 1 and (letter, theirs) == (other[j - 2], one[i - 2]):
                row[j] = min(row[j], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]


def _same_family(one: str, other: str) -> bool:
    """test, testable; consistent, consistency."""
    longer = max(len(one), len(other))
    common = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))
    return common >= 5 and common >= 0.6 * longer


def _shortened(short: str, word: str) -> bool:
    """maths, mathematics; sci, scientific; pts, patients."""
    stem = short.removesuffix("s") if len(short) > 3 else short
    if not 3 <= len(stem) <= 5 or len(word) < len(stem) + 3:
        return False
    return word.startswith(stem) or _is_skeleton(stem, word)


def _is_skeleton(short: str, word: str) -> bool:
    """Consonants of the word in their order, its first letter the first."""
    rest = iter(word)
    return short[0] == word[0] and not set(short[1:]) & set("aeiou") and all(letter in rest for letter in short)


def _other_han(a: Hint, b: Hint) -> bool:
    """a has Chinese letters that b has not; one alone may be a particle, unless it negates or b has others, too."""
    mine, theirs = (Counter(letter for letter in hint.han if letter not in _HAN_JOINERS) for hint in (a, b))
    left, right = mine - theirs, theirs - mine
    return left.total() > 1 or bool(left and (right or left.keys() & HAN_NEGATIONS))


_RULES = (
    _nothing_in_common,
    _other_script,
    _other_numbers,
    _other_symbols,
    _other_negation,
    _other_scope,
    _other_han,
    _opposite,
    _opposed_prefix,
    _exchanged_targets,
    _swapped,
)
