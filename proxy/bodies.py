"""Request bodies: bytes in, typed values out, or BadRequest. Past this module nobody reads a raw dict.

Every field of OpenAI's chat completions, completions and embeddings is honoured, accepted because it cannot
change the answer (the tuples below), or refused by name; so are our extensions and the fields nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from proxy.engine.api import Sampling
from proxy.errors import BadRequest
from proxy.fields import Fields, parse_object

OnMiss = Literal["wait", "base", "require"]

NO_EFFECT = (
    "user",
    "metadata",
    "store",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "prediction",
)
"""Accepted knowingly: they label, bill, store or speed up a request on OpenAI's side and cannot change an
answer here.
"""

MAX_STOPS = 16
MAX_CHOICES = 64
MAX_EMBEDDINGS = 2048
MAX_TOP_LOGPROBS = 20
DEFAULT_COMPLETION_TOKENS = 16
"""OpenAI's default for /v1/completions."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a function by the assistant; `arguments` is a JSON text, as OpenAI has it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. A developer message is a system message; content parts are joined by newlines."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call. `schema`: the JSON schema of its arguments, enforced on every call if
    `strict`.
    """

    name: str
    description: str | None
    schema: Mapping[str, Any]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The tools of a request. `choice`: auto, none, required, or the name of the one that must be called."""

    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    named: bool = False
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The answer must be JSON: of this schema, or any object where `schema` is None."""

    schema: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class AdaptOptions:
    """The request's `et2l` field. None leaves it to the configuration."""

    task: str | None = None
    on_miss: OnMiss | None = None
    strip: bool | None = None
    budget_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What chat completions and completions have in common. `logprobs`: alternatives per token; None = none
    asked.
    """

    model: str
    sampling: Sampling
    max_tokens: int | None
    n: int
    stop: tuple[str, ...]
    logprobs: int | None
    stream: bool
    include_usage: bool
    adapt: AdaptOptions


@dataclass(frozen=True, slots=True)
class ChatRequest:
    options: AnswerOptions
    messages: tuple[Message, ...]
    json_answer: JsonAnswer | None = None
    tool_use: ToolUse = ToolUse()


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """`prompts`: each a text or token ids."""

    options: AnswerOptions
    prompts: tuple[str | tuple[int, ...], ...]
    echo: bool = False


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    model: str
    texts: tuple[str, ...]
    dimensions: int | None
    base64: bool


def parse_chat_request(body: bytes, defaults: Sampling) -> ChatRequest:
    """defaults: what a request that leaves a sampling field out gets."""
    fields = parse_object(body)
    messages = tuple(parse_message(message) for message in fields.objects("messages"))
    if not messages:
        raise fields.bad("messages", "want at least one message")
    tool_use = parse_tool_use(fields)
    json_answer = parse_response_format(fields)
    if json_answer and (tool_use.choice == "required" or tool_use.named):
        raise fields.bad("response_format", "cannot be combined with a tool_choice that forces a call")
    logprobs = parse_chat_logprobs(fields)
    limits = [fields.integer(name, 1, 2**31 - 1) for name in ("max_completion_tokens", "max_tokens")]
    refuse_chat_fields(fields)
    options = parse_options(fields, defaults, max_tokens=next(filter(None, limits), None), logprobs=logprobs)
    if options.sampling.grammar and (json_answer or tool_use.tools):
        raise fields.bad("grammar", "cannot be combined with response_format or tools")
    return ChatRequest(options, messages, json_answer, tool_use)


def refuse_chat_fields(fields: Fields) -> None:
    fields.choice("reasoning_effort", "none")
    fields.choice("verbosity", "medium")
    if any(one != "text" for one in fields.items("modalities")):
        raise fields.bad("modalities", 'this model answers in text only: ["text"]', "unsupported_value")
    fields.refuse("audio", "this model answers in text only")
    fields.refuse("functions", "deprecated by OpenAI; use tools")
    fields.refuse("function_call", "deprecated by OpenAI; use tool_choice")
    fields.refuse("moderation", "there is no moderation model")
    fields.refuse("web_search_options", "there is no web search")


def parse_completion_request(body: bytes, defaults: Sampling) -> CompletionRequest:
    fields = parse_object(body)
    prompts = parse_prompts(fields)
    echo = bool(fields.boolean("echo"))
    logprobs = fields.integer("logprobs", 0, MAX_TOP_LOGPROBS)
    given = fields.integer("max_tokens", 0, 2**31 - 1)
    if given == 0 and not echo:
        raise fields.bad("max_tokens", "0 asks for nothing; it needs echo: true")
    best_of = fields.integer("best_of", 1, MAX_CHOICES)
    fields.refuse("suffix", "this endpoint does not fill in the middle")
    options = parse_options(
        fields, defaults, max_tokens=DEFAULT_COMPLETION_TOKENS if given is None else given, logprobs=logprobs
    )
    if best_of not in (None, options.n):
        raise BadRequest("best_of: not supported here unless it equals n", param="best_of", code="unsupported_value")
    return CompletionRequest(options, prompts, echo)


def parse_embedding_request(body: bytes) -> EmbeddingRequest:
    fields = parse_object(body)
    model, given = parse_model(fields), fields.required("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise fields.bad("input", "want a non-empty string or a list of them (token ids are another model's)")
    if len(texts) > MAX_EMBEDDINGS:
        raise fields.bad("input", f"want at most {MAX_EMBEDDINGS} texts, got {len(texts)}", "invalid_value")
    dimensions = fields.integer("dimensions", 1, 2**31 - 1)
    encoding = fields.choice("encoding_format", "float", "base64")
    fields.accept("user")
    fields.finish()
    return EmbeddingRequest(model, tuple(texts), dimensions, encoding == "base64")


# --- fields that several bodies share -----------------------------------------------------------------------


def parse_options(fields: Fields, defaults: Sampling, *, max_tokens: int | None, logprobs: int | None) -> AnswerOptions:
    """The common fields; afterwards nothing may be left over."""
    stream = bool(fields.boolean("stream"))
    options = AnswerOptions(
        model=parse_model(fields),
        sampling=parse_sampling(fields, defaults),
        max_tokens=max_tokens,
        n=fields.integer("n", 1, MAX_CHOICES) or 1,
        stop=parse_stop(fields),
        logprobs=logprobs,
        stream=stream,
        include_usage=parse_stream_options(fields, stream),
        adapt=parse_adapt(fields),
    )
    fields.accept(*NO_EFFECT)
    fields.finish()
    return options


def parse_model(fields: Fields) -> str:
    model = fields.string("model")
    return fields.required("model") if model is None else model


def parse_sampling(fields: Fields, defaults: Sampling) -> Sampling:
    def given(value: Any, default: Any) -> Any:
        return default if value is None else value

    return Sampling(
        temperature=given(fields.number("temperature", 0, 2), defaults.temperature),
        top_p=given(fields.number("top_p", 0, 1), defaults.top_p),
        top_k=given(fields.integer("top_k", 0, 2**31 - 1), defaults.top_k),
        min_p=given(fields.number("min_p", 0, 1), defaults.min_p),
        typical_p=given(fields.number("typical_p", 0, 1), defaults.typical_p),
        repeat_penalty=given(fields.number("repeat_penalty", 0.01, 10), defaults.repeat_penalty),
        presence_penalty=given(fields.number("presence_penalty", -2, 2), defaults.presence_penalty),
        frequency_penalty=given(fields.number("frequency_penalty", -2, 2), defaults.frequency_penalty),
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        logit_bias=parse_logit_bias(fields),
        grammar=fields.string("grammar") or None,
    )


def parse_logit_bias(fields: Fields) -> tuple[tuple[int, float], ...]:
    given = fields.object("logit_bias")
    if given is None:
        return ()
    tokens = list(given.waiting)
    for token in tokens:
        if not (token.isascii() and token.isdigit() and len(token) <= 9):
            raise fields.bad("logit_bias", f"want token ids as keys, got {token!r}", "invalid_value")
    return tuple((int(token), given.number(token, -100, 100) or 0.0) for token in tokens)


def parse_stop(fields: Fields) -> tuple[str, ...]:
    given = fields.take("stop")
    stops = [given] if isinstance(given, str) else given if given is not None else []
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise fields.bad("stop", "want a non-empty string or a list of them", "invalid_type")
    if len(stops) > MAX_STOPS:
        raise fields.bad("stop", f"want at most {MAX_STOPS} strings, got {len(stops)}", "invalid_value")
    return tuple(stops)


def parse_stream_options(fields: Fields, stream: bool) -> bool:
    """Whether usage is to be streamed."""
    options = fields.object("stream_options")
    if options is None:
        return False
    if not stream:
        raise fields.bad("stream_options", "only allowed when stream is true")
    include_usage = bool(options.boolean("include_usage"))
    options.accept("include_obfuscation")  # pads packets against eavesdroppers; we stream plainly, over loopback
    options.finish()
    return include_usage


def parse_adapt(fields: Fields) -> AdaptOptions:
    given = fields.object("et2l")
    if given is None:
        return AdaptOptions()
    task = given.string("task")
    if task is not None and not task.strip():
        raise given.bad("task", "want a task description, got an empty string")
    options = AdaptOptions(
        task=task,
        on_miss=given.choice("on_miss", "wait", "base", "require"),  # type: ignore[arg-type]
        strip=given.boolean("strip"),
        budget_ms=given.integer("budget_ms", 0, 3_600_000),
    )
    given.finish()
    return options


def parse_prompts(fields: Fields) -> tuple[str | tuple[int, ...], ...]:
    given = fields.required("prompt")
    if isinstance(given, str) or (isinstance(given, list) and given and all(type(one) is int for one in given)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise fields.bad("prompt", "want a string, a list of strings, token ids, or a list of those", "invalid_type")
    prompts: list[str | tuple[int, ...]] = []
    for one in given:
        if isinstance(one, str):
            prompts.append(one)
        elif isinstance(one, list) and one and all(type(token) is int and token >= 0 for token in one):
            prompts.append(tuple(one))
        else:
            raise fields.bad("prompt", "want strings or non-empty lists of token ids", "invalid_type")
    if len(prompts) > MAX_CHOICES:
        raise fields.bad("prompt", f"want at most {MAX_CHOICES} prompts, got {len(prompts)}", "invalid_value")
    return tuple(prompts)


def parse_chat_logprobs(fields: Fields) -> int | None:
    wanted = fields.boolean("logprobs")
    top = fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS)
    if top and not wanted:
        raise fields.bad("top_logprobs", "only allowed when logprobs is true")
    return (top or 0) if wanted else None


# --- messages -----------------------------------------------------------------------------------------------


def parse_message(fields: Fields) -> Message:
    role = fields.choice("role", "system", "developer", "user", "assistant", "tool", "function")
    if role is None:
        fields.required("role")
    if role == "function":
        raise fields.bad("role", "not supported here: deprecated by OpenAI; use role tool", "unsupported_value")
    calls = tuple(parse_tool_call(call) for call in fields.objects("tool_calls")) if role == "assistant" else ()
    if "content" not in fields.waiting and not calls and fields.waiting.get("refusal") is None:
        fields.required("content")
    content = parse_content(fields, role or "")
    if role == "assistant":
        content = content or fields.string("refusal") or ""
        fields.accept("refusal", "annotations")  # annotations: links the API adds to answers that searched the web
        fields.refuse("audio", "this model reads text only")
        fields.refuse("function_call", "deprecated by OpenAI; use tool_calls")
    if role == "tool":
        fields.string("tool_call_id")  # the template has no place for it: results follow the calls in order
    fields.accept("name")  # nor for names
    fields.finish()
    return Message("system" if role == "developer" else role, content, calls)  # type: ignore[arg-type]


def parse_content(fields: Fields, role: str) -> str:
    given = fields.waiting.get("content")
    if given is None or isinstance(given, str):
        return fields.take("content") or ""
    texts = []
    for part in fields.objects("content"):
        kind = part.string("type")
        if kind not in ("text", "refusal") or (kind == "refusal" and role != "assistant"):
            raise part.bad("type", f"this model reads text only, got a part of type {kind!r}", "unsupported_value")
        text = part.string(kind)
        if text is None:
            part.required(kind)
        part.accept("prompt_cache_breakpoint")
        part.finish()
        texts.append(text or "")
    return "\n".join(texts)


def parse_tool_call(fields: Fields) -> ToolCall:
    fields.choice("type", "function")
    call_id = fields.string("id") or ""
    function = fields.object("function")
    if function is None:
        raise fields.bad("function", "want the function that was called")
    fields.accept("index")  # left in by clients that collect a stream
    fields.finish()
    name, arguments = function.string("name"), function.string("arguments")
    if not name:
        raise function.bad("name", "want the function's name")
    function.finish()
    return ToolCall(call_id, name, arguments or "{}")


# --- tools and formats --------------------------------------------------------------------------------------


def parse_tool_use(fields: Fields) -> ToolUse:
    tools = tuple(parse_tool(tool) for tool in fields.objects("tools"))
    parallel = fields.boolean("parallel_tool_calls")
    raw = fields.take("tool_choice")
    if not tools:
        if raw not in (None, "none", "auto"):
            raise fields.bad("tool_choice", "only allowed when tools are given")
        return ToolUse()
    names = [tool.name for tool in tools]
    if len(set(names)) != len(names):
        raise fields.bad("tools", "two tools have the same name", "invalid_value")
    choice, named = "auto" if raw is None else raw, False
    if isinstance(raw, dict):
        chosen = Fields(raw, "tool_choice")
        if chosen.string("type") != "function":
            raise fields.bad(
                "tool_choice", 'of the object forms, only type "function" is supported', "unsupported_value"
            )
        function = chosen.object("function")
        choice, named = (function.string("name") if function else None), True
        if choice not in names:
            raise fields.bad("tool_choice", f"names {choice!r}; the tools are {', '.join(names)}", "invalid_value")
    elif choice not in ("auto", "none", "required"):
        raise fields.bad("tool_choice", f"want auto, none, required or a function, got {choice!r}", "invalid_value")
    return ToolUse(tools, choice, named, parallel is not False)


def parse_tool(fields: Fields) -> Tool:
    if fields.choice("type", "function") is None:
        fields.required("type")
    function = fields.object("function")
    if function is None:
        raise fields.bad("function", "want the function's definition")
    fields.finish()
    name, description = function.string("name"), function.string("description")
    if not name:
        raise function.bad("name", "want the function's name")
    schema = function.take("parameters")
    if schema is not None and not isinstance(schema, dict):
        raise function.bad("parameters", "want a JSON schema object", "invalid_type")
    strict = bool(function.boolean("strict"))
    function.finish()
    return Tool(name, description, {"type": "object", "properties": {}} if schema is None else schema, strict)


def parse_response_format(fields: Fields) -> JsonAnswer | None:
    given = fields.object("response_format")
    if given is None:
        return None
    kind = given.choice("type", "text", "json_object", "json_schema")
    if kind is None:
        given.required("type")
    schema = None
    if kind == "json_schema":
        wrapped = given.object("json_schema")
        if wrapped is None:
            raise given.bad("json_schema", "want the schema")
        wrapped.string("name")
        wrapped.string("description")
        wrapped.boolean("strict")  # the schema is always enforced
        schema = wrapped.take("schema")
        if not isinstance(schema, dict):
            raise wrapped.bad("schema", "want a JSON schema object", "invalid_type")
        wrapped.finish()
    given.finish()
    return None if kind == "text" else JsonAnswer(schema)


# --- adapters -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AdapterRequest:
    """A task, and optionally which skills to use and how much of each."""

    task: str
    skills: tuple[str, ...] | None
    weights: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """vLLM's load_lora_adapter: a PEFT folder and the model name it is to have."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody thought of an adapter's answers. rating in [-1, 1]; skills: which were rightly used."""

    adapter: str
    rating: float
    skills: Mapping[str, bool]


def parse_adapter_request(body: bytes) -> AdapterRequest:
    fields = parse_object(body)
    task = parse_text(fields, "task")
    skills = fields.take("skills")
    if skills is not None and not (isinstance(skills, list) and skills and all(type(s) is str for s in skills)):
        raise fields.bad("skills", "want a non-empty list of skill names", "invalid_type")
    given = fields.object("weights")
    if given is not None and not given.waiting:
        raise fields.bad("weights", "want at least one skill's weight, or leave it out", "invalid_value")
    weights = {name: given.number(name, 0, 1e6) or 0.0 for name in list(given.waiting)} if given else None
    fields.finish()
    return AdapterRequest(task, tuple(skills) if skills else None, weights)


def parse_load_lora(body: bytes) -> LoadRequest:
    fields = parse_object(body)
    name, path = parse_text(fields, "lora_name"), parse_text(fields, "lora_path")
    if "@" in name or not name.isprintable():
        raise fields.bad("lora_name", "want a printable name without '@'")
    fields.refuse("load_inplace", "unload the old one first")
    fields.accept("lora_int_id", "base_model_name")  # vLLM's own bookkeeping
    fields.finish()
    return LoadRequest(name, path)


def parse_unload_lora(body: bytes) -> str:
    fields = parse_object(body)
    name = parse_text(fields, "lora_name")
    fields.accept("lora_int_id")
    fields.finish()
    return name


def parse_feedback(body: bytes) -> Feedback:
    fields = parse_object(body)
    adapter = parse_text(fields, "adapter")
    rating = fields.number("rating", -1, 1)
    if rating is None:
        fields.required("rating")
    given = fields.object("skills")
    skills = {name: bool(given.boolean(name)) for name in list(given.waiting)} if given else {}
    fields.finish()
    return Feedback(adapter, rating or 0.0, skills)


def parse_text(fields: Fields, field: str) -> str:
    """A required string with something in it."""
    text = fields.string(field)
    if text is None:
        fields.required(field)
    if not text or not text.strip():
        raise fields.bad(field, "want a non-empty string")
    return text.strip()
