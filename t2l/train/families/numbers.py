# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""Arithmetic expressions, small word problems, quantities with units, and claims about numbers."""

import operator
import random
from dataclasses import dataclass

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation
from t2l.train.families.lists import is_prime
from t2l.train.families.numerals import english

_SYMBOLS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_WORDS = {"+": "plus", "-": "minus", "*": "times"}

# --- expressions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expression:
    """a op b, or a op b op c evaluated from the left; never mixes * with + or -, so the order is not in doubt."""

    numbers: tuple[int, ...]
    symbols: tuple[str, ...]

    @property
    def partial(self) -> tuple[int, ...]:
        values = [self.numbers[0]]
        for symbol, number in zip(self.symbols, self.numbers[1:], strict=True):
            values.append(_SYMBOLS[symbol](values[-1], number))
        return tuple(values)

    @property
    def value(self) -> int:
        return self.partial[-1]

    def __str__(self) -> str:
        return self.written(self.symbols)

    def written(self, names: tuple[str, ...]) -> str:
        return str(self.numbers[0]) + "".join(
            f" {name} {number}" for name, number in zip(names, self.numbers[1:], strict=True)
        )


def _make_expression(rng: random.Random) -> tuple[Expression, str]:
    while True:
        if rng.random() < 0.3:
            value = Expression((rng.randint(2, 12), rng.randint(2, 12)), ("*",))
        else:
            count = rng.choice((2, 2, 3))
            numbers = tuple(rng.randint(1, 60) for _ in range(count))
            value = Expression(numbers, tuple(rng.choice("+-") for _ in range(count - 1)))
        if min(value.partial) >= 0:
            return value, str(value)


def _steps(e: Expression) -> str:
    partial = e.partial
    return "\n".join(
        f"{partial[i]} {s} {e.numbers[i + 1]} = {partial[i + 1]}" for i, s in enumerate(e.symbols)
    )


def _bigger(value: int, limit: int) -> str:
    return "yes" if value > limit else "no"


