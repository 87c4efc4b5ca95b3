
"""One-expression Python functions: reading, rewriting and translating them."""

import random
from dataclasses import dataclass

from t2l.train.families.core import Kind, Operation

_VERBS = ("get", "make", "find", "count", "add", "load", "scale", "mix", "join", "pick")
_THINGS = ("total", "price", "score", "value", "level", "size", "points", "rate", "items", "weight")
_ARGUMENTS = (
    "a",
    "b",
    "x",
    "y",
    "n",
    "m",
    "left",
    "right",
    "count",
    "price",
    "width",
    "height",
    "first",
    "second",
)
_MEANING = {"+": ("sum", "{} plus {}"), "-": ("difference", "{} minus {}"), "*": ("product", "{} times {}")}


@dataclass(frozen=True, slots=True)
class Function:
    """def <verb>_<thing>(<first>, <second>): return <first> <operator> <second>"""

    verb: str
    thing: str
    first: str
    second: str
    operator: str
    one_line: bool

    @property
    def name(self) -> str:
        return f"{self.verb}_{self.thing}"

    @property
    def camel(self) -> str:
        return self.verb + self.thing.capitalize()

    @property
    def expression(self) -> str:
        return f"{self.first} {self.operator} {self.second}"

    @property
    def arguments(self) -> str:
        return f"{self.first}, {self.second}"

    def write(
        self,
        name: str = "",
        arguments: str = "",
        body: str = "",
        before: str = "",
        returns: str = "",
        start: str = "def",
    ) -> str:
        head = f"{start} {name or self.name}({arguments or self.arguments}){returns}:"
        body = body or f"return {self.expression}"
        if self.one_line and not before:
            return f"{head} {body}"
        return f"{head}\n" + (f"    {before}\n" if before else "") + f"    {body}"

    def value(self, a: int, b: int) -> int:
        return {"+": a + b, "-": a - b, "*": a * b}[self.operator]


def _make(rng: random.Random) -> tuple[Function, str]:
    first, second = rng.sample(_ARGUMENTS, 2)
    f = Function(
        rng.choice(_VERBS), rng.choice(_THINGS), first, second, rng.choice("+-*"), rng.random() < 0.5
    )
    return f, f.write()


def _renamed(f: Function) -> str:
    return f.write(arguments=f"value, {f.second}", body=f"return value {f.operator} {f.second}")


