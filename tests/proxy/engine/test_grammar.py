"""proxy/engine/grammar.py: what clients may ask of grammars, and that what they may not does not reach llama.cpp."""

import pytest

from proxy.engine.grammar import MAX_DEPTH, MAX_REPETITIONS, MAX_RULES, check_gbnf
from proxy.engine.llama import LlamaError, json_schema_to_gbnf


def text(**limits):
    return {"type": "object", "properties": {"t": {"type": "string", **limits}}, "required": ["t"]}


def test_a_bound_within_reason_is_kept():
    gbnf = json_schema_to_gbnf(text(maxLength=300))
    assert gbnf.count("(char") == 300
    check_gbnf(gbnf)


@pytest.mark.parametrize("bound", [MAX_REPETITIONS + 1, 20_000, 2**31 - 1])
@pytest.mark.parametrize(
    "schema",
    [
        lambda n: text(maxLength=n),
        lambda n: {"type": "array", "items": {"type": "string"}, "maxItems": n},
        lambda n: {"type": "string", "pattern": f"^[a-z]{{0,{n}}}$"},
        lambda n: {"properties": {"maxLength": {"type": "string", "maxLength": n}}, "type": "object"},
        lambda n: {"$ref": "#/default", "default": {"type": "string", "maxLength": n}},
    ],
)
def test_a_large_upper_bound_is_left_open(schema, bound):
    gbnf = json_schema_to_gbnf(schema(bound))
    assert len(gbnf) < 5000
    check_gbnf(gbnf)


@pytest.mark.parametrize(
    "schema",
    [
        text(minLength=2**31 - 1),
        {"type": "array", "items": {"type": "string"}, "minItems": 10**9},
        {"properties": {"x" * 1000: {"type": "array", "items": {"enum": ["a"]}, "minItems": 500}}, "type": "object"},
        {"type": "no such type"},
    ],
)
def test_what_would_grow_without_end_is_refused(schema):
    with pytest.raises(LlamaError):
        json_schema_to_gbnf(schema)


def test_depth_and_rules_are_bounded():
    check_gbnf("root ::= " + "(" * MAX_DEPTH + '"a"' + ")" * MAX_DEPTH)
    with pytest.raises(ValueError, match="nested"):
        check_gbnf("root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000)
    with pytest.raises(ValueError, match="rules"):
        check_gbnf("\n".join(f"r{n} ::= r{n + 1}" for n in range(MAX_RULES + 1)))


def test_literals_classes_and_comments_are_no_groups():
    check_gbnf('root ::= "' + "(" * 5000 + '" [' + "(" * 5000 + "] # " + "(" * 5000)