_EXPRESSION_OPERATIONS = (
    Operation(
        "value",
        "count",
        lambda e: e.value,
        do="(calculate|compute|work out|evaluate) (it|the expression|the value)",
        what="the value of the expression",
        zh="计算结果",
        steps=_steps,
    ),
    Operation(
        "value_plus_one",
        "count",
        lambda e: e.value + 1,
        do="(calculate|compute|evaluate) it and add one( to the result|)",
        what="the value of the expression plus one",
        zh="算出结果再加1",
        steps=lambda e: f"{_steps(e)}\n{e.value} + 1 = {e.value + 1}",
    ),
    Operation(
        "value_doubled",
        "count",
        lambda e: 2 * e.value,
        do="(calculate|compute|evaluate) it and double the result",
        what="twice the value of the expression",
        steps=lambda e: f"{_steps(e)}\n{e.value} * 2 = {2 * e.value}",
    ),
    Operation(
        "value_plus_hundred",
        "integer",
        lambda e: e.value + 100,
        do="(calculate|compute|evaluate) it and add 100( to the result|)",
        what="the value of the expression plus 100",
        steps=lambda e: f"{_steps(e)}\n{e.value} + 100 = {e.value + 100}",
    ),
    Operation(
        "negative",
        "integer",
        lambda e: -e.value if e.value else None,
        do="(calculate|compute|evaluate) it and put a minus sign before the result",
        what="the value with its sign flipped",
    ),
    Operation(
        "last_digit",
        "count",
        lambda e: e.value % 10,
        what="the last digit of the (value|result)",
        do="(calculate|compute) it and give only the last digit",
    ),
    Operation(
        "first_operand",
        "count",
        lambda e: e.numbers[0],
        what="the first (number|operand), (without calculating|no calculation)",
        zh="给出第一个数，不用计算",
    ),
    Operation(
        "last_operand",
        "count",
        lambda e: e.numbers[-1],
        what="the last (number|operand), (without calculating|no calculation)",
        zh="给出最后一个数，不用计算",
    ),
    Operation(
        "largest_operand",
        "count",
        lambda e: max(e.numbers),
        what="the largest number (in|of) the expression, (without calculating|not its value)",
    ),
    Operation(
        "operand_count",
        "count",
        lambda e: len(e.numbers),
        do="count the numbers in the expression",
        what="(how many numbers there are in the expression|the number of operands)",
    ),
    Operation(
        "operands",
        "list",
        lambda e: e.numbers,
        what="(all the numbers|the operands) in the expression, (left to right|in order)",
        do="(list|extract) the numbers, (left to right|in order)",
    ),
    Operation(
        "operands_reversed",
        "list",
        lambda e: e.numbers[::-1],
        what="(all the numbers|the operands) in the expression, (right to left|from last to first)",
    ),
    Operation(
        "sum_operands",
        "count",
        lambda e: sum(e.numbers),
        do="add up all the numbers, whatever the (signs|operators) are",
        what="the sum of the numbers, ignoring the operators",
    ),
    Operation(
        "parity",
        "text",
        lambda e: "even" if e.value % 2 == 0 else "odd",
        do="(say|tell me|decide) (whether|if) the (value|result) is even or odd",
        zh="判断结果是even还是odd",
    ),
    Operation(
        "over_thirty_five",
        "text",
        lambda e: _bigger(e.value, 35),
        do="(say|tell me|decide) (whether|if) the (value|result) is (above|greater than) 35, yes or no",
    ),
    Operation(
        "over_fifty_label",
        "token",
        lambda e: "A" if e.value > 50 else "B",
        do="(answer|output) A if the (value|result) is (above|greater than) 50 and B (otherwise|if not)",
    ),
    Operation(
        "operator_name",
        "text",
        lambda e: {"+": "addition", "-": "subtraction", "*": "multiplication"}[e.symbols[0]],
        do="name the first operation: addition, subtraction or multiplication",
        what="the name of the first operation (addition, subtraction or multiplication)",
    ),
    Operation(
        "in_symbol_words",
        "text",
        lambda e: e.written(tuple(_WORDS[s] for s in e.symbols)),
        do="(replace the operators by|write the operators as) the words plus, minus, times, keeping the digits",
    ),
    Operation(
        "in_words",
        "text",
        lambda e: " ".join(
            [
                english(e.numbers[0]),
                *(f"{_WORDS[s]} {english(n)}" for s, n in zip(e.symbols, e.numbers[1:], strict=True)),
            ]
        ),
        do="(write|spell) the expression (out |)in English words, using plus, minus, times, (unsolved|without solving it)",
    ),
    Operation(
        "equation",
        "token",
        lambda e: f"{e} = {e.value}",
        do="(write|copy) the expression, an equals sign and (its value|the result)|complete it to an equation with its (value|result)",
    ),
    Operation(
        "question",
        "prose",
        lambda e: f"What is {e}?",
        do="(turn|make) it into a question of the form 'What is ...?', (unsolved|without solving it)",
    ),
    Operation(
        "latex",
        "block",
        lambda e: "$" + str(e).replace("*", "\\times") + "$",
        do="(write|give) it in LaTeX between dollar signs, with \\times for multiplication, unsolved",
    ),
    Operation(
        "prefix",
        "block",
        lambda e: _lisp(e),
        do="(write|give) it as a Lisp expression, operator first, nested from the left",
    ),
    Operation(
        "python_print",
        "block",
        lambda e: f"print({e})",
        do="(write|give) a Python line that prints the expression's value",
    ),
    Operation(
        "javascript_log",
        "block",
        lambda e: f"console.log({e});",
        do="(write|give) a JavaScript line that logs the expression to the console",
    ),
    Operation(
        "python_lambda",
        "block",
        lambda e: f"f = lambda: {e}",
        do="(write|give) a Python lambda named f, no arguments, that returns the expression",
    ),
    Operation(
        "python_function",
        "block",
        lambda e: f"def f():\n    return {e}",
        do="(write|give) a Python function f, no arguments, that returns the expression",
    ),
    Operation(
        "assert_line",
        "block",
        lambda e: f"assert {e} == {e.value}",
        do="(write|give) a Python assert that the expression equals its value",
    ),
    Operation(
        "spanish_sentence",
        "prose",
        lambda e: f"El resultado es {e.value}.",
        do="(answer|give the value) in Spanish with 'El resultado es ...' and a full stop",
    ),
    Operation(
        "chinese_sentence",
        "prose",
        lambda e: f"结果是{e.value}。",
        do="(answer|give the value) in Chinese with 结果是 and the number, then 。",
        zh="用“结果是…。”说出结果",
    ),
)


