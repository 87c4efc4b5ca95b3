"""GBNF grammars that clients send, read and bounded before llama.cpp sees them.

Its parser goes one call deeper for each group and each rule: some 18,000 of them are the end of a thread's stack. While
it follows a grammar it keeps a stack for each way in which the text may go on, and expands leading rules until
terminals are on top. Rules that lead back to themselves without a terminal never get there, and rules of rules that may
be empty get there in exponentially many ways; its own check sees only what is directly empty.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_CHARACTERS, MAX_DEPTH, MAX_RULES = 1_000_000, 1000, 5000
MAX_BEGINNINGS = 50_000
"""Of what follows any place of a rule: llama.cpp keeps a stack for each."""

NO_NAMES = r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|\{[^}]*\}'
"""Literals, character classes, comments and counts, in none of which a word is a rule's name."""
_TOKEN = re.compile(NO_NAMES + r"|[\w-]+\s*::=|[\w-]+|[()|*+?.<!]")
_TERMINAL = ""


@dataclass(slots=True)
class Symbol:
    """One item of an alternative. name: of a rule or group, "" for a terminal. optional: may be left out. times: how
    often it may stand, one after the other, as far as llama.cpp writes that out.
    """

    name: str
    optional: bool = False
    times: int = 1


Alternatives = list[list[Symbol]]


def check_gbnf(gbnf: str) -> None:
    """Raises ValueError for a grammar that is too long, nested too deep or has too many rules, that names tokens, or
    whose rules lead back to themselves at their beginning or may go on in too many ways.
    """
    if len(gbnf) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(gbnf)} characters, at most {MAX_CHARACTERS} are allowed")
    if beginnings(read_rules(gbnf)) > MAX_BEGINNINGS:
        raise ValueError(f"a rule may go on in more than {MAX_BEGINNINGS} ways")


def read_rules(gbnf: str) -> dict[str, Alternatives]:
    """By name, each rule's alternatives; a group is a rule of its own. Faults are left to llama.cpp's parser.

    Raises ValueError for what is nested too deep, for too many rules, and for token terminals, `<...>`, which llama.cpp
    may end the process over.
    """
    rules: dict[str, Alternatives] = {}
    named = 0
    open_: list[Alternatives] = []  # the rule's alternatives, then those of the groups that are open
    for found in _TOKEN.finditer(gbnf):
        token = found[0]
        if token.endswith("::="):
            named += 1
            rule = token[:-3].strip()
            open_ = [rules.setdefault(rule, [])]
            open_[0].append([])
        elif token in "<!":
            raise ValueError("it names tokens (<...>), which is not supported; write their text")
        elif not open_ or token[0] == "#" or token == '""':
            continue
        elif token == "(":
            name = f"{rule} ({len(rules)})"
            open_[-1][-1].append(Symbol(name))
            open_.append(rules.setdefault(name, [[]]))
            if len(open_) > MAX_DEPTH + 1:
                raise ValueError(f"groups are nested more than {MAX_DEPTH} deep")
        elif token == ")":
            if len(open_) > 1:
                open_.pop()
        elif token == "|":
            open_[-1].append([])
        elif token[0] in "*+?{":
            if open_[-1][-1]:
                _repeat(open_[-1][-1][-1], token)
        else:
            open_[-1][-1].append(Symbol(_TERMINAL if token[0] in '"[.' else token))
    if named > MAX_RULES:
        raise ValueError(f"it has {named} rules, at most {MAX_RULES} are allowed")
    return rules


def _repeat(symbol: Symbol, token: str) -> None:
    least, _, most = token.strip("{}").partition(",")
    symbol.optional |= token in "*?" or least.strip() in ("", "0")
    symbol.times *= max([int(bound) for bound in (least, most) if bound.strip().isdecimal()], default=1)


def empty_rules(rules: Mapping[str, Alternatives]) -> set[str]:
    """Names of the rules that may stand for nothing."""
    waits_for: dict[str, list[tuple[str, int]]] = defaultdict(list)  # rule -> alternatives with it in them
    left: dict[tuple[str, int], int] = {}  # of an alternative, the symbols not known to be empty
    empty: set[str] = set()
    found: list[str] = []
    for name, alternatives in rules.items():
        for number, symbols in enumerate(alternatives):
            needed = [symbol.name for symbol in symbols if not symbol.optional]
            left[name, number] = len(needed)
            for one in needed:
                waits_for[one].append((name, number))
            if not needed:
                found.append(name)
    while found:
        name = found.pop()
        if name in empty:
            continue
        empty.add(name)
        for place in waits_for[name]:
            left[place] -= 1
            if not left[place]:
                found.append(place[0])
    return empty


def beginnings(rules: Mapping[str, Alternatives]) -> int:
    """In how many ways, at the place of a rule where they are the most, what follows there may begin.

    Raises ValueError for left recursion.
    """
    empty = empty_rules(rules)
    counts: dict[str, int] = {}
    for start in rules:
        under_way: dict[str, Iterator[Symbol]] = {}
        path = [start] if start not in counts else []
        while path:
            name = path[-1]
            ahead = under_way.setdefault(name, _leading(rules[name], empty))
            below = next((one.name for one in ahead if one.name in rules and one.name not in counts), None)
            if below is None:
                counts[name] = sum(_ways(one, counts, empty) for one in _leading(rules[name], empty))
                path.pop()
            elif below in under_way:
                raise ValueError(f"rule {below.split()[0]!r} leads back to itself at its beginning")
            else:
                path.append(below)
    most = max(counts.values(), default=0)
    for alternatives in rules.values():
        for symbols in alternatives:
            ways = 0
            for one in reversed(symbols):
                ways = _ways(one, counts, empty) + (ways if one.optional or one.name in empty else 0)
                most = max(most, ways)
    return most


def _ways(symbol: Symbol, counts: Mapping[str, int], empty: set[str]) -> int:
    return counts.get(symbol.name, 1) * (symbol.times if symbol.name in empty else 1)


def _leading(alternatives: Alternatives, empty: set[str]) -> Iterator[Symbol]:
    """The symbols that an alternative may begin with, of all of them."""
    for symbols in alternatives:
        for symbol in symbols:
            yield symbol
            if not symbol.optional and symbol.name not in empty:
                break
