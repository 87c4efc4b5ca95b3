"""From an answer to a score in [0, 1], by the task's metric.

One function a metric; `score` picks. Programs run in the sandbox. What a metric needs of an item it takes
from `Item.meta`, in the fields of the data pack's README, and says by name when it is not there.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from t2l.evaluate.data import DataError, Item
from t2l.evaluate.sandbox import Limits, run_program

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
LABELS = string.ascii_uppercase
NUMERIC_TOLERANCE = 1e-6
PROGRAM_TOLERANCE, PROGRAM_ROUNDING = 1e-3, 1e-9
"""Absolute, as in Gao et al. 2023 (PAL), and relative, for what floats round: by a relative tolerance that forgives
people's rounding, a seven-digit answer that is one off would count."""


@dataclass(frozen=True, slots=True)
class Score:
    """value: in [0, 1]. parsed: False where no answer could be read out of the text (such a text scores
    0)."""

    value: float
    parsed: bool = True


def score(metric: str, item: Item, text: str, limits: Limits | None = None) -> Score:
    """Raises DataError when the item lacks what the metric needs."""
    if metric == "choice":
        return choice(item, text)
    if metric == "exact_match":
        return exact_match(item, text)
    if metric == "rouge_l":
        return Score(max(rouge_l(text, answer) for answer in item.answers))
    if metric == "numeric":
        return numeric(item, text)
    if metric == "numeric_program":
        return numeric_program(item, text, limits)
    if metric == "pass_at_1":
        return Score(float(run_program(test_program(item, code_of(text)), limits=limits).ok))
    raise DataError(f"task {item.task} has the unknown metric {metric!r}")


def check_item(metric: str, item: Item) -> None:
    """Raises DataError when the item lacks what the metric needs, without scoring anything."""
    if metric == "choice":
        gold_index(item)
    elif metric == "numeric":
        _gold_number(item)
    elif metric == "numeric_program":
        _target(item)
        _entry(item)
    elif metric == "pass_at_1":
        test_program(item, "")


def exact_match(item: Item, text: str) -> Score:
    """Equal to a reference once normalised. In a closed set, naming the right option in a sentence counts
    too."""
    if any(normalised(text) == normalised(answer) for answer in item.answers):
        return Score(1.0)
    if not item.choices:
        return Score(0.0)
    try:
        return choice(item, text)
    except DataError:  # the reference is none of the listed options: then only equality can tell
        return Score(0.0)


def normalised(text: str) -> str:
    """Case, spacing, Unicode form, quotes around and a full stop at the end do not make an answer wrong."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    while len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`*":
        text = text[1:-1].strip()
    return text[:-1].rstrip() if len(text) > 1 and text[-1] in ".。" and text[-2] != "." else text


# --- choices ------------------------------------------------------------------------------------------------


def gold_index(item: Item) -> int:
    """Which option is right. Raises DataError where the answer is none of them."""
    index = item.meta.get("answer_index")
    if index is not None:
        return index
    if item.answer in item.choices:
        return item.choices.index(item.answer)
    label = _label(item.answer.strip().splitlines()[-1] if item.answer.strip() else "", len(item.choices))
    if label is None:
        raise DataError(f"{item.id}: the answer {item.answer!r} is none of the {len(item.choices)} choices")
    return label


def option_texts(item: Item) -> tuple[str, ...]:
    """What the model would write for each option, in the form of the given answer: a letter, `(B)`, the
    option's own text, or the last line of a worked answer with another letter."""
    if item.answer in item.choices and not _is_letter(item.answer):
        return item.choices
    index = gold_index(item)
    line = item.answer.strip().splitlines()[-1]
    before, found, after = line.rpartition(LABELS[index])
    return tuple(f"{before}{LABELS[i]}{after}" for i in range(len(item.choices))) if found else item.choices


def choice(item: Item, text: str) -> Score:
    """Is the option named in the text the right one? Unreadable texts score 0 and are counted as such."""
    picked = parse_choice(item, text)
    return Score(0.0, parsed=False) if picked is None else Score(float(picked == gold_index(item)))


def parse_choice(item: Item, text: str) -> int | None:
    """The option a text names: by its letter, or by its words; None when it names none or several."""
    text = text.strip()
    answer, count = normalised(text), len(item.choices)
    texts = [normalised(one) for one in item.choices]
    # Letters first where letters are asked for: "C" is the third option, even if the first one reads "C"
    # (carbon).
    lettered = item.answer not in item.choices or _is_letter(item.answer)
    if lettered and (label := _label(text, count)) is not None:
        return label
    if answer in texts:
        return texts.index(answer)
    first_line = normalised(text.splitlines()[0]) if text else ""
    for words in (first_line, answer):
        named = [
            i for i, one in enumerate(texts) if one and re.search(rf"(?<!\w){re.escape(one)}(?!\w)", words)
        ]
        # "not valid" names "valid" and "not valid" alike: the longest that contains the others is meant.
        longest = [i for i in named if all(texts[j] in texts[i] for j in named)]
        if len(longest) == 1:
            return longest[0]
    return None


def _is_letter(answer: str) -> bool:
    return re.fullmatch(r"\(?[A-Z]\)?", answer.strip()) is not None