_THE_FUNCTION = "(the function|it)"
_LAYOUT = "(keeping the line layout|with the lines as they are)"
_OPERATIONS = (
    Operation(
        "name",
        "token",
        lambda f: f.name,
        what="(the name of the function|the function's name)",
        zh="给出函数名",
    ),
    Operation(
        "camel",
        "token",
        lambda f: f.camel,
        what="(the function name in camelCase|the camelCase form of the function name)",
        zh="给出驼峰式的函数名",
    ),
    Operation(
        "pascal",
        "token",
        lambda f: f.verb.capitalize() + f.thing.capitalize(),
        what="(the function name in PascalCase|the PascalCase form of the function name)",
    ),
    Operation(
        "kebab",
        "token",
        lambda f: f"{f.verb}-{f.thing}",
        what="(the function name in kebab-case|the function name with a hyphen for the underscore)",
    ),
    Operation(
        "upper_name",
        "token",
        lambda f: f.name.upper(),
        what="(the function name in capitals|the function name as a constant, in capitals)",
    ),
    Operation(
        "words",
        "text",
        lambda f: f"{f.verb} {f.thing}",
        what="(the function name as two words|the words of the function name, separated by a space)",
    ),
    Operation("verb", "text", lambda f: f.verb, what="the first word of the function name"),
    Operation("thing", "text", lambda f: f.thing, what="the last word of the function name"),
    Operation(
        "private",
        "token",
        lambda f: f"_{f.name}",
        what="the function name made private with a leading underscore",
    ),
    Operation(
        "first_argument",
        "token",
        lambda f: f.first,
        what="the (first parameter|name of the first parameter)",
        zh="给出第一个参数名",
    ),
    Operation(
        "second_argument",
        "token",
        lambda f: f.second,
        what="the (second parameter|name of the second parameter)",
        zh="给出第二个参数名",
    ),
    Operation(
        "arguments",
        "list",
        lambda f: (f.first, f.second),
        what="(the parameters|the parameter names), in order",
        do="(list|extract) the parameters, in order",
        zh="按顺序列出参数名",
    ),
    Operation(
        "arguments_swapped",
        "list",
        lambda f: (f.second, f.first),
        what="(the parameters|the parameter names), last one first",
    ),
    Operation(
        "arguments_sorted",
        "list",
        lambda f: tuple(sorted((f.first, f.second))),
        what="(the parameters|the parameter names) in alphabetical order",
    ),
    Operation(
        "name_and_arguments",
        "list",
        lambda f: (f.name, f.first, f.second),
        what="(the function name and its parameters|the function name, then each parameter)",
    ),
    Operation(
        "operator",
        "token",
        lambda f: f.operator,
        what="the (operator|arithmetic sign) used",
        zh="给出所用的运算符",
    ),
    Operation(
        "operation",
        "text",
        lambda f: _MEANING[f.operator][0],
        do="(say|tell me|name) what is computed: sum, difference or product",
        what="what it computes: sum, difference or product",
        zh="判断计算的是sum、difference还是product",
    ),
    Operation(
        "operator_letter",
        "token",
        lambda f: {"+": "A", "-": "S", "*": "M"}[f.operator],
        do="(answer|output) A if it adds, S if it subtracts, M if it multiplies",
    ),
    Operation(
        "commutative",
        "text",
        lambda f: "no" if f.operator == "-" else "yes",
        do="(say|tell me) (whether|if) swapping the arguments leaves the result unchanged, yes or no",
    ),
    Operation(
        "multiplies",
        "text",
        lambda f: "true" if f.operator == "*" else "false",
        do="(say|tell me|check) (whether|if) it multiplies, true or false",
    ),
    Operation(
        "expression",
        "block",
        lambda f: f.expression,
        what="the (returned expression|expression after return)",
        zh="给出return后的表达式",
    ),
    Operation(
        "call", "block", lambda f: f"{f.name}(2, 3)", do="(write|give) a call of the function with 2 and 3"
    ),
    Operation(
        "call_keywords",
        "block",
        lambda f: f"{f.name}({f.first}=1, {f.second}=2)",
        do="(write|give) a call with keyword arguments, 1 for the first and 2 for the second",
    ),
    Operation(
        "print_call",
        "block",
        lambda f: f"print({f.name}(4, 5))",
        do="(write|give) a line that prints the result of calling it with 4 and 5",
    ),
    Operation(
        "value_five_two",
        "integer",
        lambda f: f.value(5, 2),
        what="(what it returns for 5 and 2|the value returned when called with 5 and 2)",
        zh="给出参数为5和2时的返回值",
    ),
    Operation(
        "value_ten_three",
        "integer",
        lambda f: f.value(10, 3),
        what="(what it returns for 10 and 3|the value returned when called with 10 and 3)",
        steps=lambda f: f"10 {f.operator} 3 = {f.value(10, 3)}",
    ),
    Operation(
        "value_seven_seven",
        "integer",
        lambda f: f.value(7, 7),
        what="(what it returns for 7 and 7|the value returned when called with 7 twice)",
        steps=lambda f: f"7 {f.operator} 7 = {f.value(7, 7)}",
    ),
    Operation(
        "assertion",
        "block",
        lambda f: f"assert {f.name}(4, 2) == {f.value(4, 2)}",
        do="(write|give) an assert that calls it with 4 and 2 and checks the right result",
    ),
    Operation(
        "doctest",
        "block",
        lambda f: f">>> {f.name}(3, 1)\n{f.value(3, 1)}",
        do="(write|give) a doctest: the prompt >>> with the call on 3 and 1, then the result on the next line",
    ),
    Operation(
        "rename",
        "block",
        lambda f: f.write(name="compute"),
        do="(rename|change the name of) the function to compute, (the rest unchanged|leaving the rest)",
        zh="把函数改名为compute，其余不变",
    ),
    Operation(
        "make_private",
        "block",
        lambda f: f.write(name=f"_{f.name}"),
        do="(put|add) an underscore in front of the function name and give the function",
    ),
    Operation(
        "rename_argument",
        "block",
        _renamed,
        do="(rename|change) the first parameter to value everywhere in the function",
    ),
    Operation(
        "swap_arguments",
        "block",
        lambda f: f.write(arguments=f"{f.second}, {f.first}"),
        do="(swap|exchange) the two parameters in the signature only",
    ),
    Operation(
        "default",
        "block",
        lambda f: f.write(arguments=f"{f.first}, {f.second}=1"),
        do="(give|add) the second parameter the default value 1, no spaces around =",
    ),
    Operation(
        "divide",
        "block",
        lambda f: f.write(body=f"return {f.first} / {f.second}"),
        do="(change|switch) the operator to / and give the function",
    ),
    Operation(
        "third_argument",
        "block",
        lambda f: f.write(arguments=f"{f.arguments}, extra"),
        do="(add|append) a third parameter named extra, unused in the body",
    ),
    Operation(
        "docstring",
        "block",
        lambda f: f.write(before=f'"""Return the {_MEANING[f.operator][0]}."""'),
        do='(add|insert) the docstring """Return the X.""" with sum, difference or product as X, on its own line',
    ),
    Operation(
        "type_hints",
        "block",
        lambda f: f.write(arguments=f"{f.first}: int, {f.second}: int", returns=" -> int"),
        do="(add|write) int type hints for both parameters and the result",
        zh="为两个参数和返回值加上int类型标注",
    ),
    Operation(
        "async",
        "block",
        lambda f: f.write(start="async def"),
        do="(make|turn) the function async, (nothing else changed|the rest unchanged)",
    ),
    Operation(
        "method",
        "block",
        lambda f: f.write(arguments=f"self, {f.arguments}"),
        do="(turn|make) it into a method by adding self as first parameter",
    ),
    Operation(
        "decorated",
        "block",
        lambda f: f"@cache\n{f.write()}",
        do="(put|add) the decorator @cache on a line above the function",
    ),
    Operation(
        "negated",
        "block",
        lambda f: f.write(body=f"return -({f.expression})"),
        do="(negate|flip the sign of) the returned expression with a minus and parentheses",
    ),
    Operation(
        "print_body",
        "block",
        lambda f: f.write(body=f"print({f.expression})"),
        do="(let|make) the function print the expression in place of returning it",
    ),
    Operation(
        "lambda",
        "block",
        lambda f: f"lambda {f.arguments}: {f.expression}",
        do="(rewrite|write) it as a (bare |)lambda, without a name",
        zh="改写成匿名lambda",
    ),
    Operation(
        "named_lambda",
        "block",
        lambda f: f"{f.name} = lambda {f.arguments}: {f.expression}",
        do="(rewrite|write) it as a lambda assigned to the same name",
    ),
    Operation(
        "signature",
        "block",
        lambda f: f"def {f.name}({f.arguments}):",
        what="(only the def line|the signature line up to the colon)",
    ),
    Operation(
        "stub",
        "block",
        lambda f: f"def {f.name}({f.arguments}): ...",
        do="(replace the body by|swap the body for) three dots, all on one line",
    ),
    Operation(
        "arrow",
        "block",
        lambda f: f"const {f.camel} = ({f.arguments}) => {f.expression};",
        do="(convert|translate|rewrite) it to a JavaScript arrow function, const with a camelCase name",
        zh="改写成JavaScript箭头函数，用const和驼峰式函数名",
    ),
    Operation(
        "javascript",
        "block",
        lambda f: f"function {f.camel}({f.arguments}) {{ return {f.expression}; }}",
        do="(convert|translate|rewrite) it to a JavaScript function declaration on one line, camelCase name",
    ),
    Operation(
        "c",
        "block",
        lambda f: f"int {f.name}(int {f.first}, int {f.second}) {{ return {f.expression}; }}",
        do="(convert|translate|rewrite) it to C on one line, all ints, same name",
    ),
    Operation(
        "rust",
        "block",
        lambda f: f"fn {f.name}({f.first}: i32, {f.second}: i32) -> i32 {{ {f.expression} }}",
        do="(convert|translate|rewrite) it to Rust on one line, all i32, no return keyword",
    ),
    Operation(
        "ruby",
        "block",
        lambda f: f"def {f.name}({f.arguments}) = {f.expression}",
        do="(convert|translate|rewrite) it to a Ruby endless method",
    ),
    Operation(
        "comment",
        "block",
        lambda f: f"# returns {_MEANING[f.operator][1].format(f.first, f.second)}",
        do="(write|give) a comment '# returns X plus Y' with the parameters, and plus, minus or times as fits",
    ),
    Operation(
        "explain",
        "prose",
        lambda f: f"It returns {_MEANING[f.operator][1].format(f.first, f.second)}.",
        do="(explain|say) what it returns: 'It returns X plus Y.' with plus, minus or times as fits",
        zh="用英文说明返回值：It returns X plus Y.（按需用plus、minus或times）",
    ),
    Operation(
        "explain_chinese",
        "prose",
        lambda f: f"返回{f.first}和{f.second}的{ {'+': '和', '-': '差', '*': '积'}[f.operator] }。",
        do="(explain|say) in Chinese what it returns: 返回X和Y的和, 差 or 积, then 。",
        zh="用“返回X和Y的和/差/积。”说明返回值",
    ),
    Operation(
        "explain_spanish",
        "prose",
        lambda f: (
            f"Devuelve la {'suma' if f.operator == '+' else 'resta'} de {f.first} y {f.second}."
            if f.operator != "*"
            else f"Devuelve el producto de {f.first} y {f.second}."
        ),
        do="(explain|say) in Spanish what it returns: 'Devuelve la suma (la resta, el producto) de X y Y.'",
    ),
    Operation(
        "commit",
        "prose",
        lambda f: f"Add {f.name} with two parameters",
        do="(write|give) a commit message 'Add NAME with two parameters' for it",
    ),
    Operation(
        "import",
        "block",
        lambda f: f"from tools import {f.name}",
        do="(write|give) the Python line that imports it from the module tools",
    ),
    Operation(
        "test_name",
        "block",
        lambda f: f"def test_{f.name}():\n    assert {f.name}(1, 1) == {f.value(1, 1)}",
        do="(write|give) a pytest test of two lines that calls it with 1 and 1 and asserts the result",
    ),
    Operation(
        "partial",
        "block",
        lambda f: f"partial({f.name}, 10)",
        do="(write|give) a call of partial that fixes the first argument to 10",
    ),
)

KINDS = (Kind("function", "(a Python function|a small function in Python|Python code)", _make, _OPERATIONS),)
