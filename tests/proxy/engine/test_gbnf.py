"""proxy/engine/gbnf.py: rules, which of them may be empty, left recursion, and the bounds on what clients may send."""

import time

import pytest

from proxy.engine.gbnf import (
    MAX_BEGINNINGS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_RULES,
    beginnings,
    check_gbnf,
    empty_rules,
    read_rules,
)
from proxy.engine.llama import json_schema_to_gbnf

LIST = r"""
root ::= (item ",")* item  # comments ::= are skipped (
item ::= "\"" [^"\]]+ "\"" | "[" root? "]" |
  "x"{2,5} ws
ws ::= ([ \n] ws)?
"""


def test_rules_are_read_with_their_groups_repetitions_and_comments():
    rules = read_rules(LIST)
    assert [name.split()[0] for name in rules] == ["root", "root", "item", "ws", "ws"]
    assert [len(alternatives) for alternatives in rules.values()] == [1, 1, 3, 1, 1]
    group, item = rules["root"][0]
    assert (group.name, group.optional, item.name, item.optional) == ("root (1)", True, "item", False)
    assert rules["item"][2][0].times == 5 and not rules["item"][2][0].optional
    assert beginnings(rules) == 7  # in item, before "root?": each of item's three, in the group and behind it, or "]"


@pytest.mark.parametrize(
    ("gbnf", "empty"),
    [
        ('root ::= "a"', set()),
        ('root ::= a b\na ::= "x"*\nb ::= "" | "y"', {"root", "a", "b"}),
        ('root ::= a b\na ::= "x"{0,3}\nb ::= "y"{1,3}', {"a"}),
        ('root ::= a "z"\na ::= b\nb ::= c?\nc ::= "x"', {"a", "b"}),
        ("root ::= a\na ::= root", set()),
        ('root ::= a+\na ::= b b\nb ::= | "x"', {"root", "a", "b"}),
    ],
)
def test_what_may_be_empty(gbnf, empty):
    assert empty_rules(read_rules(gbnf)) == empty


@pytest.mark.parametrize(
    "gbnf",
    [
        'root ::= e root "x" | "a"\ne ::= f\nf ::= ""',
        'root ::= root "x" | "a"',
        'root ::= (a | "y") "x"\na ::= b\nb ::= "z"? root',
        'root ::= "q"? [a-z]{0,4} root "x" | "a"',
    ],
)
def test_left_recursion_is_refused_also_behind_what_may_be_empty(gbnf):
    with pytest.raises(ValueError, match=r"'(root|a|b)' leads back"):
        check_gbnf(gbnf)


def test_recursion_behind_a_terminal_and_repetitions_of_what_may_be_empty_are_fine():
    check_gbnf('root ::= "(" root ")" | "a" root?\n')
    check_gbnf('root ::= (ws)* "a"\nws ::= [ ]*')


def test_rules_that_begin_in_too_many_ways_are_refused_at_once():
    chain = "\n".join(f"r{n} ::= r{n + 1} r{n + 1}" for n in range(60))
    started = time.monotonic()
    with pytest.raises(ValueError, match=f"more than {MAX_BEGINNINGS} ways"):
        check_gbnf(f'root ::= r0\n{chain}\nr60 ::= "x" | ""')
    with pytest.raises(ValueError, match=f"more than {MAX_BEGINNINGS} ways"):
        check_gbnf('root ::= a{400} "y"\na ::= b{400}\nb ::= "x"?')
    deep = "\n".join(f"r{n} ::= r{n + 1}" for n in range(4000))
    check_gbnf(f'root ::= r0\n{deep}\nr4000 ::= "x"?')
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("gbnf", ['root ::= [a-zA-Z] !<[0]>', "root ::= <think> [a-z]", 'root ::= ("x" | <[5]>)+'])
def test_token_terminals_are_refused(gbnf):
    with pytest.raises(ValueError, match="names tokens"):
        check_gbnf(gbnf)


def test_the_same_signs_within_text_are_text():
    check_gbnf('root ::= "<b>" [<!] "(" "[" "::=" # <[0]> !')


def test_large_schemas_pass():
    check_gbnf(json_schema_to_gbnf({"enum": [f"item {n}" for n in range(5000)]}))
    fields = {f"k{n}": {"type": "array", "items": {"type": "string", "maxLength": 300}} for n in range(40)}
    check_gbnf(json_schema_to_gbnf({"type": "object", "properties": fields}))


def test_depth_and_rules_are_bounded():
    check_gbnf("root ::= " + "(" * MAX_DEPTH + '"a"' + ")" * MAX_DEPTH)
    with pytest.raises(ValueError, match="nested"):
        check_gbnf("root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000)
    with pytest.raises(ValueError, match="rules"):
        check_gbnf("\n".join(f"r{n} ::= r{n + 1}" for n in range(MAX_RULES + 1)))


def test_length_is_bounded():
    comment = "# " + "x" * MAX_CHARACTERS
    with pytest.raises(ValueError, match="characters"):
        check_gbnf(f'root ::= "a" {comment}')
    check_gbnf(f'root ::= "a" {comment}'[:MAX_CHARACTERS])


def test_ways_to_go_on_behind_a_terminal_count_too():
    check_gbnf('root ::= "a"' + " [a-z]?" * 1000)
    with pytest.raises(ValueError, match=f"go on in more than {MAX_BEGINNINGS} ways"):
        check_gbnf('root ::= "a"' + " [a-z]?" * (MAX_BEGINNINGS + 1))


def test_literals_classes_and_comments_are_no_groups():
    check_gbnf('root ::= "' + "(" * 5000 + '" [' + "(" * 5000 + "] # " + "(" * 5000)
