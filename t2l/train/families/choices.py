# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""Easy questions with lettered options: what is trained is to bind an option to its letter, not knowledge."""

import random
from dataclasses import dataclass

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation
from t2l.train.families.numerals import english

LETTERS = "ABCDE"


@dataclass(frozen=True, slots=True)
class Quiz:
    """right: index of the right option."""

    question: str
    options: tuple[str, ...]
    right: int

    @property
    def letter(self) -> str:
        return LETTERS[self.right]

    def write(self) -> str:
        lines = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False))
        return f"{self.question}\n\n{lines}"


Draft = tuple[str, str, list[str]]
"""Question, right option, wrong options."""


def _member(rng: random.Random, wrong: int) -> Draft:
    name, other = rng.sample(sorted(words.CATEGORIES), 2)
    article = "an" if name[0] in "aeiou" else "a"
    if rng.random() < 0.5:
        outside = [w for w, category in words.CATEGORY_OF.items() if category != name]
        asked = rng.choice((f"Which of these is {article} {name}?", f"Question: Which one is {article} {name}?"))
        return asked, rng.choice(words.CATEGORIES[name]), rng.sample(outside, wrong)
    asked = rng.choice((f"Which of these is not {article} {name}?", f"Question: Which is the one that is not {article} {name}?"))
    return asked, rng.choice(words.CATEGORIES[other]), rng.sample(words.CATEGORIES[name], wrong)


def _sum(rng: random.Random, wrong: int) -> Draft:
    a, b = rng.randint(2, 40), rng.randint(2, 40)
    near = [n for n in range(a + b - 6, a + b + 7) if n != a + b and n > 0]
    return f"What is {a} plus {b}?", str(a + b), [str(n) for n in rng.sample(near, wrong)]


def _spelled(rng: random.Random, wrong: int) -> Draft:
    numbers = rng.sample(range(1, 60), wrong + 1)
    return f"Which number is {english(numbers[0])}?", str(numbers[0]), [str(n) for n in numbers[1:]]


def _after(rng: random.Random, wrong: int) -> Draft:
    names, what = rng.choice(((words.MONTHS, "month"), (words.WEEKDAYS, "day")))
    place = rng.randrange(len(names))
    right = names[(place + 1) % len(names)]
    rest = [name for name in names if name not in (right, names[place])]
    return f"Which {what} comes right after {names[place]}?", right, rng.sample(rest, wrong)


def _first_letter(rng: random.Random, wrong: int) -> Draft:
    right = rng.choice(sorted(words.CATEGORY_OF))
    others = [word for word in words.CATEGORY_OF if word[0] != right[0]]
    return f"Which word begins with the letter {right[0].upper()}?", right, rng.sample(others, wrong)


def _largest(rng: random.Random, wrong: int) -> Draft:
    numbers = sorted(rng.sample(range(1, 1000), wrong + 1), reverse=rng.random() < 0.7)
    which = "largest" if numbers[0] > numbers[1] else "smallest"
    return f"Which number is the {which}?", str(numbers[0]), [str(n) for n in numbers[1:]]


_QUESTIONS = (_member, _member, _member, _sum, _spelled, _after, _first_letter, _largest)


def _make(rng: random.Random) -> tuple[Quiz, str]:
    question, right, wrong = rng.choice(_QUESTIONS)(rng, rng.choice((1, 2, 3, 3, 3, 4)))
    options = [right, *wrong]
    rng.shuffle(options)
    quiz = Quiz(question, tuple(options), options.index(right))
    return quiz, quiz.write()


_OPERATIONS = (
    Operation("letter", "token", lambda q: q.letter, do="(pick|choose|select) the (right|correct) option and give its letter|answer the multiple-choice question with the letter of the (right|correct) option", what="the letter of the (right|correct) (option|choice|answer)", zh="给出正确选项的字母"),
    Operation("option", "token", lambda q: q.options[q.right], do="answer the question with the text of the (right|correct) option, without its letter", what="the (right|correct) option in words, not its letter"),
    Operation("letter_and_option", "token", lambda q: f"{q.letter}. {q.options[q.right]}", do="(repeat|copy) the (right|correct) option with its letter", what="the whole line of the (right|correct) option, letter and text"),
    Operation("position", "count", lambda q: q.right + 1, what="the position of the (right|correct) option as a number, 1 for A, 2 for B and so on"),
    Operation("first_option", "token", lambda q: q.options[0], what="the text of option A"),
    Operation("last_option", "token", lambda q: q.options[-1], what="the text of the last option"),
    Operation("count_options", "count", lambda q: len(q.options), do="count the options", what="(the number of options|how many options there are)"),
)  # fmt: skip

KINDS = (
    Kind("quiz", "(a multiple-choice question|a question with options|a quiz question with lettered options)", _make, _OPERATIONS),
)
