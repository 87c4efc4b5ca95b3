"""proxy/engine/json_schema.py: how much repetition clients may ask for, and that no more reaches llama.cpp."""

import pytest

from proxy.engine.gbnf import check_gbnf
from proxy.engine.json_schema import MAX_REPETITIONS
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
