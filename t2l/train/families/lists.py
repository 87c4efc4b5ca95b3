# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""Lists of words and of integers: picking, counting, sorting, filtering, and chains of two list operations."""

import itertools
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation
from t2l.train.families.numerals import ordinal


def _distinct(items: Iterable) -> tuple:
    return tuple(dict.fromkeys(items))


def _or_none(items: Iterable) -> tuple | None:
    """An empty list is no answer."""
    return tuple(items) or None


@dataclass(frozen=True, slots=True)
class Step:
    """A list operation that may be a link of a chain. `do` works on "the {items}", or "them" later in a chain."""

    name: str
    compute: Callable[[tuple], tuple | str | int | None]
    do: str
    zh: str = ""


def _chain(first: Step, second: Step, result: str, items: str) -> Operation:
    def compute(value: tuple):
        between = first.compute(value)
        return None if between is None else second.compute(between)

    one, two, again = (
        first.do.replace("{items}", items),
        second.do.replace("the {items}", "them"),
        second.do.replace("{items}", items),
    )
    do = f"({one}, then {two}|first {one}, then {two}|{one} and after that {two}|{one}; next, {two}|in this order: {one}; {again})"
    zh = f"先{first.zh}，再{second.zh}" if first.zh and second.zh else ""
    return Operation(f"{first.name}_then_{second.name}", result, compute, do=do, zh=zh)


def _alone(step: Step, result: str, items: str) -> Operation:
    return Operation(step.name, result, step.compute, do=step.do.replace("{items}", items), zh=step.zh)


# --- words ---------------------------------------------------------------------------------------------------------------

_SORTED_OUT = ("animal", "fruit", "tool", "job", "place", "colour")  # the categories that operations ask for
_OTHERS = tuple(name for name in words.CATEGORIES if name not in _SORTED_OUT)


def _category(word: str) -> str:
    return words.CATEGORY_OF[word] if words.CATEGORY_OF[word] in _SORTED_OUT else "other"


def _make_words(rng: random.Random) -> tuple[tuple[str, ...], str]:
    groups = [*rng.sample(_SORTED_OUT, 2), rng.choice(_OTHERS if rng.random() < 0.4 else _SORTED_OUT)]
    chosen = [rng.choice(words.CATEGORIES[rng.choice(groups)]) for _ in range(rng.randint(3, 6))]
    if rng.random() < 0.55:  # a repetition, for the operations about duplicates
        chosen.insert(rng.randint(0, len(chosen)), rng.choice(chosen))
    value = tuple(chosen)
    return value, rng.choice((" ", " ", ", ", "\n", "; ")).join(value)