def _label(text: str, count: int) -> int | None:
    """The option letter a text gives as its answer, if it clearly gives one of the first `count`."""
    letters, text = LABELS[:count], text.strip()
    if not letters:
        return None
    if found := re.match(rf"[(\[*\"'`]*([{letters}])[)\]*\"'`]*(?:[.:,)](?=\s|$)|\s*$|\s*\n|\s+-)", text):
        return letters.index(found.group(1))  # "B", "(B)", "B. dry palms"
    after = rf"(?:[*_\s]+is\b)?[*_\s]*:?[*_\s]*[(\[*\"'`]*([{letters}])(?![\w'])"
    if stated := re.findall(rf"(?i:answer){after}", text):
        return letters.index(stated[-1])  # "the answer is B": the last word on it
    for pattern in (rf"(?i:option|choice){after}", rf"\(([{letters}])\)"):
        named = set(re.findall(pattern, text))
        if len(named) == 1:
            return letters.index(named.pop())
    return None


# --- text ---------------------------------------------------------------------------------------------------


def rouge_l(text: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, ROUGE-L with beta = 1). Chinese counts by
    characters."""
    ours, theirs = _words(text), _words(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    row = [0] * (len(theirs) + 1)
    for word in ours:
        previous = 0
        for column, other in enumerate(theirs, start=1):
            above = row[column]
            row[column] = previous + 1 if word == other else max(above, row[column - 1])
            previous = above
    common = row[-1]
    return 2 * common / (len(ours) + len(theirs))


def _words(text: str) -> list[str]:
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+", text.casefold())


# --- numbers ------------------------------------------------------------------------------------------------


def numeric(item: Item, text: str) -> Score:
    """Is the final number right? Gold: `meta.final`, else the answer's own final number."""
    gold = _gold_number(item)
    ours = final_number(text)
    if ours is None:
        return Score(0.0, parsed=False)
    return Score(float(math.isclose(ours, gold, rel_tol=NUMERIC_TOLERANCE, abs_tol=NUMERIC_TOLERANCE)))


def _gold_number(item: Item) -> float:
    gold = final_number(str(item.meta.get("final", item.answer)))
    if gold is None:
        raise DataError(f"{item.id}: no number in the answer {item.answer!r}")
    return gold


_FINAL = (r"####\s*([^\n]*)", r"\\boxed\{([^}]*)\}", r"(?i)\banswer\b[*_\s]*(?:is\b\s*[:=]?|[:=])\s*([^\n]*)")
_SUM = re.compile(r"^(?:(?:[^=A-Za-z]|(?<=[\d ])x(?= ?[$\d]))*=)+")


def final_number(text: str) -> float | None:
    r"""The number a worked answer ends in: after `####`, in `\boxed{}`, after "answer is" or "answer:", else the last
    one. Of a sum there ("3 + 4 = 7", "2 x 3 = 6") the result.
    """
    for pattern in _FINAL:
        for tail in reversed(re.findall(pattern, text)):
            if found := NUMBER.search(_SUM.sub("", tail)) or NUMBER.search(tail):
                return float(found.group().replace(",", ""))
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


# --- programs -----------------------------------------------------------------------------------------------


def code_of(text: str) -> str:
    """The Python in an answer: its fenced blocks that define something, else its first block, else all of it."""
    fenced = re.findall(r"```[ \t]*([^\s`]*)[^\n`]*\n(.*?)(?:```|\Z)", text, re.DOTALL)
    if not fenced:
        return text
    blocks = [code for language, code in fenced if language.lower() in ("", "py", "python", "python3")]
    blocks = blocks or [code for _, code in fenced]
    defining = [block for block in blocks if re.search(r"^\s*(?:def|class)\s", block, re.MULTILINE)]
    return "\n".join(defining or blocks[:1])


def test_program(item: Item, code: str) -> str:
    """The candidate with its tests behind: HumanEval's `check(entry_point)`, or MBPP's list of assertions."""
    meta = item.meta
    if "test" in meta:
        # The prompt's own text first: it has the imports and helpers, and a bare body continues its last
        # function.
        return "\n".join((str(meta.get("prompt", "")) + code, str(meta["test"]), f"check({_entry(item)})"))
    if "test_list" in meta:
        tests: Sequence[Any] = meta["test_list"]
        if not isinstance(tests, list):
            raise DataError(f"{item.id}: meta.test_list is {tests!r}, want a list")
        return "\n".join((code, str(meta.get("test_setup_code") or ""), *map(str, tests)))
    raise DataError(f"{item.id}: metric pass_at_1 needs meta.test_list or meta.test")


def numeric_program(item: Item, text: str, limits: Limits | None = None) -> Score:
    """Does the program's function return the target? Not parsed = it returned no number."""
    target = _target(item)
    run = run_program(code_of(text), call=_entry(item), limits=limits)
    if run.value is None:
        return Score(0.0, parsed=False)
    return Score(float(math.isclose(run.value, target, rel_tol=PROGRAM_ROUNDING, abs_tol=PROGRAM_TOLERANCE)))


def _target(item: Item) -> float:
    try:
        return float(item.meta["target"])
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{item.id}: metric numeric_program needs a number in meta.target") from exc


def _entry(item: Item) -> str:
    """The function to call: `meta.entry_point`, else the first one the reference answer defines."""
    named = item.meta.get("entry_point")
    if named:
        return str(named)
    found = re.search(r"^def\s+(\w+)\s*\(", item.answer, re.MULTILINE)
    if not found:
        raise DataError(f"{item.id}: neither meta.entry_point nor a function in the answer to call")
    return found.group(1)
