"""Makes a task hint say what it means: stage 1, an optional LLM rewrite; stage 2, rules. Keeps the user's own
words.

Stage 2 only removes chat fillers, never out of quotes, and adds around the hint, so that no number, name, negation,
unit or format word of it can be lost. Either stage's result is used only where Q (t2l/quality.py) rises.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from t2l.language import asserted, language_of, plain, refuses
from t2l.quality import LONGEST, Quality, count_words, has_action, quality
from t2l.rewrite import Rejected, rewrite_prompt, validated
from t2l.skills import Skill, SkillSet

Complete = Callable[[str], str]
"""An LLM: prompt in, answer out. Raises RewriteFailed when it gives none."""

RULES_VERSION = 3
"""Part of the digest: raise it whenever a rule changes what comes out."""

NAMED_FROM = 0.45
"""KeyMatch from which a hint's own words name a skill clearly enough to write it into the text."""
MOST_NAMED = 2
MOST_WORDS = 400
"""Each round of `_formal` takes one filler of a row of them away, so the work grows with the square of the length."""

_logger = logging.getLogger(__name__)

_QUOTED = r"""(?P<quoted>"[^"]*"|“[^”]*”|‘[^’]*’|「[^」]*」|『[^』]*』|`[^`]*`|(?<!\w)'[^'\n]*'(?!\w))"""
_START = r"(?:^|(?<=[.!?。！？\n]))[ \t]*"
_POLITE = r"(?i:hey(?: there)?|thx|thanks(?: in advance)?|thank you|btw)"
_FILLERS = re.compile(
    rf"{_QUOTED}"
    # What may also be meant ("thank you letters", "reply OK, so that") goes only where it is set off by itself.
    rf"|{_START}{_POLITE}[ \t]*(?:[,!.]+|\n)\s*"
    rf"|(?<=[,;.!?])[ \t]*{_POLITE}[ \t]*[.!]*(?=\s*$)"
    rf"|{_START}(?i:ok(?:ay)?,? so(?! (?:as|far|many|much|that)\b)|so basically)(?![\w/])[,!]*\s*"
    r"|(?<![\w/])(?:[Pp]l[sz]|(?i:basically|kinda|sorta))(?![\w/])[,!]*\s*"  # PLZ is a postcode
    r"|^(?:那个|嗯|呃|就是说)(?:[，,]\s*|\s+)"
)
_SHORTHAND = [
    (re.compile(rf"{_QUOTED}|{pattern}"), formal)
    for pattern, formal in (
        (r"(?<![\w/])[Ww]/(?=\s)", "with"),
        (r"(?<!\w)u(?= (?:to|are|can|should|will)\b)", "you"),
        (r"(?<!\w)ur(?= \w)", "your"),
        (r"(?<!\w)im(?= (?:a|an|the)\b)", "I am"),
        (r"\b(?:wanna|want 2)\b", "want to"),
    )
]
_GOAL = {"en": "Goal: {goals}.", "zh": "目标：{goals}。"}
_JOINT = {"en": "; ", "zh": "；"}
_COLON = {"en": ": ", "zh": "："}
_PLAIN_ACTION = {"en": "Carry out this task", "zh": "完成任务"}
_PLAIN_GOAL = {"en": "a correct, complete answer that keeps to what is stated", "zh": "正确、完整，满足所述要求"}
_TOO_VAGUE = 2.0
"""Hints of no more words than this, which name no skill, say too little to add a goal to."""
_STOP = {"en": ".", "zh": "。"}


class RewriteFailed(Exception):
    """The LLM gave no rewrite: unreachable, too slow or refused."""


@dataclass(frozen=True, slots=True)
class Enhancement:
    """What became of a task hint.

    rewritten: after stage 1; the hint itself where no LLM rewrote it. The decomposer reads this: the rules'
    additions name skills, which must not count as evidence for them. text: after both stages; the
    hypernetwork reads this.
    """

    rewritten: str
    text: str
    q_before: Quality
    q_after: Quality
    used_llm: bool
    llm_failed: bool = False
    """Whether an LLM was to be asked and gave nothing: another time it may."""