def _lisp(e: Expression) -> str:
    text = str(e.numbers[0])
    for symbol, number in zip(e.symbols, e.numbers[1:], strict=True):
        text = f"({symbol} {text} {number})"
    return text


# --- word problems -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Story:
    """Someone has `start` things and gains or gives away `change` of them."""

    name: str
    thing: str
    start: int
    change: int
    gains: bool

    @property
    def result(self) -> int:
        return self.start + self.change if self.gains else self.start - self.change

    @property
    def calculation(self) -> str:
        return f"{self.start} {'+' if self.gains else '-'} {self.change}"


def _make_story(rng: random.Random) -> tuple[Story, str]:
    gains = rng.random() < 0.5
    start = rng.randint(4, 60)
    story = Story(
        rng.choice(words.FIRST_NAMES),
        words.plural(rng.choice(words.FRUITS)),
        start,
        rng.randint(2, 30 if gains else start - 1),
        gains,
    )
    deed = rng.choice(
        ("buys {} more", "finds {} more", "gets {} more")
        if gains
        else ("gives away {}", "eats {}", "loses {}", "sells {}")
    )
    return story, f"{story.name} has {story.start} {story.thing} and {deed.format(story.change)}."


_STORY_OPERATIONS = (
    Operation(
        "result",
        "count",
        lambda s: s.result,
        do="(work out|calculate|say) how many (fruits|pieces of fruit) (the person has (at the end|now)|are left in the end)",
        what="the number of fruits the person has at the end",
        zh="算出最后有多少个水果",
        steps=lambda s: f"{s.calculation} = {s.result}",
    ),
    Operation(
        "result_doubled",
        "count",
        lambda s: 2 * s.result,
        do="(work out|calculate) (the final number|how many there are in the end) and double it",
        what="twice the final number of fruits",
        steps=lambda s: f"{s.calculation} = {s.result}\n{s.result} * 2 = {2 * s.result}",
    ),
    Operation(
        "cost_at_three",
        "count",
        lambda s: 3 * s.result,
        do="(work out|calculate) what the final number of fruits costs at 3 dollars (each|apiece), in dollars",
        steps=lambda s: f"{s.calculation} = {s.result}\n{s.result} * 3 = {3 * s.result}",
    ),
    Operation(
        "start",
        "count",
        lambda s: s.start,
        what="(the number at the beginning|how many there were at the start)",
        zh="找出一开始的数量",
    ),
    Operation(
        "change", "count", lambda s: s.change, what="(the second number|the number that is gained or lost)"
    ),
    Operation(
        "opposite",
        "count",
        lambda s: abs(s.start - s.change) if s.gains else s.start + s.change,
        do="(work out|calculate) it the other way round: subtract if something is gained, add if something is lost, without sign",
    ),
    Operation(
        "name",
        "text",
        lambda s: s.name,
        what="(the name of the person|who it is about|the person's name)",
        zh="找出人名",
    ),
    Operation(
        "thing",
        "text",
        lambda s: s.thing,
        what="(the kind of fruit, in the plural|which fruits it is about)",
        zh="找出水果的名称",
    ),
    Operation(
        "direction",
        "text",
        lambda s: "more" if s.gains else "fewer",
        do="(say|tell me) (whether|if) the person ends with more or fewer (than before|fruits): 'more' or 'fewer'",
    ),
    Operation(
        "operation",
        "text",
        lambda s: "addition" if s.gains else "subtraction",
        do="(say|tell me) which operation solves it, addition or subtraction",
        what="the operation that solves it, addition or subtraction",
    ),
    Operation(
        "sign",
        "token",
        lambda s: "+" if s.gains else "-",
        do="(give|output) + if something is gained and - if something is lost|(answer|reply) with the sign of the change, + or -",
    ),
    Operation(
        "expression",
        "token",
        lambda s: s.calculation,
        do="(write|give) the calculation (as an expression|in digits), without the result|turn it into an expression, unsolved",
    ),
    Operation(
        "equation",
        "token",
        lambda s: f"{s.calculation} = {s.result}",
        do="(write|give) the calculation as an equation with its result|turn it into a solved equation",
    ),
    Operation(
        "numbers",
        "list",
        lambda s: (s.start, s.change),
        what="(the two numbers|all the numbers) in the text, in order",
        do="(extract|list) the numbers in the text, in order",
    ),
    Operation(
        "full_sentence",
        "prose",
        lambda s: f"{s.name} now has {s.result} {s.thing}.",
        do="(answer|write) the final amount in the form 'NAME now has N FRUITS.'|(say|write) '... now has ...' with the name, the final number and the fruits",
    ),
    Operation(
        "question",
        "prose",
        lambda s: f"How many {s.thing} does {s.name} have now?",
        do="(write|ask) the question that goes with it: 'How many ... does ... have now?'",
    ),
    Operation(
        "spanish",
        "prose",
        lambda s: f"Ahora hay {s.result}.",
        do="(answer|give the final number) in Spanish with 'Ahora hay N.'",
    ),
    Operation(
        "french",
        "prose",
        lambda s: f"Il y en a {s.result}.",
        do="(answer|give the final number) in French with 'Il y en a N.'",
    ),
    Operation(
        "python",
        "block",
        lambda s: f"{s.thing} = {s.start}\n{s.thing} {'+' if s.gains else '-'}= {s.change}",
        do="(write|give) two lines of Python: a variable named after the fruits set to the start, then changed with += or -=",
    ),
    Operation(
        "record",
        "block",
        lambda s: f'{{"name": "{s.name}", "fruit": "{s.thing}", "left": {s.result}}}',
        do="(write|give) a JSON object with the keys name, fruit and left, the final number",
    ),
    Operation(
        "is_over_thirty",
        "text",
        lambda s: _bigger(s.result, 30),
        do="(say|tell me) (whether|if) the final number is (above|over) 30, yes or no",
    ),
)

