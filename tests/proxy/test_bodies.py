import json
from typing import get_type_hints

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from proxy.bodies import (
    DEFAULT_COMPLETION_TOKENS,
    NO_EFFECT,
    Message,
    ToolCall,
    parse_adapter_request,
    parse_chat_request,
    parse_completion_request,
    parse_embedding_request,
    parse_feedback,
    parse_load_lora,
)
from proxy.engine.api import Sampling
from proxy.errors import BadRequest

DEFAULTS = Sampling(temperature=0.5, top_p=0.9, top_k=20, repeat_penalty=1.1)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
HI = [{"role": "user", "content": "hi"}]


def chat(**fields):
    body = {"model": "m", "messages": HI, **fields}
    return parse_chat_request(json.dumps(body).encode(), DEFAULTS)


def completion(**fields):
    return parse_completion_request(json.dumps({"model": "m", "prompt": "p", **fields}).encode(), DEFAULTS)


def refused(parse, **fields):
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    return caught.value


CHAT_EXAMPLES = {
    "messages": HI,
    "model": "m",
    "frequency_penalty": 1.0,
    "logit_bias": {"5": -100},
    "logprobs": True,
    "max_completion_tokens": 5,
    "max_tokens": 5,
    "modalities": ["text"],
    "n": 2,
    "parallel_tool_calls": False,
    "presence_penalty": 1.0,
    "reasoning_effort": "none",
    "response_format": {"type": "json_object"},
    "seed": 1,
    "stop": ["a"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [TOOL],
    "top_logprobs": 2,
    "top_p": 0.5,
    "verbosity": "medium",
    "user": "u",
    "metadata": {"a": "b"},
    "store": True,
    "safety_identifier": "s",
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "prediction": {"type": "content", "content": "x"},
}
"""OpenAI's fields that are honoured, or accepted knowingly, each with a value."""

CHAT_REFUSED = {
    "audio": {"voice": "alloy", "format": "wav"},
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "moderation": {"model": "m"},
    "web_search_options": {},
}
NEEDS = {"top_logprobs": {"logprobs": True}, "stream_options": {"stream": True}, "tool_choice": {"tools": [TOOL]}}


def openai_fields(*params):
    return set().union(*(get_type_hints(one) for one in params))


def test_every_openai_chat_field_is_honoured_accepted_or_refused_by_name():
    known = openai_fields(
        chat_create_params.CompletionCreateParamsStreaming, chat_create_params.CompletionCreateParamsNonStreaming
    )
    assert known == CHAT_EXAMPLES.keys() | CHAT_REFUSED.keys()
    for field, value in CHAT_EXAMPLES.items():
        chat(**NEEDS.get(field, {}), **{field: value})
    for field, value in CHAT_REFUSED.items():
        problem = refused(chat, **{field: value})
        assert (problem.param, problem.code) == (field, "unsupported_parameter")
        assert str(problem).startswith(f"{field}: not supported here")


def test_every_openai_completion_field_is_honoured_accepted_or_refused_by_name():
    known = openai_fields(
        completion_create_params.CompletionCreateParamsStreaming,
        completion_create_params.CompletionCreateParamsNonStreaming,
    )
    same = {name: value for name, value in CHAT_EXAMPLES.items() if name in known - {"logprobs"}}
    examples = {**same, "prompt": "p", "echo": True, "logprobs": 3, "best_of": 1}
    assert known == examples.keys() | {"suffix"}
    for field, value in examples.items():
        completion(**NEEDS.get(field, {}), **{field: value})
    assert refused(completion, suffix="x").param == "suffix"
    assert refused(completion, best_of=3).param == "best_of"


def test_every_openai_embedding_field_is_read():
    body = {"input": "x", "model": "m", "dimensions": 4, "encoding_format": "base64", "user": "u"}
    assert body.keys() == openai_fields(embedding_create_params.EmbeddingCreateParams)
    parsed = parse_embedding_request(json.dumps(body).encode())
    assert (parsed.texts, parsed.dimensions, parsed.base64) == (("x",), 4, True)


def test_what_has_no_effect_is_accepted_and_nothing_else():
    chat(**{field: CHAT_EXAMPLES[field] for field in NO_EFFECT})
    problem = refused(chat, temprature=1)
    assert (problem.param, problem.code) == ("temprature", "unknown_parameter")


def test_fields_arrive_in_the_request():
    options = chat(
        temperature=0,
        top_p=0.5,
        presence_penalty=1,
        frequency_penalty=-1,
        logit_bias={"7": -100, "9": 2},
        seed=-3,
        max_tokens=9,
        n=2,
        stop="x",
        logprobs=True,
        top_logprobs=4,
        stream=True,
        stream_options={"include_usage": True},
        min_p=0.1,
        typical_p=0.8,
        grammar='root ::= "a"',
        et2l={"task": "t", "on_miss": "base", "strip": False, "budget_ms": 5},
    ).options
    assert options.sampling == Sampling(
        temperature=0,
        top_p=0.5,
        top_k=20,
        min_p=0.1,
        typical_p=0.8,
        repeat_penalty=1.1,
        presence_penalty=1,
        frequency_penalty=-1,
        seed=-3,
        logit_bias=((7, -100.0), (9, 2.0)),
        grammar='root ::= "a"',
    )
    assert (options.max_tokens, options.n, options.stop, options.logprobs) == (9, 2, ("x",), 4)
    assert (options.stream, options.include_usage) == (True, True)
    adapt = options.adapt
    assert (adapt.task, adapt.on_miss, adapt.strip, adapt.budget_ms) == ("t", "base", False, 5)


def test_what_is_left_out_or_null_gets_the_defaults():
    options = chat(temperature=None, stop=None, max_tokens=None, et2l=None, n=None).options
    assert options.sampling == DEFAULTS
    assert (options.max_tokens, options.n, options.stop, options.logprobs) == (None, 1, (), None)
    assert completion().options.max_tokens == DEFAULT_COMPLETION_TOKENS


def test_max_completion_tokens_wins_over_its_old_name():
    assert chat(max_completion_tokens=3, max_tokens=9).options.max_tokens == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "function", "content": "", "name": "f"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "mood": "good"}]}, "messages[0].mood"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"tools": [TOOL], "grammar": "x"}, "grammar"),
        ({"et2l": {"task": " "}}, "et2l.task"),
        ({"et2l": {"on_miss": "never"}}, "et2l.on_miss"),
        ({"et2l": {"taks": "x"}}, "et2l.taks"),
        ({"model": None}, "model"),
    ],
)
def test_a_bad_value_is_refused_with_the_fields_path(fields, param):
    assert refused(chat, **fields).param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", b'{"a":' * 100_000])
