"""An adapter's card: how it came to be, as a typed value and as JSON. Knows no files and no tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

CARD_VERSION = 1


@dataclass(frozen=True, slots=True)
class CardQuality:
    """Q(d) of a task description and its five parts, each in [0, 1] (t2l/quality.py)."""

    total: float
    length: float
    structure: float
    vocabulary: float
    clarity: float
    specificity: float


@dataclass(frozen=True, slots=True)
class Card:
    """What was asked, what was made of it, from what, by what.

    source: "generated", "composed" (from adapters named in parents) or "loaded" (a file somebody gave).
    skills: score of each skill found, in [0, 1]; weights: its share in the composition.
    parents: digests of adapters this one was composed of. versions: digest or version of each part that
    made it. created: seconds since 1970. timings_ms: by step.
    """

    source: str
    base_name: str
    base_digest: str
    created: float
    hint: str = ""
    enhanced: str = ""
    q_before: CardQuality | None = None
    q_after: CardQuality | None = None
    skills: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values, with the version of this layout."""
        return {"card_version": CARD_VERSION} | asdict(self)

    def to_text(self) -> str:
        """The same as text, for people and for files."""
        return json.dumps(self.to_json(), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, raw: object) -> Card:
        """The card in what `to_json` gave; further keys are ignored. Raises ValueError, naming the key."""
        if not isinstance(raw, dict):
            raise ValueError(f"a card is a JSON object, not {type(raw).__name__}")
        if raw.get("card_version") != CARD_VERSION:
            raise ValueError(f"card_version is {raw.get('card_version')!r}, want {CARD_VERSION}")
        known = {f.name: _READERS[f.name](f.name, raw[f.name]) for f in fields(cls) if f.name in raw}
        missing = {"source", "base_name", "base_digest", "created"} - known.keys()
        if missing:
            raise ValueError(f"the card lacks {', '.join(sorted(missing))}")
        return cls(**known)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, want a string")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is {value!r}, want a number")
    return float(value)


def _items(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}, want an object")
    return value


def _numbers(name: str, value: object) -> dict[str, float]:
    return {key: _number(f"{name}.{key}", item) for key, item in _items(name, value).items()}


def _texts(name: str, value: object) -> dict[str, str]:
    return {key: _text(f"{name}.{key}", item) for key, item in _items(name, value).items()}


def _digests(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} is {value!r}, want a list")
    return tuple(_text(name, item) for item in value)


def _quality(name: str, value: object) -> CardQuality | None:
    if value is None:
        return None
    parts = _numbers(name, value)
    want = [f.name for f in fields(CardQuality)]
    if parts.keys() != set(want):
        raise ValueError(f"{name} has {sorted(parts)}, want {want}")
    return CardQuality(**parts)


_READERS = {
    "source": _text,
    "base_name": _text,
    "base_digest": _text,
    "created": _number,
    "hint": _text,
    "enhanced": _text,
    "q_before": _quality,
    "q_after": _quality,
    "skills": _numbers,
    "weights": _numbers,
    "parents": _digests,
    "timings_ms": _numbers,
    "versions": _texts,
}
