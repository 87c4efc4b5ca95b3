"""Tool calls in the model's own words: `<tool_call>\\n{"name": ..., "arguments": {...}}\\n</tool_call>`.

Two directions: the grammar that holds an answer to that form, and the reader that finds the calls in an
answer while it streams. The form is that of the Qwen and Hermes chat templates; the template itself tells the
model about it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from proxy.bodies import Message, Tool, ToolUse
from proxy.engine.gbnf import NO_NAMES
from proxy.fields import whole_characters

OPEN, CLOSE = "<tool_call>", "</tool_call>"


def template_tools(tool_use: ToolUse) -> list[dict[str, Any]] | None:
    """The tools as chat templates want them; None where the model is to know of none."""
    if not tool_use.tools or tool_use.choice == "none":
        return None
    return [{"type": "function", "function": describe(tool)} for tool in tool_use.tools]


def describe(tool: Tool) -> dict[str, Any]:
    about = {"description": tool.description} if tool.description is not None else {}
    return {"name": tool.name, **about, "parameters": dict(tool.schema)}


def template_message(message: Message) -> dict[str, Any]:
    """A message as chat templates want it: arguments are an object there, a JSON text at OpenAI."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": template_arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return turn


def template_arguments(text: str) -> Any:
    """The object that the text stands for; a text that is none, which a model may have said, as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


# --- grammar ------------------------------------------------------------------------------------------------


def call_grammar(
    tool_use: ToolUse, json_grammar: Callable[[Mapping[str, Any]], str], answer: str | None = None
) -> str | None:
    """GBNF for an answer that uses the tools; None where any text will do.

    Forced calls (required, or one named) leave no other text. With tool_choice auto, a strict tool makes
    every call well-formed, and text before it free. json_grammar: GBNF, start symbol `root`, of a JSON
    schema. answer: the GBNF that an answer without calls must follow, by response_format.
    """
    forced = tool_use.named or tool_use.choice == "required"
    strict = any(tool.strict for tool in tool_use.tools)
    if not tool_use.tools or tool_use.choice == "none" or not (forced or strict or answer):
        return answer
    tools = [tool for tool in tool_use.tools if not tool_use.named or tool.name == tool_use.choice]
    rules = [f'body ::= "\\n" ({" | ".join(f"call{i}" for i in range(len(tools)))}) "\\n{CLOSE}"']
    rules.append(f'call ::= "{OPEN}" body')
    rules.append('further ::= ("\\n" call)*' if tool_use.parallel else 'further ::= ""')
    for index, tool in enumerate(tools):
        head = gbnf_literal('{"name": ' + json.dumps(tool.name) + ', "arguments": ')
        rules.append(f'call{index} ::= {head} arg{index}-root "}}"')
        rules.append(rename_rules(json_grammar(tool.schema), f"arg{index}-"))
    if answer and not forced:
        start = ["root ::= call further | answer-root", rename_rules(answer, "answer-")]
    else:
        start = ["root ::= call further"] if forced else ["root ::= text0", *free_text_rules()]
    return "\n".join([*start, *rules]) + "\n"


def free_text_rules() -> list[str]:
    """Any text; where it comes to say OPEN, a call's body and `further` must follow.

    text<k>: the last k characters are the first k of OPEN. No other prefix of OPEN ends in one of its
    prefixes, so a mismatch falls back to text0, or to text1 on "<".
    """
    rules = ['text0 ::= "" | [^<] text0 | "<" text1']
    for seen in range(1, len(OPEN)):
        then = f"text{seen + 1}" if seen + 1 < len(OPEN) else "body further"
        wanted = OPEN[seen]
        rules.append(f'text{seen} ::= "" | [^<{wanted}] text0 | "<" text1 | "{wanted}" {then}')
    return rules


def gbnf_literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def rename_rules(grammar: str, prefix: str) -> str:
    """The grammar with `prefix` before every rule's name; literals, character classes and comments stay."""
    token = re.compile(NO_NAMES + r"|(?P<rule>[A-Za-z][\w-]*)")
    return token.sub(lambda found: prefix + found["rule"] if found["rule"] else found[0], grammar)


