"""The basic skills: reads `skills.toml` into values and matches their keywords. Knows no model.

A skill is data. A new one is a new table in that file; nothing is trained and no code changes.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_SKILLS = Path(__file__).with_name("skills.toml")
TASK_SLOT = "{task}"
TASK = "task"
"""The candidate beside the skills: the adapter generated for the enhanced task description itself."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LETTER = re.compile(r"[^\W_]")


class SkillsError(Exception):
    """`skills.toml` cannot be used; the message names the key and what was expected."""


@dataclass(frozen=True, slots=True)
class Keyword:
    """One thing to look for. weight: in (0, 1] evidence for the skill, in [-1, 0) against it."""

    source: str
    pattern: re.Pattern[str]
    weight: float


@dataclass(frozen=True, slots=True)
class Skill:
    """One basic skill.

    template: what the hypernetwork is given, with `{task}` where the task goes.
    action, goal: by language ("en", "zh"), how the enhancer opens a hint without a verb, and the outcome it names.
    exemplars: tasks that need this skill, for SemSim.
    activity: the words that name the skill itself; refused in a hint ("no code"), they exclude the skill.
    tau: a hint needs the skill when its score is greater.
    gain: what the skill's own adapter gained over the base model on dev tasks, in nats per answer token
    (0 = not measured); the composer starts from it.
    """

    name: str
    template: str
    action: Mapping[str, str]
    goal: Mapping[str, str]
    exemplars: tuple[str, ...]
    keywords: tuple[Keyword, ...]
    activity: re.Pattern[str]
    tau: float
    gain: float

    def candidate(self, task: str) -> str:
        """The text whose embedding the hypernetwork turns into this skill's adapter for this task."""
        return self.template.replace(TASK_SLOT, task)

    def matched(self, text: str) -> tuple[Keyword, ...]:
        """The keywords found in a text that `language.plain` has folded, each once."""
        return tuple(keyword for keyword in self.keywords if keyword.pattern.search(text))

    def key_match(self, text: str) -> float:
        """Evidence in [0, 1]: 1 - prod(1 - w) over the keywords found, less the weights against.

        Noisy-or: two fair hints count about as one strong one, and a longer list does not dilute a short one.
        """
        doubt, against = 1.0, 0.0
        for keyword in self.matched(text):
            if keyword.weight > 0:
                doubt *= 1 - keyword.weight
            else:
                against -= keyword.weight
        return max(0.0, 1 - doubt - against)


@dataclass(frozen=True, slots=True)
class SkillSet:
    """All skills of one file, in its order, and its identity for cache keys."""

    background: tuple[str, ...]
    """Exemplars of hints that need no skill at all."""
    form: re.Pattern[str]
    """Words that say how to answer and nothing of what."""
    skills: tuple[Skill, ...]
    digest: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(skill.name for skill in self.skills)

    def says_only_how(self, text: str) -> bool:
        """Whether a text that `language.plain` has folded names a form for the answer and no task."""
        return not _LETTER.search(self.form.sub("", text))

    def pick(self, names: Sequence[str]) -> tuple[Skill, ...]:
        """The skills of those names, in the file's order. Raises SkillsError for one that does not exist."""
        unknown = sorted(set(names) - set(self.names))
        if unknown:
            raise SkillsError(f"unknown skill {', '.join(unknown)}: there are {', '.join(self.names)}")
        return tuple(skill for skill in self.skills if skill.name in names)


def load_skills(path: Path | None = None) -> SkillSet:
    """Read a skills file; None = the packaged one. Raises SkillsError."""
    path = path or DEFAULT_SKILLS
    try:
        content = path.read_bytes()
        tables = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SkillsError(f"{path}: {exc}") from exc
    weights = _weights(tables.pop("weights", None))
    background, form = _background(tables.pop("background", None))
    if not tables:
        raise SkillsError(f"{path.name}: no skill in it")
    skills = tuple(_skill(name, table, weights) for name, table in tables.items())
    return SkillSet(background, form, skills, hashlib.sha256(content).hexdigest())


def compile_keyword(source: str) -> re.Pattern[str]:
    """`/regular expression/`; else a word or phrase: Latin letters match whole words, a `*` any word ending.

    Chinese has no word boundaries and matches anywhere. Spaces match any white space or hyphen.
    """
    if len(source) > 2 and source.startswith("/") and source.endswith("/"):
        return re.compile(source[1:-1], re.IGNORECASE)
    body = r"[\s\-]+".join(re.escape(part).replace(r"\*", r"[a-z]*") for part in source.split())
    before = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", source, re.IGNORECASE) else ""
    after = r"(?![a-z0-9])" if re.search(r"[a-z0-9*]$", source, re.IGNORECASE) else ""
    return re.compile(before + body + after, re.IGNORECASE)