# --- quantities ----------------------------------------------------------------------------------------------------------

_UNITS = {  # small unit, large unit, how many small in a large, what is measured
    "length": ("m", "km", 1000),
    "mass": ("g", "kg", 1000),
    "time": ("min", "h", 60),
    "volume": ("ml", "l", 1000),
}
_LONG = {
    "m": "metres",
    "km": "kilometres",
    "g": "grams",
    "kg": "kilograms",
    "min": "minutes",
    "h": "hours",
    "ml": "millilitres",
    "l": "litres",
}


@dataclass(frozen=True, slots=True)
class Quantities:
    """Two amounts of the same dimension, the first in the large unit or the second, as `amounts` says."""

    dimension: str
    amounts: tuple[tuple[int, str], tuple[int, str]]

    @property
    def small(self) -> tuple[int, int]:
        unit, _, factor = _UNITS[self.dimension]
        first, second = ((n if u == unit else n * factor) for n, u in self.amounts)
        return first, second

    def written(self, i: int) -> str:
        return "{} {}".format(*self.amounts[i])


def _make_quantities(rng: random.Random) -> tuple[Quantities, str]:
    while True:
        dimension = rng.choice(tuple(_UNITS))
        small, large, factor = _UNITS[dimension]
        large_amount = (rng.randint(1, 9), large)
        small_amount = (rng.randrange(50, 9000, 50) if factor == 1000 else rng.randrange(5, 300, 5), small)
        pair = [large_amount, small_amount]
        rng.shuffle(pair)
        value = Quantities(dimension, (pair[0], pair[1]))
        if value.small[0] != value.small[1]:
            return value, f"{value.written(0)}{rng.choice((', ', ' and ', ' / '))}{value.written(1)}"


def _small_unit(q: Quantities) -> str:
    return _UNITS[q.dimension][0]


