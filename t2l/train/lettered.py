# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""Real questions with lettered options: any task with short answers becomes multiple choice.

The wrong options are answers that other items of the task have, or the item's own choices where it brings some, in a
new order. What is trained is to bind an option to its letter, over questions whose answer the base may well know.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from t2l.evaluate.data import Item
from t2l.train.families.core import vary

LETTERS = "ABCDE"
LONGEST_OPTION = 80
"""Characters."""
LONGEST_STEM = 350
OWN_CHOICES = 0.3
"""Share of questions from tasks that bring their own choices: few tasks, but wrong options that are not easy."""

_CLOSINGS = (
    "Answer with only the letter of the correct option ({letters}).|Which option is right? (Answer|Reply) with (only|just) the letter ({letters})."
    "|(Answer|Reply|Respond) with the letter only.|Give the letter of the (right|best|correct) (option|answer).|Answer:|Which option fits best? Answer with only the letter ({letters})."
)
_ASKED = (
    "(Pick|Choose|Select) the (right|correct|best) option and (answer with|give) (its letter|only its letter|just the letter)."
    "|Answer with the letter of the (right|correct|best) (option|choice)."
)
_MARKS = ("{}. {}", "{}. {}", "{}. {}", "{}) {}", "({}) {}")


@dataclass(frozen=True, slots=True)
class Lettered:
    """One question. closed: whether the prompt ends by asking for the letter."""

    prompt: str
    answer: str
    closed: bool


def own_choices(item: Item) -> int | None:
    """Index of the right one among the item's choices; None where it brings no lettered ones."""
    letter = LETTERS.find(item.answer) if len(item.answer) == 1 else -1
    named = letter < len(item.choices) and set(item.choices) <= set(LETTERS)  # the texts stand elsewhere
    return letter if 0 <= letter < len(item.choices) and not named else None


def short_answers(items: Sequence[Item]) -> tuple[str, ...]:
    """The different answers that can stand as an option, sorted."""
    answers = {item.answer.strip() for item in items}
    return tuple(sorted(x for x in answers if len(x) <= LONGEST_OPTION and "\n" not in x and x not in LETTERS))


def lettered(item: Item, stem: str, others: Sequence[str], rng: random.Random) -> Lettered | None:
    """The item as multiple choice. stem: the question. others: answers of its task, of which the wrong options are
    drawn. None where the answer or the stem is too long, or nothing differs from the answer.
    """
    place = own_choices(item)
    if place is not None:
        right, wrong = item.choices[place], [choice for i, choice in enumerate(item.choices) if i != place]
        wrong = rng.sample(wrong, min(len(LETTERS) - 1, len(wrong)))
        stem = stem.split("\n\nA. ")[0]
    else:
        accepted = {answer.strip().lower() for answer in item.answers}
        right, different = item.answer.strip(), [x for x in others if x.lower() not in accepted]
        wrong = rng.sample(different, min(rng.choice((1, 2, 3, 3, 3, 4)), len(different)))
    if not wrong or len(stem) > LONGEST_STEM or len(right) > LONGEST_OPTION or "\n" in right or right in LETTERS:
        return None
    options = [right, *wrong]
    rng.shuffle(options)
    used, mark = LETTERS[: len(options)], rng.choice(_MARKS)
    lines = "\n".join(mark.format(letter, option) for letter, option in zip(used, options, strict=True))
    closed = rng.random() < 0.65
    closing = vary(_CLOSINGS, rng).replace("{letters}", f"{', '.join(used[:-1])} or {used[-1]}") if closed else ""
    return Lettered(f"{stem}\n\n{lines}\n\n{closing}".rstrip(), used[options.index(right)], closed)


def ask_for_letter(description: str, rng: random.Random) -> str:
    """The description with the wish for a letter at its end."""
    return f"{description.rstrip(' .')}. {vary(_ASKED, rng)}"