def test_what_is_no_json_object_is_a_bad_request(body):
    with pytest.raises(BadRequest):
        parse_chat_request(body, DEFAULTS)


def test_messages_come_as_strings_or_text_parts():
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c", "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "d"},
    ]
    assert chat(messages=messages).messages == (
        Message("system", "a\nb"),
        Message("user", "c"),
        Message("assistant", "", (ToolCall("1", "f", '{"x": 1}'),)),
        Message("tool", "d"),
    )


def test_tools_and_their_choice_are_read():
    strict = {"type": "function", "function": {"name": "g", "description": "G", "strict": True}}
    use = chat(tools=[TOOL, strict], parallel_tool_calls=False).tool_use
    assert [(tool.name, tool.strict) for tool in use.tools] == [("f", False), ("g", True)]
    assert (use.choice, use.named, use.parallel) == ("auto", False, False)
    named = chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}}).tool_use
    assert (named.choice, named.named) == ("f", True)


def test_response_formats_are_read():
    assert chat(response_format={"type": "text"}).json_answer is None
    assert chat(response_format={"type": "json_object"}).json_answer.schema is None
    schema = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": {"type": "object"}}}
    assert chat(response_format=schema).json_answer.schema == {"type": "object"}


def test_prompts_are_texts_or_token_ids_one_or_many():
    assert completion(prompt="a").prompts == ("a",)
    assert completion(prompt=["a", "b"]).prompts == ("a", "b")
    assert completion(prompt=[1, 2]).prompts == ((1, 2),)
    assert completion(prompt=[[1, 2], [3]]).prompts == ((1, 2), (3,))
    for bad in ([], [[]], [1, "a"], [-1, [2]], 5, [[True]]):
        assert refused(completion, prompt=bad).param == "prompt"


def test_nothing_to_generate_needs_an_echo():
    assert completion(max_tokens=0, echo=True, logprobs=1).options.max_tokens == 0
    assert refused(completion, max_tokens=0).param == "max_tokens"


def test_adapter_feedback_and_load_bodies_are_read():
    made = parse_adapter_request(b'{"task": "t", "skills": ["a"], "weights": {"a": 1}}')
    assert (made.task, made.skills, made.weights) == ("t", ("a",), {"a": 1.0})
    given = parse_feedback(b'{"adapter": "d", "rating": -1, "skills": {"a": false}}')
    assert (given.adapter, given.rating, given.skills) == ("d", -1.0, {"a": False})
    loaded = parse_load_lora(b'{"lora_name": "n", "lora_path": "p", "lora_int_id": 3}')
    assert (loaded.name, loaded.path) == ("n", "p")
    for parse, body, param in (
        (parse_adapter_request, b"{}", "task"),
        (parse_adapter_request, b'{"task": "t", "weights": {"a": -1}}', "weights.a"),
        (parse_adapter_request, b'{"task": "t", "weights": {}}', "weights"),
        (parse_feedback, b'{"adapter": "d"}', "rating"),
        (parse_feedback, b'{"adapter": "d", "rating": 2}', "rating"),
        (parse_load_lora, b'{"lora_name": "a@b", "lora_path": "p"}', "lora_name"),
    ):
        with pytest.raises(BadRequest) as caught:
            parse(body)
        assert caught.value.param == param


def test_lone_halves_of_characters_become_the_replacement_character():
    body = b'{"model": "m", "messages": [{"role": "user", "content": "cut \\ud83d, whole \\ud83d\\ude00"}]}'
    assert parse_chat_request(body, DEFAULTS).messages[0].content == "cut \ufffd, whole \U0001f600"
    with pytest.raises(BadRequest, match="\ufffd"):
        parse_embedding_request(b'{"model": "m", "input": "x", "\\uDC00": 1}')


def test_a_number_beyond_floats_is_refused():
    assert refused(chat, temperature=10**400).param == "temperature"


def test_so_many_texts_may_be_embedded():
    body = {"model": "m", "input": ["x"] * 2048}
    assert len(parse_embedding_request(json.dumps(body).encode()).texts) == 2048
    with pytest.raises(BadRequest, match="2048"):
        parse_embedding_request(json.dumps(body | {"input": ["x"] * 2049}).encode())


@pytest.mark.parametrize("arguments", ["ls -la", "{", "[" * 100_000])
def test_whatever_a_model_said_as_arguments_may_come_back(arguments):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    (message,) = chat(messages=[{"role": "assistant", "tool_calls": [call]}]).messages
    assert message.tool_calls[0].arguments == arguments
