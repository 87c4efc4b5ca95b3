"""The LLM stage of the enhancer: its prompt, and the check that a rewrite lost nothing the user asked for."""

from __future__ import annotations

import re

from t2l.language import language_of, plain, refusals
from t2l.quality import LONGEST, count_words

KEPT_CONTENT = 0.7
"""Share of the hint's content words that a rewrite must still hold; the protected ones it must hold all."""

_PROMPT = """\
Rewrite the task description so that it says plainly what is to be done, in one to three sentences.
Keep its language. Keep every number, name, unit, format, library and restriction word for word.
Add no new facts. Answer with the rewritten description only.

Description: sql help, postgres 14, no CTEs
Rewritten: Write SQL queries for Postgres 14 that answer the user's question. Use no CTEs.

Description: kids math 6-8 yrs, no negative numbers
Rewritten: Solve and explain math problems for kids of 6-8 yrs step by step. Use no negative numbers.

Description: 总结一下，50字以内
Rewritten: 阅读用户给出的文字，总结其要点，50字以内。

Description: {task}
Rewritten:"""

_STOP = """
    a an and any are as at be but by can do for from have help i if in into is it its like me my of
    on or our pls please so some stuff that the their them then they thing things this to us want we
    what when which will with you your just ok
    """
_STOP_WORDS = frozenset(_STOP.split())
_LATIN = re.compile(r"[a-z][a-z0-9+#._'\-]*", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,:/\-]\d+)*%?")
_NAME = re.compile(r"(?<![.!?\n] )(?<!^)\b[A-Z][\w\-]*")
_IDENTIFIER = re.compile(r"\b\w*(?:[_#]|\+\+|\d)\w*|\b\w+\.\w+\b")
_QUOTED = re.compile(r"[\"“「《'‘]([^\"”」》'’]{1,40})[\"”」》'’]")
_CHINESE = re.compile(r"[\u3400-\u9fff]+")


class Rejected(Exception):
    """An LLM's rewrite cannot stand for the hint; the message says what it lost."""


def rewrite_prompt(task: str) -> str:
    """The few-shot prompt that asks for a rewrite of one task description."""
    return _PROMPT.format(task=" ".join(task.split()))


def validated(task: str, answer: str) -> str:
    """The rewrite in an LLM's answer, if it keeps what the task asks for. Raises Rejected."""
    rewrite = answer.strip().partition("\n\n")[0].strip().removeprefix("Rewritten:").strip(' "')
    if not rewrite:
        raise Rejected("the answer is empty")
    if language_of(rewrite) != language_of(task):
        raise Rejected(f"it is in another language: {rewrite[:80]!r}")
    if count_words(rewrite) > max(LONGEST, 1.5 * count_words(task)):
        raise Rejected(f"{count_words(rewrite):.0f} words are too long")
    folded = plain(rewrite)
    lost = sorted(token for token in protected(task) if token not in folded)
    if lost:
        raise Rejected(f"it lost {', '.join(lost)}")
    _check_refusals(task, rewrite)
    words = _content(task)
    kept = sum(word in folded for word in words) / len(words) if words else 1.0
    if kept < KEPT_CONTENT:
        raise Rejected(f"it holds only {kept:.0%} of the hint's words")
    return rewrite


def protected(task: str) -> set[str]:
    """Numbers, names, identifiers and quoted words of a hint, folded: none of them may be lost."""
    found = {match for pattern in (_NUMBER, _NAME, _IDENTIFIER) for match in pattern.findall(task)}
    found |= set(_QUOTED.findall(task))
    if language_of(task) == "zh":  # Latin words in a Chinese hint are names, libraries and formats
        found |= set(_LATIN.findall(task))
    return {plain(token) for token in found if plain(token)}


def _check_refusals(task: str, rewrite: str) -> None:
    still_refused = " ".join(refusal.what for refusal in refusals(plain(rewrite)))
    for refusal in refusals(plain(task)):
        words = _content(refusal.what)
        if words and not all(word in still_refused for word in words):
            raise Rejected(f"it no longer refuses {refusal.what!r}")
    added = len(refusals(plain(rewrite))) - len(refusals(plain(task)))
    if added > 0:
        raise Rejected(f"it refuses {added} things the hint does not")


def _content(text: str) -> list[str]:
    """Content words, folded: Latin words but for stop words, Chinese as overlapping pairs of characters."""
    folded = plain(text)
    latin = [word.rstrip(".-'") for word in _LATIN.findall(folded) if word not in _STOP_WORDS]
    pairs = [run[i : i + 2] for run in _CHINESE.findall(folded) for i in range(max(1, len(run) - 1))]
    return latin + pairs
