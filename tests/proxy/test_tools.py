import json
import re

import pytest

from proxy.bodies import Message, Tool, ToolCall, ToolUse
from proxy.tools import (
    OPEN,
    Called,
    ToolCallReader,
    call_grammar,
    rename_rules,
    template_message,
    template_tools,
)

F, G = Tool("f", "does f", {"type": "object"}), Tool("g", None, {"type": "object"}, strict=True)
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": "é"}}\n</tool_call>'


def read(text, size, names=("f", "g"), parallel=True):
    """The answer fed in pieces of `size` characters; neighbouring texts joined."""
    reader = ToolCallReader(frozenset(names), parallel)
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    pieces = [piece for part in parts for piece in reader.feed(part)] + reader.feed("", last=True)
    joined = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("plain <b>text</b> <tool", ["plain <b>text</b> <tool"]),
        (CALL, [Called("f", '{"x": "é"}')]),
        (f"Let me see.\n{CALL}\n{CALL}\n", ["Let me see.\n", Called("f", '{"x": "é"}'), Called("f", '{"x": "é"}')]),
        (CALL.removesuffix("\n</tool_call>"), [Called("f", '{"x": "é"}')]),
        (CALL[:30], [CALL[:30]]),
        ("<tool_call>no json</tool_call>!", ["<tool_call>no json</tool_call>!"]),
        (CALL.replace('"f"', '"other"'), [CALL.replace('"f"', '"other"')]),
        ('{"name": "g", "arguments": {}}', [Called("g", "{}")]),
        ('```json\n{"name": "g", "arguments": {}}\n```', [Called("g", "{}")]),
        ('{"name": "g", "arguments": {}}\n{"name": "f", "arguments": {}}', [Called("g", "{}"), Called("f", "{}")]),
        ('{"name": "other", "arguments": {}}', ['{"name": "other", "arguments": {}}']),
        ('{"name": "g", "arguments": {}} as you see', ['{"name": "g", "arguments": {}} as you see']),
        ('{"answer": 1}', ['{"answer": 1}']),
        ('{"name": "g", "arguments": "ls -la"}', ['{"name": "g", "arguments": "ls -la"}']),
        ('{"name": "g", "arguments": "{\\"x\\": 1}"}', [Called("g", '{"x": 1}')]),
        (CALL.replace('"f"', '["f"]'), [CALL.replace('"f"', '["f"]')]),
        (CALL.replace("é", "\\ud83d"), [Called("f", '{"x": "\ufffd"}')]),
        ('{"name": "g", "arguments": null}', [Called("g", "{}")]),
        ('{"name": "g", "arguments": ""}', [Called("g", "{}")]),
        ('{"name": "g", "arguments": [1]}', ['{"name": "g", "arguments": [1]}']),
        ("", []),
    ],
)
def test_calls_are_found_however_the_answer_is_cut(text, pieces, size):
    assert read(text, size) == pieces


def test_what_is_nested_too_deep_is_text():
    deep = CALL.replace('"é"', "[" * 100_000)
    assert read(deep, len(deep)) == [deep]


def test_text_is_not_held_back_longer_than_it_may_be_a_mark():
    reader = ToolCallReader(frozenset({"f"}))
    assert reader.feed("a <") == ["a "]
    assert reader.feed("b") == ["<b"]


def test_one_call_only_where_parallel_calls_are_off():
    text = '{"name": "g", "arguments": {}}\n{"name": "f", "arguments": {}}'
    assert read(text, 1000, parallel=False) == [Called("g", "{}")]


def test_the_template_is_told_of_tools_unless_none_may_be_used():
    use = ToolUse((F, G))
    assert [tool["function"]["name"] for tool in template_tools(use)] == ["f", "g"]
    assert template_tools(use)[0]["function"] == {
        "name": "f",
        "description": "does f",
        "parameters": {"type": "object"},
    }
    assert template_tools(ToolUse((F,), "none")) is None
    assert template_tools(ToolUse()) is None


def test_the_template_gets_arguments_as_an_object():
    turn = template_message(Message("assistant", "", (ToolCall("1", "f", '{"x": 1}'),)))
    assert turn["tool_calls"][0]["function"]["arguments"] == {"x": 1}
    assert template_message(Message("user", "x")) == {"role": "user", "content": "x"}