# --- reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Called:
    """A call the model made."""

    name: str
    arguments: str


class ToolCallReader:
    """Splits an answer, as it streams, into text and calls. One per answer.

    Qwen2.5-Coder often leaves the tags out and says the JSON alone, or fenced as code: an answer that begins
    like a call is held back until it ends or turns out to be something else. What only looks like a call (no
    JSON, a function nobody offered) is handed out as the text it is.
    """

    def __init__(self, names: frozenset[str], parallel: bool = True) -> None:
        """names: the functions offered. parallel: whether one answer may make several calls."""
        self.names = names
        self.parallel = parallel
        self.held = ""
        self.state: Literal["start", "text", "call"] = "start"
        self.calls = 0

    def feed(self, text: str, *, last: bool = False) -> list[str | Called]:
        """The next pieces. With `last`, nothing is held back: an unclosed call counts if it is whole."""
        self.held += text
        if self.state == "start":
            if self.begins_untagged():
                return self.end_untagged() if last else []
            self.state = "text"
        pieces = self.split_tagged()
        if last:
            pieces.append(self.read(self.held, "") if self.state == "call" else self.held)
            self.held = ""
        elif self.state == "text":
            keep = partial_mark(self.held)
            pieces.append(self.held[: len(self.held) - keep])
            self.held = self.held[len(self.held) - keep :]
        return [piece for piece in pieces if isinstance(piece, Called) or self.wanted(piece)]

    def split_tagged(self) -> list[str | Called]:
        """The pieces up to the last complete mark; what follows it stays held."""
        pieces: list[str | Called] = []
        while True:
            mark = CLOSE if self.state == "call" else OPEN
            before, found, after = self.held.partition(mark)
            if not found:
                return pieces
            pieces.append(self.read(before, CLOSE) if self.state == "call" else before)
            self.state, self.held = "text" if self.state == "call" else "call", after

    def wanted(self, text: str) -> bool:
        """White space between and after calls is part of their form, not of the answer."""
        return bool(text) and not (self.calls and text.isspace())

    def read(self, body: str, closing: str) -> str | Called:
        """The call between the tags, or else the text that stood there."""
        try:
            call = self.call_of(json.loads(body))
        except (ValueError, RecursionError):
            return OPEN + body + closing
        self.calls += 1
        return call

    def call_of(self, raw: Any) -> Called:
        """Raises ValueError, and RecursionError for what is nested too deep."""
        name = raw.get("name") if isinstance(raw, dict) else None
        if not isinstance(name, str) or name not in self.names:
            raise ValueError("not a call of an offered function")
        arguments = whole_characters(raw.get("arguments") or {})
        said = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        if not isinstance(json.loads(said), dict):
            raise ValueError("arguments are no object")
        return Called(name, said)

    def begins_untagged(self) -> bool:
        """Whether all that was said so far may be the beginning of calls without tags."""
        said = "".join(self.held.split()).removeprefix("```json")
        if "```json".startswith(said):
            return True
        heads = [f'{{"name":{json.dumps(name)},"arguments":'.replace(" ", "") for name in self.names]
        return any(head.startswith(said) or said.startswith(head) for head in heads)

    def end_untagged(self) -> list[str | Called]:
        """The calls of an answer that is nothing but calls without tags; else its text."""
        whole, self.held = self.held, ""
        rest = whole.strip().removeprefix("```json").removesuffix("```").strip()
        calls: list[str | Called] = []
        try:
            while rest:
                raw, end = json.JSONDecoder().raw_decode(rest)
                calls.append(self.call_of(raw))
                rest = rest[end:].strip().removeprefix(",").strip()
        except (ValueError, RecursionError):
            calls = []
        calls = calls if self.parallel else calls[:1]
        self.calls = len(calls)
        return calls or ([whole] if whole else [])


def partial_mark(text: str) -> int:
    """How many characters at the end of `text` may be the beginning of OPEN."""
    for length in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if text.endswith(OPEN[:length]):
            return length
    return 0
