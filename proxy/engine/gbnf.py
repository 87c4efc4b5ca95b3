"""What a GBNF grammar may begin with: empty rules, left recursion and the number of beginnings.

llama.cpp follows a grammar with a stack for each way in which the text may go on, and expands leading rules until
terminals are on top. Rules that lead back to themselves without a terminal never get there, and rules of rules that may
be empty get there in exponentially many ways; its own check sees only what is directly empty.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|[\w-]+\s*::=|[\w-]+|\{[^}]*\}|[()|*+?.<!]')
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


def read_rules(gbnf: str) -> dict[str, Alternatives]:
    """By name, each rule's alternatives; a group is a rule of its own. Faults are left to llama.cpp's parser.

    Raises ValueError for token terminals, `<...>`, which llama.cpp may end the process over.
    """
    rules: dict[str, Alternatives] = {}
    open_: list[Alternatives] = []  # the rule's alternatives, then those of the groups that are open
    for found in _TOKEN.finditer(gbnf):
        token = found[0]
        if token.endswith("::="):
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
    """In how many ways the rule with the most of them may begin.

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
                leading = _leading(rules[name], empty)
                counts[name] = sum(counts.get(one.name, 1) * (one.times if one.name in empty else 1) for one in leading)
                path.pop()
            elif below in under_way:
                raise ValueError(f"rule {below.split()[0]!r} leads back to itself at its beginning")
            else:
                path.append(below)
    return max(counts.values(), default=0)


def _leading(alternatives: Alternatives, empty: set[str]) -> Iterator[Symbol]:
    """The symbols that an alternative may begin with, of all of them."""
    for symbols in alternatives:
        for symbol in symbols:
            yield symbol
            if not symbol.optional and symbol.name not in empty:
                break