def _any_of(key: str, sources: Sequence[str]) -> re.Pattern[str]:
    """Where several match, the longest does. Fit to stand inside another pattern."""
    alternatives = []
    for source in sorted(sources, key=len, reverse=True):
        try:
            alternatives.append(re.compile(f"(?:{compile_keyword(source).pattern})").pattern)
        except re.error as exc:
            raise SkillsError(f"{key}: {source!r} is no regular expression: {exc}") from exc
    return re.compile("|".join(alternatives) or r"(?!)", re.IGNORECASE)


def _weights(table: Any) -> dict[str, float]:
    if not isinstance(table, dict) or not table:
        raise SkillsError("[weights]: expected a table of keyword classes and their weights")
    for name, weight in table.items():
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < abs(weight) <= 1:
            raise SkillsError(f"weights.{name}: expected a number in [-1, 1] other than 0, not {weight!r}")
    return table


def _background(table: Any) -> tuple[tuple[str, ...], re.Pattern[str]]:
    if not isinstance(table, dict) or not {"exemplars"} <= set(table) <= {"exemplars", "form"}:
        raise SkillsError("[background]: expected a table with exemplars, and with form or without")
    form = _texts("background.form", table.get("form", []))
    return _texts("background.exemplars", table["exemplars"]), _any_of("background.form", form)


def _skill(name: str, table: Any, weights: Mapping[str, float]) -> Skill:
    if not _NAME.fullmatch(name) or not isinstance(table, dict):
        raise SkillsError(f"{name}: expected a table with a name of small letters, digits and underscores")
    if name == TASK:
        raise SkillsError(f"{name}: that is what the task as a whole is called; name the skill otherwise")
    expected = {"template", "action", "goal", "exemplars", "keywords", "activity", "tau", "gain"}
    if odd := sorted(table.keys() ^ expected):
        problem = "missing" if odd[0] in expected else f"unknown; there are {', '.join(sorted(expected))}"
        raise SkillsError(f"{name}.{odd[0]}: {problem}")
    template = _text(f"{name}.template", table["template"])
    if TASK_SLOT not in template:
        raise SkillsError(f"{name}.template: expected {TASK_SLOT} where the task goes, in {template!r}")
    exemplars = _texts(f"{name}.exemplars", table["exemplars"])
    if not exemplars:
        raise SkillsError(f"{name}.exemplars: expected at least one")
    activity = _texts(f"{name}.activity", table["activity"])
    return Skill(
        name,
        template,
        _by_language(f"{name}.action", table["action"]),
        _by_language(f"{name}.goal", table["goal"]),
        exemplars,
        _keywords(name, table["keywords"], weights),
        _any_of(f"{name}.activity", activity),
        _number(f"{name}.tau", table["tau"], 0, 1),
        _number(f"{name}.gain", table["gain"], -10, 10),
    )


def _keywords(name: str, table: Any, weights: Mapping[str, float]) -> tuple[Keyword, ...]:
    if not isinstance(table, dict):
        raise SkillsError(f"{name}.keywords: expected a table of keyword classes")
    found: dict[str, Keyword] = {}
    for kind, sources in table.items():
        if kind not in weights:
            raise SkillsError(f"{name}.keywords.{kind}: no such class in [weights]: {', '.join(weights)}")
        for source in _texts(f"{name}.keywords.{kind}", sources):
            if source in found:
                raise SkillsError(f"{name}.keywords.{kind}: {source!r} stands there twice")
            try:
                found[source] = Keyword(source, compile_keyword(source), weights[kind])
            except re.error as exc:
                raise SkillsError(f"{name}.keywords.{kind}: {source!r} is no regular expression: {exc}") from exc
    return tuple(found.values())


def _by_language(key: str, table: Any) -> dict[str, str]:
    if not isinstance(table, dict) or set(table) != {"en", "zh"}:
        raise SkillsError(f"{key}: expected a table with en and zh")
    return {language: _text(f"{key}.{language}", text) for language, text in table.items()}


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SkillsError(f"{key}: expected a text, not {value!r}")
    return value


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise SkillsError(f"{key}: expected a list of texts, not {value!r}")
    return tuple(_text(key, item) for item in value)


def _number(key: str, value: Any, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise SkillsError(f"{key}: expected a number from {low} to {high}, not {value!r}")
    return float(value)