_WORD_STEPS = (
    Step(
        "reverse",
        lambda w: w[::-1],
        "(reverse the {items}|put the {items} in reverse order)",
        "把单词倒序排列",
    ),
    Step(
        "sort_alphabetical",
        lambda w: tuple(sorted(w)),
        "((sort|order|arrange) the {items} (alphabetically|in alphabetical order|from A to Z))",
        "把单词按字母顺序排序",
    ),
    Step(
        "sort_backwards",
        lambda w: tuple(sorted(w, reverse=True)),
        "((sort|order|arrange) the {items} (from Z to A|in reverse alphabetical order))",
    ),
    Step(
        "dedupe",
        _distinct,
        "(remove duplicates, keeping the first of each|drop repeated words but keep the first of each|keep only the first of each repeated word)",
        "去掉重复的单词",
    ),
    Step(
        "drop_first", lambda w: _or_none(w[1:]), "((remove|drop|leave out) the first word)", "去掉第一个单词"
    ),
    Step(
        "drop_last", lambda w: _or_none(w[:-1]), "((remove|drop|leave out) the last word)", "去掉最后一个单词"
    ),
    Step(
        "upper_all",
        lambda w: tuple(x.upper() for x in w),
        "((write|put) the {items} in (capitals|upper case|capital letters))",
        "把单词改成大写",
    ),
    Step(
        "capitalise",
        lambda w: tuple(x.capitalize() for x in w),
        "(give the {items} a capital first letter|start each of the {items} with a capital letter)",
    ),
    Step(
        "plural",
        lambda w: tuple(words.plural(x) for x in w),
        "((turn|change|convert) the {items} into (plurals|plural forms|their plural))",
        "把单词变成复数",
    ),
    Step(
        "first_two",
        lambda w: w[:2],
        "((keep|take) only the first two|keep the first two words and drop the rest)",
    ),
    Step(
        "last_two",
        lambda w: w[-2:],
        "((keep|take) only the last two|keep the last two words and drop the rest)",
    ),
    Step(
        "by_length",
        lambda w: tuple(sorted(w, key=len)),
        "((sort|order) the {items} (by length|from short to long), keeping ties in their order)",
    ),
    Step(
        "keep_long",
        lambda w: _or_none(x for x in w if len(x) > 5),
        "((keep|select) only words (with|of) more than five letters|drop words (with|of) five letters or fewer)",
    ),
    Step(
        "keep_short",
        lambda w: _or_none(x for x in w if len(x) < 6),
        "((keep|select) only words (with|of) fewer than six letters|drop words (with|of) six letters or more)",
    ),
    Step(
        "every_other",
        lambda w: w[::2],
        "((keep|take) every second word, starting with the first|keep the words at positions 1, 3, 5 and so on)",
    ),
    Step(
        "swap_ends",
        lambda w: (w[-1], *w[1:-1], w[0]) if len(w) > 1 else None,
        "(swap the first and the last word|exchange the first word with the last)",
    ),
    Step(
        "initials",
        lambda w: tuple(x[0] for x in w),
        "((take|give) (only |)the first letters of the {items}|reduce the {items} to their first letters)",
    ),
    Step(
        "with_article",
        lambda w: tuple(f"the {x}" for x in w),
        "((put|write) 'the' before each of the {items}|add 'the' in front of the {items})",
    ),
    Step(
        "lengths",
        lambda w: tuple(map(len, w)),
        "((replace the {items} by|turn the {items} into) their letter counts|count the letters of the {items}, one by one)",
    ),
)
_WORD_ENDS = (
    Step("count", len, "count the {items}", "数一数有几个单词"),
    Step("pick_first", lambda w: w[0], "(give|return|take) the first (one|of them)"),
    Step("pick_last", lambda w: w[-1], "(give|return|take) the last (one|of them)"),
    Step(
        "pick_second", lambda w: w[1] if len(w) > 1 else None, "(give|return|take) the second (one|of them)"
    ),
)


def _word_chains() -> list[Operation]:
    by_name = {step.name: step for step in (*_WORD_STEPS, *_WORD_ENDS)}
    firsts = (
        "reverse",
        "sort_alphabetical",
        "sort_backwards",
        "dedupe",
        "drop_first",
        "drop_last",
        "keep_long",
        "by_length",
    )
    seconds = (
        "upper_all",
        "plural",
        "first_two",
        "last_two",
        "reverse",
        "capitalise",
        "drop_first",
        "initials",
        "with_article",
    )
    skip = {("sort_alphabetical", "reverse"), ("sort_backwards", "reverse")}  # another sort in disguise
    skip |= {("drop_last", "first_two"), ("drop_first", "last_two")}  # most often the second step alone
    pairs = [(a, b) for a in firsts for b in seconds if a != b and (a, b) not in skip]
    chains = [_chain(by_name[a], by_name[b], "list", "words") for a, b in pairs]
    ends = [("dedupe", "count"), ("keep_long", "count"), ("keep_short", "count")]
    chains += [_chain(by_name[a], by_name[b], "count", "words") for a, b in ends]
    picks = [
        (a, b)
        for a in ("sort_alphabetical", "sort_backwards", "drop_first", "reverse")
        for b in ("pick_first", "pick_second", "pick_last")
    ]
    return chains + [_chain(by_name[a], by_name[b], "text", "words") for a, b in picks]


def _nth(n: int, name: str) -> Operation:
    return Operation(
        f"word_{n}",
        "text",
        lambda w: w[n - 1] if len(w) >= n else None,
        what=f"(the {name} word|word number {n}|the {ordinal(n)} word)",
        zh=f"找出第{'一二三四五'[n - 1]}个单词",
    )