def schema_grammar(schema):
    return 'root ::= "{" item "}" # root\nitem ::= [a-z] "root"{1,2}'


def test_rules_are_renamed_but_not_literals_classes_or_comments():
    assert rename_rules(schema_grammar({}), "p-") == 'p-root ::= "{" p-item "}" # root\np-item ::= [a-z] "root"{1,2}'


def test_a_grammar_is_made_where_calls_are_forced_or_strict():
    assert call_grammar(ToolUse((F,)), schema_grammar) is None
    assert call_grammar(ToolUse((G,), "none"), schema_grammar) is None
    forced = call_grammar(ToolUse((F, G), "required"), schema_grammar)
    assert forced.startswith("root ::= call further\n") and "call0 | call1" in forced
    named = call_grammar(ToolUse((F, G), "g", named=True), schema_grammar)
    assert '\\"g\\"' in named and '\\"f\\"' not in named
    single = call_grammar(ToolUse((F,), "required", parallel=False), schema_grammar)
    assert 'further ::= ""' in single
    assert call_grammar(ToolUse((G,)), schema_grammar).startswith("root ::= text0\n")


def accepts(grammar, text):
    """Whether the free-text automaton of a grammar takes `text`, and whether it must go on with a call's body.

    Reads the rules themselves: `name ::= "" | [^...] rule | "c" rule ...`.
    """
    rules = {}
    for line in grammar.splitlines():
        name, _, body = line.partition(" ::= ")
        if name.startswith("text"):
            steps = re.findall(r'\[\^([^\]]+)\] (\w+)|"(.)" ([\w ]+?)(?= \||$)', body)
            rules[name] = steps
    state = "text0"
    for char in text:
        if state not in rules:
            return state
        state = next(
            (
                rest or then
                for others, rest, one, then in rules[state]
                if (one == char) or (others and char not in others)
            ),
            None,
        )
    return state


@pytest.mark.parametrize("before", ["", "hello ", "a < b ", "<<tool", "<tool_<tool_cal", "<tool_call "])
def test_free_text_may_say_anything_but_an_opening_tag_begins_a_call(before):
    grammar = call_grammar(ToolUse((G,)), schema_grammar)
    assert accepts(grammar, before).startswith("text")
    assert accepts(grammar, before + OPEN) == "body further"


@pytest.mark.model
def test_the_grammars_are_ones_that_llama_cpp_takes(default_model_path):
    from proxy.config import EngineConfig
    from proxy.engine.api import Generation, Sampling
    from proxy.engine.engine import Engine

    city = Tool("weather", "Weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}}, True)
    engine = Engine(default_model_path, EngineConfig(context_tokens=1024, max_sequences=1))
    try:
        typed = engine.json_grammar({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
        for use, answer in (
            (ToolUse((city,), "required", parallel=False), None),
            (ToolUse((city,), parallel=False), None),
            (ToolUse((city,)), typed),
        ):
            grammar = call_grammar(use, engine.json_grammar, answer)
            prompt = engine.chat_tokens([{"role": "user", "content": "Weather in Paris?"}], tools=template_tools(use))
            sampling = Sampling(temperature=0, grammar=grammar)
            text = "".join(chunk.text for chunk in engine.submit(Generation(prompt, max_tokens=30, sampling=sampling)))
            calls = read(text, 1000, names=("weather",))
            called = [json.loads(call.arguments) for call in calls if isinstance(call, Called)]
            assert called or (answer and isinstance(json.loads(text)["n"], int)), text
    finally:
        engine.close()


def test_a_typed_answer_and_calls_may_both_be_given():
    answer = 'root ::= "{" number "}"\nnumber ::= [0-9]+\n'
    both = call_grammar(ToolUse((F,)), schema_grammar, answer)
    assert both.startswith('root ::= call further | answer-root\nanswer-root ::= "{" answer-number "}"\n')
    assert "call0 ::=" in both
    assert call_grammar(ToolUse(), schema_grammar, answer) == answer
    assert call_grammar(ToolUse((F,), "none"), schema_grammar, answer) == answer


def test_the_template_gets_what_is_no_json_as_it_was_said():
    message = template_message(Message("assistant", "", (ToolCall("1", "f", "ls -la"),)))
    assert message["tool_calls"][0]["function"]["arguments"] == "ls -la"