_QUANTITY_OPERATIONS = (
    Operation(
        "larger",
        "token",
        lambda q: q.written(q.small.index(max(q.small))),
        what="(the larger|the bigger|the greater) (quantity|amount), (as given|with its unit)",
        zh="找出较大的量（连同单位）",
    ),
    Operation(
        "smaller",
        "token",
        lambda q: q.written(q.small.index(min(q.small))),
        what="(the smaller|the lesser) (quantity|amount), (as given|with its unit)",
        zh="找出较小的量（连同单位）",
    ),
    Operation("first", "token", lambda q: q.written(0), what="the first (quantity|amount) with its unit"),
    Operation("second", "token", lambda q: q.written(1), what="the second (quantity|amount) with its unit"),
    Operation(
        "first_number", "integer", lambda q: q.amounts[0][0], what="the first number, without (the|its) unit"
    ),
    Operation(
        "second_number",
        "integer",
        lambda q: q.amounts[1][0],
        what="the second number, without (the|its) unit",
    ),
    Operation(
        "first_unit",
        "token",
        lambda q: q.amounts[0][1],
        what="the unit of the first (quantity|amount), abbreviated as given",
    ),
    Operation(
        "first_unit_name",
        "text",
        lambda q: _LONG[q.amounts[0][1]],
        what="(the full name of the first unit, plural|the first unit spelled out, in the plural)",
    ),
    Operation(
        "second_unit_name",
        "text",
        lambda q: _LONG[q.amounts[1][1]],
        what="(the full name of the second unit, plural|the second unit spelled out, in the plural)",
    ),
    Operation(
        "dimension",
        "text",
        lambda q: q.dimension,
        do="(say|tell me) what is measured: length, mass, time or volume",
        what="(what is measured|the dimension): length, mass, time or volume",
        zh="判断测量的是length、mass、time还是volume",
    ),
    Operation(
        "first_in_small",
        "token",
        lambda q: f"{q.small[0]} {_small_unit(q)}",
        do="express the first (quantity|amount) in the smaller of the two units",
    ),
    Operation(
        "second_in_small",
        "token",
        lambda q: f"{q.small[1]} {_small_unit(q)}",
        do="express the second (quantity|amount) in the smaller of the two units",
    ),
    Operation(
        "sum",
        "token",
        lambda q: f"{sum(q.small)} {_small_unit(q)}",
        do="(add|sum) both (quantities|amounts) in the smaller unit",
        what="the sum of both (quantities|amounts) in the smaller unit",
        zh="用较小的单位求和",
    ),
    Operation(
        "difference",
        "token",
        lambda q: f"{max(q.small) - min(q.small)} {_small_unit(q)}",
        do="subtract the smaller (quantity|amount) from the larger, in the smaller unit",
        what="the difference between the two, in the smaller unit",
    ),
    Operation(
        "ascending",
        "list",
        lambda q: tuple(q.written(i) for i in sorted((0, 1), key=lambda i: q.small[i])),
        do="(sort|order) the two from smaller to larger, with their units",
    ),
    Operation(
        "swapped",
        "list",
        lambda q: (q.written(1), q.written(0)),
        do="(swap|exchange) the two, with their units, (writing the second first|second one first)",
    ),
    Operation(
        "units",
        "list",
        lambda q: (q.amounts[0][1], q.amounts[1][1]),
        what="(only the two units|the units without the numbers), in order",
    ),
    Operation(
        "number_list",
        "list",
        lambda q: (q.amounts[0][0], q.amounts[1][0]),
        what="(only the two numbers|the numbers without the units), in order",
    ),
    Operation(
        "first_is_larger",
        "text",
        lambda q: "yes" if q.small[0] > q.small[1] else "no",
        do="(say|tell me|decide) (whether|if) the first (quantity|amount) is larger than the second, yes or no",
    ),
    Operation(
        "comparison",
        "token",
        lambda q: f"{q.written(0)} {'>' if q.small[0] > q.small[1] else '<'} {q.written(1)}",
        do="(write|put) > or < between the two (quantities|amounts), in the given order, whichever is true",
    ),
    Operation(
        "which",
        "token",
        lambda q: "A" if q.small[0] > q.small[1] else "B",
        do="(answer|output) A if the first (quantity|amount) is larger, B if the second one is",
    ),
    Operation(
        "more_sentence",
        "prose",
        lambda q: "{} is more than {}.".format(
            *(q.written(i) for i in sorted((0, 1), key=lambda i: -q.small[i]))
        ),
        do="(write|give) a sentence 'X is more than Y.' with the larger (quantity|amount) first",
    ),
    Operation(
        "spelled",
        "text",
        lambda q: (
            f"{q.amounts[0][0]} {_LONG[q.amounts[0][1]]} and {q.amounts[1][0]} {_LONG[q.amounts[1][1]]}"
        ),
        do="(write|spell) out the units in full, plural, keeping the digits, joined by 'and'",
    ),
    Operation(
        "json_pairs",
        "block",
        lambda q: "[" + ", ".join(f'{{"value": {n}, "unit": "{u}"}}' for n, u in q.amounts) + "]",
        do="(write|give) a JSON array of two objects with the keys value and unit",
    ),
    Operation(
        "python_tuple",
        "block",
        lambda q: f'({q.amounts[0][0]}, "{q.amounts[0][1]}")',
        do="(write|give) a Python tuple of the first number and its unit in double quotes",
    ),
)

