"""Reading one JSON object field by field: each is taken by name and type, and what is left over is refused.

`null` counts as absent, as it does for OpenAI. Every refusal is a BadRequest that carries the field's path.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from proxy.errors import BadRequest


def parse_object(body: bytes) -> Fields:
    """The body as a JSON object. Raises BadRequest."""
    try:
        raw = json.loads(body)
        raw = whole_characters(raw) if _HALF.search(body) else raw
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"We could not parse the JSON body of your request: {exc}") from exc
    return Fields(raw)


_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
"""Halves of characters beyond U+FFFF, as JSON escapes or in the bytes; most come in pairs."""


def whole_characters(raw: Any) -> Any:
    """Lone surrogates (a text cut within an emoji) become U+FFFD: no encoder and no tokenizer takes them."""
    if isinstance(raw, str):
        return raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(raw, list):
        return [whole_characters(one) for one in raw]
    if isinstance(raw, dict):
        return {whole_characters(name): whole_characters(value) for name, value in raw.items()}
    return raw


class Fields:
    """One JSON object, some of its fields taken, the others waiting. `path` is its own place, e.g.
    "messages[0]".
    """

    def __init__(self, raw: Any, path: str = "") -> None:
        if not isinstance(raw, Mapping):
            raise BadRequest(f"{path or 'The request body'}: want a JSON object, got {kind(raw)}", param=path or None)
        self.path = path
        self.waiting = {name: value for name, value in raw.items() if value is not None}

    def name(self, field: str) -> str:
        return f"{self.path}.{field}" if self.path else field

    def bad(self, field: str, problem: str, code: str | None = None) -> BadRequest:
        return BadRequest(f"{self.name(field)}: {problem}", param=self.name(field), code=code)

    def take(self, field: str) -> Any:
        """The raw value, or None."""
        return self.waiting.pop(field, None)

    def required(self, field: str) -> Any:
        if field not in self.waiting:
            raise BadRequest(
                f"Missing required parameter: '{self.name(field)}'.",
                param=self.name(field),
                code="missing_required_parameter",
            )
        return self.take(field)

    def number(self, field: str, low: float, high: float) -> float | None:
        value = self.take(field)
        if value is None:
            return None
        if type(value) not in (int, float) or (type(value) is float and not math.isfinite(value)):
            raise self.bad(field, f"want a number, got {kind(value)}", "invalid_type")
        if not low <= value <= high:
            raise self.bad(field, f"want a number from {low} to {high}, got {value}", "invalid_value")
        return float(value)

    def integer(self, field: str, low: int, high: int) -> int | None:
        value = self.take(field)
        if value is None:
            return None
        if type(value) is not int:
            raise self.bad(field, f"want a whole number, got {kind(value)}", "invalid_type")
        if not low <= value <= high:
            raise self.bad(field, f"want a whole number from {low} to {high}, got {value}", "invalid_value")
        return value

    def boolean(self, field: str) -> bool | None:
        value = self.take(field)
        if value is not None and type(value) is not bool:
            raise self.bad(field, f"want true or false, got {kind(value)}", "invalid_type")
        return value

    def string(self, field: str) -> str | None:
        value = self.take(field)
        if value is not None and type(value) is not str:
            raise self.bad(field, f"want a string, got {kind(value)}", "invalid_type")
        return value

    def choice(self, field: str, *values: str) -> str | None:
        value = self.string(field)
        if value is not None and value not in values:
            raise self.bad(field, f"want one of {', '.join(values)}, got {value!r}", "invalid_value")
        return value

    def items(self, field: str) -> list[Any]:
        """A list, empty where the field is absent."""
        value = self.take(field)
        if value is not None and type(value) is not list:
            raise self.bad(field, f"want a list, got {kind(value)}", "invalid_type")
        return value or []

    def objects(self, field: str) -> list[Fields]:
        return [Fields(item, f"{self.name(field)}[{index}]") for index, item in enumerate(self.items(field))]

    def object(self, field: str) -> Fields | None:
        value = self.take(field)
        return None if value is None else Fields(value, self.name(field))

    def accept(self, *fields: str) -> None:
        """Take fields that change nothing here."""
        for field in fields:
            self.waiting.pop(field, None)

    def refuse(self, field: str, why: str) -> None:
        """Refuse a field that this server knows and does not support."""
        if field in self.waiting:
            raise self.bad(field, f"not supported here: {why}", "unsupported_parameter")

    def finish(self) -> None:
        """Refuse whatever nobody took."""
        for field in self.waiting:
            raise BadRequest(
                f"Unrecognized request argument supplied: {self.name(field)}",
                param=self.name(field),
                code="unknown_parameter",
            )


def kind(value: Any) -> str:
    """The JSON name of a value's type, for messages."""
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")
