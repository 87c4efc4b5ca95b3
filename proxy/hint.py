"""What the client wants done: the task hint of a request. Knows no HTTP and no adapters.

Only system messages are read, never what a user or a tool said: a web page pasted into a conversation must
not choose the adapter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from proxy.bodies import Message
from proxy.config import HintConfig

# Each pattern is linear in the length of the prompt: a client chooses the text they run on.
OPEN, CLOSE = re.compile(r"<task>", re.IGNORECASE), re.compile(r"</task>", re.IGNORECASE)
LINE = re.compile(r"^[ \t]*(?:task|任务)[ \t]*[:：][ \t]*(?P<task>[^\s][^\n]*)(?:\n|\Z)", re.MULTILINE | re.IGNORECASE)
# What assistants put into their system prompts and what changes from turn to turn: dates, times, ids.
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:Mon|Tue(?:s)?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_SECONDS = r"(?::\d{2}(?:[.,]\d{1,9})?)?"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
VOLATILE = re.compile(
    r"\b(?:"
    rf"\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]\d{{2}}:\d{{2}}{_SECONDS}{_ZONE})?(?![\w-])(?: is (?:a )?{_WEEKDAY}\b)?"
    rf"|\d{{1,2}}:\d{{2}}{_SECONDS}(?: ?[AP](?:M\b|\.M\.))?{_ZONE}(?!\w)"
    rf"|(?:{_WEEKDAY},? )?(?:{_MONTH} {_DAY},? \d{{4}}|{_DAY} {_MONTH},? \d{{4}})\b"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)",
    re.IGNORECASE,
)
LONGEST_WORD = 64
"""Characters that a word of a hint has at most, on the mean."""
# Scripts written without spaces count one word per character.
WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\s぀-ヿ㐀-鿿가-힯]+")


@dataclass(frozen=True, slots=True)
class Hinted:
    """A conversation and the task found for it. `task` is None where nothing names one."""

    task: str | None
    origin: Literal["field", "header", "tag", "line", "system", "none"]
    messages: tuple[Message, ...]


def read_hint(
    messages: Sequence[Message], *, field: str | None, header: str | None, strip: bool, config: HintConfig
) -> Hinted:
    """The task, from the first place that names one: request field, header, <task>...</task>, a line `Task:
    ...`, and, where config.use_system_prompt, the first config.max_words of the system prompt itself, without dates and
    the like (`steady`).

    strip: take a <task> or `Task:` mark out of its message; everything else stays byte for byte, and a
    message left empty stays (without a system message the chat template would put its own default there).
    """
    messages = tuple(messages)
    if field is not None:
        return Hinted(field, "field", messages)
    if header is not None:
        return Hinted(header, "header", messages)
    for origin, find in (("tag", find_tag), ("line", find_line)):
        for index, message in enumerate(messages):
            mark = find(message.content) if message.role == "system" else None
            if mark:
                if strip:
                    rest = message.content[: mark.start] + message.content[mark.end :]
                    messages = (*messages[:index], replace(message, content=rest), *messages[index + 1 :])
                return Hinted(mark.task, origin, messages)
    if config.use_system_prompt:
        prompt = "\n".join(message.content for message in messages if message.role == "system").strip()
        if prompt:
            # Half of the words may be dates. The rest is never used, and four megabytes of it would take seconds.
            start = first_words(prompt[: longest_hint(config)], 2 * config.max_words)
            return Hinted(first_words(steady(start), config.max_words), "system", messages)
    return Hinted(None, "none", messages)


def longest_hint(config: HintConfig) -> int:
    """Characters that a hint has at most: an unmarked one is cut there, a marked one past it is refused."""
    return LONGEST_WORD * config.max_words


@dataclass(frozen=True, slots=True)
class Mark:
    """A marked task, and the stretch of its message that says it."""

    task: str
    start: int
    end: int


def find_tag(text: str) -> Mark | None:
    """The first <task>...</task> with something in it."""
    opening = OPEN.search(text)
    while opening:
        closing = CLOSE.search(text, opening.end())
        if not closing:
            return None
        task = text[opening.end() : closing.start()].strip()
        if task:
            return Mark(task, opening.start(), closing.end())
        opening = OPEN.search(text, closing.end())
    return None


def find_line(text: str) -> Mark | None:
    """The first line `Task: ...` with something in it."""
    line = LINE.search(text)
    return Mark(line["task"].strip(), line.start(), line.end()) if line else None


def steady(text: str) -> str:
    """The text without dates, times and UUIDs: a conversation keeps its adapter, and with it its KV cells, when its
    system prompt tells the time in every turn. A text of nothing else stays.
    """
    rest = VOLATILE.sub("", text)
    return rest if WORD.search(rest) else text


def first_words(text: str, limit: int) -> str:
    """The first `limit` words of `text`, as they stand there."""
    for count, word in enumerate(WORD.finditer(text), start=1):
        if count == limit:
            return text[: word.end()].strip()
    return text.strip()