# --- claims --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement about one or two numbers that is true or false."""

    a: int
    relation: str  # >, <, = (a sum), even, odd, prime
    b: int
    c: int = 0

    @property
    def true(self) -> bool:
        return {
            ">": self.a > self.b, "<": self.a < self.b, "=": self.a + self.b == self.c,
            "even": self.a % 2 == 0, "odd": self.a % 2 == 1, "prime": is_prime(self.a),
        }[self.relation]  # fmt: skip

    def written(self, negated: bool = False) -> str:
        no = "not " if negated else ""
        if self.relation == "=":
            return f"{self.a} plus {self.b} is {no}{self.c}."
        names = {
            ">": f"greater than {self.b}",
            "<": f"less than {self.b}",
            "even": "even",
            "odd": "odd",
            "prime": "prime",
        }
        return f"{self.a} is {no}{names[self.relation]}."

    @property
    def numbers(self) -> tuple[int, ...]:
        return (
            (self.a, self.b, self.c)
            if self.relation == "="
            else (self.a, self.b)
            if self.relation in "<>"
            else (self.a,)
        )

    @property
    def question(self) -> str:
        start = self.written().split(" is ")
        return f"Is {start[0]} {start[1][:-1]}?"


def _make_claim(rng: random.Random) -> tuple[Claim, str]:
    relation = rng.choice((">", "<", "=", "even", "odd", "prime"))
    a = rng.randint(2, 60)
    b = rng.choice([n for n in range(2, 61) if n != a])
    value = Claim(
        a,
        relation,
        b if relation in "<>=" else 0,
        a + b + rng.choice((0, 0, 0, 1, -1, 10)) if relation == "=" else 0,
    )
    return value, value.written()


def _label(yes: str, no: str):
    return lambda claim: yes if claim.true else no