def _of_category(category: str) -> list[Operation]:
    many = {"body part": "body parts", "furniture": "pieces of furniture"}.get(
        category, words.plural(category)
    )
    inside = frozenset(words.CATEGORIES[category])
    return [
        Operation(
            f"keep_{category}",
            "list",
            lambda w: _or_none(x for x in w if x in inside) if any(x in inside for x in w) else ("none",),
            do=f"(keep only the {many}, in (their|the given) order|pick out the {many}), and (write|answer) none if there are none",
            what=f"(all the {many}|the words that are {many}), or none",
        ),
        Operation(
            f"has_{category}",
            "text",
            lambda w: "yes" if any(x in inside for x in w) else "no",
            do=f"(say|tell me|decide|check) (whether|if) (any word|one of the words) is (among {many}|one of the {many}), yes or no|answer yes if there are any {many} in the list, no otherwise",
        ),
        Operation(
            f"count_{category}",
            "count",
            lambda w: sum(x in inside for x in w),
            do=f"count the {many}",
            what=f"(how many {many} there are|the number of {many})",
        ),
    ]


_WORD_OPERATIONS = (
    *(_alone(step, "list", "words") for step in _WORD_STEPS),
    *(_nth(n, name) for n, name in enumerate(("first", "second", "third"), 1)),
    Operation("word_last", "text", lambda w: w[-1], what="the (last|final) word", zh="找出最后一个单词"),
    Operation(
        "word_before_last",
        "text",
        lambda w: w[-2],
        what="(the word before the last one|the second to last word|the last word but one)",
    ),
    Operation(
        "middle",
        "text",
        lambda w: w[len(w) // 2],
        what="(the middle word, or the one just right of the middle|the middle word; of two middle words, the second one)",
    ),
    Operation(
        "longest",
        "text",
        lambda w: max(w, key=len),
        what="the longest word, or the first one (of that length|if several are)",
        zh="找出最长的单词（并列时取第一个）",
    ),
    Operation(
        "shortest",
        "text",
        lambda w: min(w, key=len),
        what="the shortest word, or the first one (of that length|if several are)",
        zh="找出最短的单词（并列时取第一个）",
    ),
    Operation(
        "first_alphabetical",
        "text",
        min,
        what="the word that (comes first in the dictionary|is first in the alphabet|is alphabetically first)",
    ),
    Operation(
        "last_alphabetical",
        "text",
        max,
        what="the word that (comes last in the dictionary|is last in the alphabet|is alphabetically last)",
    ),
    Operation(
        "repeated",
        "text",
        lambda w: next((x for x in w if w.count(x) > 1), "none"),
        what="the word that (occurs|appears) (twice|more than once), or none (if there is no such word|)",
    ),
    Operation(
        "count",
        "count",
        len,
        do="count the words",
        what="(the number of words|how many words there are)",
        zh="数一数有几个单词",
    ),
    Operation(
        "count_distinct",
        "count",
        lambda w: len(set(w)),
        do="count the different words",
        what="(the number of different words|how many distinct words there are)",
        zh="数一数有几个不同的单词",
    ),
    Operation(
        "first_length",
        "count",
        lambda w: len(w[0]),
        what="(the number of letters in the first word|how many letters the first word has)",
    ),
    Operation(
        "last_length",
        "count",
        lambda w: len(w[-1]),
        what="(the number of letters in the last word|how many letters the last word has)",
    ),
    Operation(
        "first_reversed",
        "text",
        lambda w: w[0][::-1],
        what="(the first word spelled backwards|the first word with its letters reversed)",
    ),
    Operation(
        "first_category",
        "text",
        lambda w: _category(w[0]),
        what="(the category of the first word|what sort of thing the first word is): animal, fruit, tool, job, place, colour or other",
    ),
    Operation(
        "last_category",
        "text",
        lambda w: _category(w[-1]),
        what="(the category of the last word|what sort of thing the last word is): animal, fruit, tool, job, place, colour or other",
    ),
    Operation(
        "first_plural",
        "text",
        lambda w: words.plural(w[0]),
        what="(the plural of the first word|the first word in the plural)",
    ),
    Operation(
        "first_and_last",
        "list",
        lambda w: (w[0], w[-1]),
        what="(the first and the last word|the first word and the last word)",
    ),
    Operation(
        "acronym",
        "token",
        lambda w: "".join(x[0] for x in w).upper(),
        do="(make|build) an acronym from the first letters, in capitals",
        what="the acronym (made of|from) the capital first letters of the words",
    ),
    Operation(
        "hyphenated",
        "text",
        "-".join,
        do="(join|connect) the words with hyphens (into one string|)|(make|write) one string with a hyphen between the words",
    ),
    Operation(
        "snake_case",
        "token",
        "_".join,
        do="(join|connect) the words with underscores (into one name|)|(make|write) a snake_case name from the words",
    ),
    Operation(
        "camel_case",
        "token",
        lambda w: w[0] + "".join(x.capitalize() for x in w[1:]),
        do="(make|write|build) a camelCase name from the words|join the words in camelCase",
    ),
    Operation(
        "slogan",
        "prose",
        lambda w: f"I like {words.plural(w[0])} but not {words.plural(w[-1])}.",
        do="(write|give) the sentence 'I like X but not Y.' with the plural of the first word as X and of the last as Y",
    ),
    Operation(
        "has_duplicates",
        "text",
        lambda w: "yes" if len(set(w)) < len(w) else "no",
        do="(say|tell me|decide|check) (whether|if) any word (is repeated|occurs twice), yes or no",
        zh="判断有没有重复的单词，回答yes或no",
    ),
    Operation(
        "first_before_last",
        "text",
        lambda w: "true" if w[0] < w[-1] else "false",
        do="(say|tell me|decide|check) (whether|if) the first word comes before the last in the alphabet, true or false",
    ),
    Operation(
        "python_len",
        "block",
        lambda w: f"len({list(w)!r})",
        do="(write|give) the Python expression that counts the items: len of a list literal of the words",
    ),
    Operation(
        "python_sorted",
        "block",
        lambda w: f"sorted({list(w)!r})",
        do="(write|give) a Python expression that sorts them: sorted called on a list literal of the words",
    ),
    Operation(
        "python_set",
        "block",
        lambda w: "{" + ", ".join(map(repr, _distinct(w))) + "}",
        do="(write|give) a Python set literal of the words, (in order of first appearance|each once, in the given order)",
    ),
    Operation(
        "javascript_array",
        "block",
        lambda w: "const words = [" + ", ".join(f'"{x}"' for x in w) + "];",
        do="(write|give) a JavaScript line that declares const words as an array of the words, in double quotes",
    ),
    Operation(
        "sql_in",
        "block",
        lambda w: "IN (" + ", ".join(f"'{x}'" for x in w) + ")",
        do="(write|give) an SQL IN clause with the words in single quotes",
    ),
    Operation(
        "length_map",
        "block",
        lambda w: "{" + ", ".join(f'"{x}": {len(x)}' for x in _distinct(w)) + "}",
        do="(write|give) a JSON object that maps each word to its number of letters",
    ),
    Operation(
        "markdown_rows",
        "block",
        lambda w: "| word |\n|---|\n" + "\n".join(f"| {x} |" for x in w),
        do="(make|write) a one-column Markdown table of the words, (headed|with the heading) word",
    ),
    *(op for category in _SORTED_OUT for op in _of_category(category)),
    *_word_chains(),
)

# --- integers ------------------------------------------------------------------------------------------------------------


def _make_integers(rng: random.Random) -> tuple[tuple[int, ...], str]:
    high = rng.choice((20, 40, 60, 99))
    chosen = [rng.randint(1, high) for _ in range(rng.randint(3, 6))]
    if rng.random() < 0.4:
        chosen.insert(rng.randint(0, len(chosen)), rng.choice(chosen))
    value = tuple(chosen)
    return value, rng.choice((" ", ", ", ", ", "\n", "; ")).join(map(str, value))


def is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def _running(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sum(numbers[: i + 1]) for i in range(len(numbers)))


_NUMBER_STEPS = (
    Step(
        "reverse",
        lambda n: n[::-1],
        "(reverse the {items}|put the {items} in reverse order)",
        "把数字倒序排列",
    ),
    Step(
        "ascending",
        lambda n: tuple(sorted(n)),
        "((sort|order|arrange) the {items} (in ascending order|from smallest to largest))",
        "把数字从小到大排序",
    ),
    Step(
        "descending",
        lambda n: tuple(sorted(n, reverse=True)),
        "((sort|order|arrange) the {items} (in descending order|from largest to smallest))",
        "把数字从大到小排序",
    ),
    Step(
        "dedupe",
        _distinct,
        "(remove duplicates, keeping the first of each|drop repeated numbers but keep the first of each)",
        "去掉重复的数字",
    ),
    Step(
        "keep_even",
        lambda n: _or_none(x for x in n if x % 2 == 0),
        "((keep|select) only (the even ones|even numbers)|(drop|remove) all odd numbers)",
        "只保留偶数",
    ),
    Step(
        "keep_odd",
        lambda n: _or_none(x for x in n if x % 2),
        "((keep|select) only (the odd ones|odd numbers)|(drop|remove) all even numbers)",
        "只保留奇数",
    ),
    Step(
        "keep_over_ten",
        lambda n: _or_none(x for x in n if x > 10),
        "((keep|select) only numbers (greater than|above|over) 10|(drop|remove) numbers up to 10)",
        "只保留大于10的数字",
    ),
    Step(
        "add_one",
        lambda n: tuple(x + 1 for x in n),
        "(add 1 to each of the {items}|increase the {items} by one each)",
        "给每个数字加1",
    ),
    Step(
        "add_ten",
        lambda n: tuple(x + 10 for x in n),
        "(add 10 to each of the {items}|increase the {items} by ten each)",
    ),
    Step(
        "double",
        lambda n: tuple(2 * x for x in n),
        "(double the {items}|multiply the {items} by two)",
        "把每个数字乘以2",
    ),
    Step(
        "times_ten",
        lambda n: tuple(10 * x for x in n),
        "(multiply the {items} by ten|multiply each of the {items} by 10)",
    ),
    Step(
        "negate",
        lambda n: tuple(-x for x in n),
        "((negate|flip the sign of) the {items}|put a minus sign before each of the {items})",
    ),
    Step(
        "drop_first",
        lambda n: _or_none(n[1:]),
        "((remove|drop|leave out) the first number)",
        "去掉第一个数字",
    ),
    Step(
        "drop_last",
        lambda n: _or_none(n[:-1]),
        "((remove|drop|leave out) the last number)",
        "去掉最后一个数字",
    ),
    Step(
        "drop_max",
        lambda n: _or_none(x for x in n if x != max(n)),
        "((remove|drop) the largest number, wherever it occurs)",
    ),
    Step(
        "first_two",
        lambda n: n[:2],
        "((keep|take) only the first two|keep the first two numbers and drop the rest)",
    ),
    Step(
        "last_two",
        lambda n: n[-2:],
        "((keep|take) only the last two|keep the last two numbers and drop the rest)",
    ),
    Step(
        "square",
        lambda n: tuple(x * x for x in n),
        "(square the {items}|multiply each of the {items} by itself)",
    ),
    Step(
        "running_total",
        _running,
        "(replace the {items} by (their running totals|cumulative sums)|compute the running totals)",
    ),
    Step(
        "differences",
        lambda n: _or_none(b - a for a, b in itertools.pairwise(n)),
        "(compute each number minus the one before it|list the differences, each number minus the previous one)",
    ),
    Step(
        "parity",
        lambda n: tuple("even" if x % 2 == 0 else "odd" for x in n),
        "(label each of the {items} even or odd|say even or odd for each of the {items})",
    ),
    Step(
        "size",
        lambda n: tuple("high" if x > 10 else "low" for x in n),
        "(label numbers above 10 high and the others low|write high for numbers over 10, low for the rest)",
    ),
)
_NUMBER_ENDS = (
    Step("sum", sum, "(find the total|work out the sum) of the {items}", "求和"),
    Step("count", len, "count the {items}", "数一数有几个"),
    Step("max", max, "(give|take) the largest of the {items}", "给出最大的数"),
    Step("pick_first", lambda n: n[0], "(give|take) the first of the {items}", "给出第一个数"),
    Step("pick_last", lambda n: n[-1], "(give|take) the last of the {items}", "给出最后一个数"),
)


def _number_chains() -> list[Operation]:
    by_name = {step.name: step for step in (*_NUMBER_STEPS, *_NUMBER_ENDS)}
    firsts = (
        "reverse",
        "ascending",
        "descending",
        "dedupe",
        "keep_over_ten",
        "add_one",
        "double",
        "drop_first",
        "drop_last",
    )
    seconds = (
        "reverse",
        "add_one",
        "double",
        "times_ten",
        "first_two",
        "last_two",
        "drop_first",
        "negate",
        "parity",
    )
    skip = {
        ("ascending", "reverse"),
        ("descending", "reverse"),
        ("drop_last", "first_two"),
        ("drop_first", "last_two"),
    }
    chains = [
        _chain(by_name[a], by_name[b], "list", "numbers")
        for a in firsts
        for b in seconds
        if a != b and (a, b) not in skip
    ]
    ends = [("keep_even", "count"), ("keep_odd", "count"), ("keep_over_ten", "count"), ("dedupe", "count")]
    ends += [(a, b) for a in ("drop_first", "drop_last", "dedupe", "double") for b in ("sum", "max")]
    ends += [
        (a, b)
        for a in ("ascending", "keep_over_ten", "add_one", "descending")
        for b in ("pick_first", "pick_last")
    ]
    return chains + [_chain(by_name[a], by_name[b], "count", "numbers") for a, b in ends]


def _sum_steps(numbers: tuple[int, ...]) -> str:
    totals = _running(numbers)
    return "\n".join(f"{totals[i - 1]} + {numbers[i]} = {totals[i]}" for i in range(1, len(numbers)))


_NUMBER_OPERATIONS = (
    *(_alone(step, "list", "numbers") for step in _NUMBER_STEPS),
    Operation(
        "sum",
        "count",
        sum,
        do="(add up|sum|total) (the|all) numbers",
        what="(the sum|the total)( of the numbers|)",
        zh="求所有数字的和",
        steps=_sum_steps,
    ),
    Operation(
        "product_two",
        "integer",
        lambda n: n[0] * n[1],
        do="multiply the first (two numbers|number by the second)",
        what="the product of the first two numbers",
        zh="把前两个数字相乘",
        steps=lambda n: f"{n[0]} * {n[1]} = {n[0] * n[1]}",
    ),
    Operation(
        "sum_first_last",
        "count",
        lambda n: n[0] + n[-1],
        do="add the first and the last number",
        what="the sum of the first and last numbers",
        steps=lambda n: f"{n[0]} + {n[-1]} = {n[0] + n[-1]}",
    ),
    Operation(
        "first_minus_last",
        "integer",
        lambda n: n[0] - n[-1],
        do="subtract the last number from the first",
        what="the first number minus the last",
        steps=lambda n: f"{n[0]} - {n[-1]} = {n[0] - n[-1]}",
    ),
    Operation("max", "count", max, what="the (largest|biggest|highest) number", zh="找出最大的数"),
    Operation("min", "count", min, what="the (smallest|lowest) number", zh="找出最小的数"),
    Operation(
        "range",
        "count",
        lambda n: max(n) - min(n),
        do="subtract the smallest number from the largest",
        what="(the difference between the largest and smallest numbers|the range, largest minus smallest)",
        zh="求最大数与最小数的差",
        steps=lambda n: f"{max(n)} - {min(n)} = {max(n) - min(n)}",
    ),
    Operation(
        "count",
        "count",
        len,
        do="count the numbers",
        what="(how many numbers there are|the number of numbers)",
        zh="数一数有几个数字",
    ),
    Operation(
        "count_even",
        "count",
        lambda n: sum(x % 2 == 0 for x in n),
        do="count the even numbers",
        what="(how many numbers are even|the number of even numbers)",
        zh="数一数有几个偶数",
    ),
    Operation(
        "count_odd",
        "count",
        lambda n: sum(x % 2 for x in n),
        do="count the odd numbers",
        what="(how many numbers are odd|the number of odd numbers)",
    ),
    Operation(
        "count_distinct",
        "count",
        lambda n: len(set(n)),
        do="count the different numbers",
        what="(how many different numbers there are|the number of distinct values)",
    ),
    Operation("first", "count", lambda n: n[0], what="the first number", zh="找出第一个数字"),
    Operation("second", "count", lambda n: n[1], what="the second number", zh="找出第二个数字"),
    Operation("last", "count", lambda n: n[-1], what="the (last|final) number", zh="找出最后一个数字"),
    Operation(
        "median_sorted",
        "count",
        lambda n: sorted(n)[(len(n) - 1) // 2],
        what="the middle number after sorting, the lower one if there are two",
    ),
    Operation(
        "sum_even",
        "count",
        lambda n: sum(x for x in n if x % 2 == 0),
        do="add up only the even numbers, 0 if none",
        what="the sum of the even numbers, 0 if there are none",
    ),
    Operation(
        "second_largest",
        "count",
        lambda n: sorted(set(n))[-2] if len(set(n)) > 1 else None,
        what="the second largest (number|value)",
    ),
    Operation(
        "max_position",
        "count",
        lambda n: n.index(max(n)) + 1,
        what="the position of the largest number, counting from 1, (its first place|the first one) if repeated",
    ),
    Operation(
        "min_and_max",
        "list",
        lambda n: (min(n), max(n)),
        what="(the smallest and the largest number, in that order|the minimum, then the maximum)",
    ),
    Operation(
        "first_parity",
        "text",
        lambda n: "even" if n[0] % 2 == 0 else "odd",
        do="(say|tell me|decide) (whether|if) the first number is even or odd",
        zh="判断第一个数字是even还是odd",
    ),
    Operation(
        "sum_parity",
        "text",
        lambda n: "even" if sum(n) % 2 == 0 else "odd",
        do="(say|tell me|decide) (whether|if) the sum of the numbers is even or odd",
    ),
    Operation(
        "last_prime",
        "text",
        lambda n: "prime" if is_prime(n[-1]) else "not prime",
        do="(say|tell me|decide) (whether|if) the last number is prime: (answer |)'prime' or 'not prime'",
    ),
    Operation(
        "trend",
        "token",
        lambda n: "A" if n[-1] > n[0] else "B" if n[-1] < n[0] else "C",
        do="(answer|reply|label it) A if the last number is larger than the first, B if it is smaller, C if they are equal",
    ),
    Operation(
        "over_forty",
        "token",
        lambda n: "1" if any(x > 40 for x in n) else "0",
        do="(answer|reply|output) 1 if any number is (above|over) 40, (else|otherwise) 0",
    ),
    Operation(
        "plus_expression",
        "token",
        lambda n: " + ".join(map(str, n)),
        do="(write|put) plus signs between the numbers, without (computing|adding)|turn the list into an addition, unsolved",
    ),
    Operation(
        "pair_tuple",
        "block",
        lambda n: f"({n[0]}, {n[-1]})",
        do="(write|give) a Python tuple of the first and last number",
    ),
    Operation(
        "python_sum",
        "block",
        lambda n: f"sum({list(n)!r})",
        do="(write|give) a Python expression that adds them up: sum called on a list literal of the numbers",
    ),
    Operation(
        "python_max",
        "block",
        lambda n: f"max({list(n)!r})",
        do="(write|give) a Python expression for the largest: max called on a list literal of the numbers",
    ),
    Operation(
        "comprehension",
        "block",
        lambda n: f"[x * 2 for x in {list(n)!r}]",
        do="(write|give) a Python list comprehension over the numbers, with variable x, that doubles each one",
    ),
    Operation(
        "rust_vec",
        "block",
        lambda n: f"let v = vec![{', '.join(map(str, n))}];",
        do="(write|give) a Rust line that declares v with the vec! macro holding the numbers",
    ),
    Operation(
        "c_array",
        "block",
        lambda n: f"int a[] = {{{', '.join(map(str, n))}}};",
        do="(write|give) a C line that declares an int array a, no size, holding the numbers",
    ),
    Operation(
        "indexed",
        "block",
        lambda n: "\n".join(f"{i}: {x}" for i, x in enumerate(n)),
        do="(write|list) each number on its own line after its index, a colon and a space, counting from 0",
    ),
    *_number_chains(),
)

KINDS = (
    Kind("words", "(a list of words|some words|several words|words)", _make_words, _WORD_OPERATIONS),
    Kind(
        "integers",
        "(a list of numbers|some whole numbers|several integers|numbers)",
        _make_integers,
        _NUMBER_OPERATIONS,
    ),
)