class Enhancer:
    """Deterministic but for the LLM; may be called from any thread if `complete` may."""

    def __init__(self, skills: SkillSet, complete: Complete | None = None) -> None:
        """complete: stage 1's LLM, None = no stage 1."""
        self._skills = skills
        self._complete = complete

    @property
    def digest(self) -> str:
        """sha256 (hex) over rules and skills. Which LLM `complete` asks, only its owner can tell a cache key."""
        return hashlib.sha256(f"{RULES_VERSION}:{self._skills.digest}".encode()).hexdigest()

    def enhance(self, task: str) -> Enhancement:
        """task: not empty. The result's Q is never lower than the task's."""
        before = quality(task, self._skills)
        rewritten, failed = self._rewrite(task, before)
        used_llm = rewritten is not None
        base = task if rewritten is None else rewritten
        base_quality = quality(base, self._skills)
        ruled = apply_rules(base, self._skills)
        ruled_quality = quality(ruled, self._skills)
        if ruled_quality.total > base_quality.total:
            return Enhancement(base, ruled, before, ruled_quality, used_llm, failed)
        return Enhancement(base, base, before, base_quality, used_llm, failed)

    def _rewrite(self, task: str, before: Quality) -> tuple[str | None, bool]:
        """The LLM's rewrite, None where it is not to be used; and whether the LLM failed."""
        if self._complete is None:
            return None, False
        try:
            rewritten = validated(task, self._complete(rewrite_prompt(task)))
        except (RewriteFailed, Rejected) as exc:
            _logger.warning("the task hint goes on without an LLM rewrite: %s", exc)
            return None, isinstance(exc, RewriteFailed)
        return rewritten if quality(rewritten, self._skills).total > before.total else None, False


def apply_rules(task: str, skills: SkillSet) -> str:
    """Stage 2: formal register, an action verb, the goal with the skill's words, within the length band.

    Applied to its own result it changes nothing. A hint of more than LONGEST words only loses its fillers, one of more
    than MOST_WORDS stays as it is.
    """
    if count_words(task) > MOST_WORDS:
        return task
    text, language = _formal(task), language_of(task)
    named = _named_skills(text, skills)
    if count_words(text) > LONGEST or (not named and count_words(text) <= _TOO_VAGUE):
        return text
    if not has_action(text) and not text.startswith(_openings(skills, language)):
        action = named[0].action if named else _PLAIN_ACTION
        text = action[language] + _COLON[language] + text
    goals = [skill.goal[language] for skill in named] or [_PLAIN_GOAL[language]]
    goal = _GOAL[language].format(goals=_JOINT[language].join(goals))
    opening = _GOAL[language].partition("{")[0]
    if opening in text or count_words(text) + count_words(goal) > LONGEST:
        return text
    return _closed(text, language) + (" " if language == "en" else "") + goal


def _formal(text: str) -> str:
    while (formal := _formal_once(text)) != text:  # what one rule leaves may concern another; each shortens the text
        text = formal
    return text


def _formal_once(text: str) -> str:
    text = re.sub(r"[ \t]+", " ", text)
    for pattern, formal in ((_FILLERS, ""), *_SHORTHAND):
        text = pattern.sub(lambda match, formal=formal: match["quoted"] or formal, text)
    text = re.sub(r"([!?！？])\1+", r"\1", text)
    text = re.sub(r"(?<=[^\s:])[ \t]+([,.;!?])(?=\s|$)", r"\1", text)  # not what an action and its colon stand before
    return text.strip(" \t\r\n,，") or text.strip()


def _openings(skills: SkillSet, language: str) -> tuple[str, ...]:
    actions = [_PLAIN_ACTION[language], *(skill.action[language] for skill in skills.skills)]
    return tuple(action + _COLON[language] for action in actions)


def _named_skills(text: str, skills: SkillSet) -> list[Skill]:
    folded = plain(text)
    said = asserted(folded)
    matches = [(skill.key_match(said), skill) for skill in skills.skills if not refuses(folded, skill.activity)]
    named = sorted((pair for pair in matches if pair[0] >= NAMED_FROM), key=lambda pair: -pair[0])
    return [skill for _, skill in named[:MOST_NAMED]]


def _closed(text: str, language: str) -> str:
    return (
        text if text.endswith((".", "!", "?", "。", "！", "？", ":", "：")) else text.rstrip(",，;；") + _STOP[language]
    )