_CHECK = "(say|tell me|decide|check) (whether|if) (it|the claim|the statement) is (true|correct)"
_CLAIM_OPERATIONS = (
    Operation(
        "true_false",
        "text",
        _label("true", "false"),
        do="(judge|check|rate) the (claim|statement): true or false|(say|answer) 'true' if the (claim|statement) holds and 'false' if not",
    ),
    Operation(
        "yes_no",
        "text",
        _label("yes", "no"),
        do=f"{_CHECK}, (with|answering) yes or no",
        zh="判断这句话是否正确，回答yes或no",
    ),
    Operation(
        "one_zero",
        "token",
        _label("1", "0"),
        do="(output|print|answer) 1 if the (claim|statement) is (true|correct), (else|otherwise) 0",
    ),
    Operation(
        "zero_one",
        "token",
        _label("0", "1"),
        do="(output|print|answer) 0 if the (claim|statement) is (true|correct), (else|otherwise) 1",
    ),
    Operation(
        "letters",
        "token",
        _label("A", "B"),
        do="(answer|choose|reply) A for a (true|correct) (claim|statement), B for a (false|wrong) one",
    ),
    Operation("right_wrong", "text", _label("right", "wrong"), do=f"{_CHECK}: (say|write) right or wrong"),
    Operation(
        "correct_incorrect",
        "text",
        _label("correct", "incorrect"),
        do="(label|mark) the (claim|statement) correct or incorrect",
    ),
    Operation("si_no", "text", _label("sí", "no"), do=f"{_CHECK}, in Spanish, sí or no"),
    Operation("oui_non", "text", _label("oui", "non"), do=f"{_CHECK}, in French, oui or non"),
    Operation("ja_nein", "text", _label("ja", "nein"), do=f"{_CHECK}, in German, ja or nein"),
    Operation(
        "dui_cuo",
        "token",
        _label("对", "错"),
        do=f"{_CHECK}, in Chinese, 对 or 错",
        zh="判断对错，回答对或错",
    ),
    Operation(
        "agree",
        "prose",
        _label("I agree.", "I disagree."),
        do="(say|write) 'I agree.' to a (true|correct) (claim|statement) and 'I disagree.' to a (false|wrong) one",
    ),
    Operation(
        "pass_fail",
        "text",
        _label("pass", "fail"),
        do="(write|output) pass if the (claim|statement) (holds|is right), fail otherwise",
    ),
    Operation(
        "plus_minus",
        "token",
        _label("+", "-"),
        do="(mark|label) a (true|correct) (claim|statement) with + and a (false|wrong) one with -",
    ),
    Operation(
        "negation",
        "prose",
        lambda c: c.written(negated=True),
        do="negate the (claim|statement) with 'is not'|(rewrite|write) the (claim|statement) in the negative, with the word not",
        zh="用not把这句话改成否定句",
    ),
    Operation(
        "question",
        "prose",
        lambda c: c.question,
        do="(turn|change|rewrite) the (claim|statement) into a yes/no question (starting with|that begins with) Is",
        zh="改写成以Is开头的疑问句",
    ),
    Operation(
        "it_is_true_that",
        "prose",
        lambda c: f"It is {'true' if c.true else 'false'} that {c.written()}",
        do="(write|begin with) 'It is true that' or 'It is false that', as fits, and (repeat|copy) the (claim|statement)",
    ),
    Operation(
        "true_version",
        "prose",
        lambda c: c.written(negated=not c.true),
        do="(make|keep) the (claim|statement) true: repeat it if it is true, otherwise put not after is",
    ),
    Operation(
        "numbers",
        "list",
        lambda c: c.numbers,
        what="(all the numbers|every number) in the (claim|statement), (in order|left to right)",
        do="(list|extract) the numbers in the (claim|statement), in order",
    ),
    Operation(
        "first_number",
        "count",
        lambda c: c.a,
        what="the first number in the (claim|statement)",
        zh="找出第一个数",
    ),
    Operation(
        "last_number", "count", lambda c: c.numbers[-1], what="the last number in the (claim|statement)"
    ),
    Operation(
        "number_count",
        "count",
        lambda c: len(c.numbers),
        do="count the numbers in the (claim|statement)",
        what="(how many numbers the statement has|the number of numbers in the claim)",
    ),
    Operation(
        "first_plus_one",
        "count",
        lambda c: c.a + 1,
        do="add one to the first number",
        what="the first number plus one",
    ),
    Operation(
        "topic",
        "text",
        lambda c: {">": "comparison", "<": "comparison", "=": "sum"}.get(c.relation, "property"),
        do="classify the (claim|statement): comparison of two numbers, sum, or property of one number, with the word comparison, sum or property",
    ),
    Operation(
        "assertion",
        "block",
        lambda c: f"assert {_condition(c)}",
        do="(write|give) the claim as a Python assert, with ==, <, > or %, and is_prime(n) for primes",
    ),
    Operation(
        "condition",
        "block",
        lambda c: _condition(c),
        do="(write|give) the claim as a Python condition, with ==, <, > or %, and is_prime(n) for primes",
    ),
)


def _condition(c: Claim) -> str:
    if c.relation in "<>":
        return f"{c.a} {c.relation} {c.b}"
    return {
        "=": f"{c.a} + {c.b} == {c.c}",
        "even": f"{c.a} % 2 == 0",
        "odd": f"{c.a} % 2 == 1",
        "prime": f"is_prime({c.a})",
    }[c.relation]


KINDS = (
    Kind(
        "expression",
        "(an arithmetic expression|a calculation|a sum to work out)",
        _make_expression,
        _EXPRESSION_OPERATIONS,
    ),
    Kind(
        "story",
        "(a word problem|a little story with numbers|a short story about fruit)",
        _make_story,
        _STORY_OPERATIONS,
    ),
    Kind(
        "quantities",
        "(two quantities|two amounts with units|two measurements)",
        _make_quantities,
        _QUANTITY_OPERATIONS,
    ),
    Kind(
        "claim",
        "(a claim about numbers|a statement about numbers|a number fact, right or wrong)",
        _make_claim,
        _CLAIM_OPERATIONS,
    ),
)
