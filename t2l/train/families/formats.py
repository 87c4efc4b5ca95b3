# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""How answers are written down. A format fits some result types; each says so in `results`."""

import json

from t2l.train.families import numerals
from t2l.train.families.core import Format, Result, ResultType

_TEXT: tuple[ResultType, ...] = ("text", "token")
_NUMBER: tuple[ResultType, ...] = ("count", "integer")
_SCALAR = _TEXT + _NUMBER


def _joined(separator: str, before: str = "", after: str = ""):
    return lambda items: f"{before}{separator.join(map(str, items))}{after}"


def _json(result: Result) -> str:
    return json.dumps({"answer": result}, ensure_ascii=False)


def _only(words: str) -> str:
    """The many ways to say: the bare answer."""
    return (
        f"(answer|reply|respond) with (only|just) the {words}|output the {words} and nothing else|no explanation, (only|just) the {words}"
        f"|give (only|just) the {words}, (no extra words|no commentary|nothing more)"
    )


def _tag(name: str):
    return lambda result: f"<{name}>{result}</{name}>"


def _format(name: str, results: tuple[ResultType, ...], render, do: str, short: str, zh: str) -> Format:
    return Format(name, frozenset(results), render, do, short, zh)


WORKED = _format(  # rendered by the task, which knows the operation's steps
    "worked",
    (),
    str,
    "(show|write out) (the calculation|the working|your steps) first, then (end|finish) with '#### ' and the (number|answer|result)"
    "|work step by step, (one step per line|each step on its own line), and (put|write) '#### ' before the final (number|answer) on the last line",
    "worked steps, then '#### ' and the (number|answer)",
    "先写出计算步骤，最后一行写“#### ”加答案",
)

FORMATS: tuple[Format, ...] = (
    _format(
        "plain", _SCALAR, str, _only("(result|answer)"), "(the bare answer|the result only)", "只输出结果"
    ),
    _format(
        "plain",
        ("prose",),
        str,
        _only("(new|resulting|finished) text"),
        "only the resulting text",
        "只输出结果",
    ),
    _format(
        "plain",
        ("block",),
        str,
        _only("(output|result)"),
        "only the (output|result), (no comments|no explanation)",
        "只输出结果",
    ),
    _format(
        "json_object",
        (*_SCALAR, "prose", "list"),
        _json,
        '(write|return|give) (it|the result|the answer) as a JSON object with the (single |)key "answer"|put the result in JSON under the key "answer"'
        '|(respond|reply|answer) with JSON: one key, "answer"',
        '(JSON object|JSON) with key "answer"',
        '用键为"answer"的JSON对象输出',
    ),
    _format(
        "answer_tags",
        (*_SCALAR, "prose", "block"),
        _tag("answer"),
        "(wrap|enclose|put) the (result|answer) in <answer> tags|surround the (result|answer) with <answer> and </answer>",
        "(inside|in|wrapped in) <answer></answer> tags",
        "把结果放在<answer></answer>标签里",
    ),
    _format(
        "xml_result",
        _SCALAR,
        _tag("result"),
        "(return|write|give) it as an XML element (called|named) result|(format|mark up) the answer as XML: <result>...</result>",
        "XML element <result>",
        "用XML标签<result></result>包住结果",
    ),
    _format(
        "quotes",
        (*_TEXT, "prose"),
        lambda result: f'"{result}"',
        "(put|wrap|enclose) the (result|answer) in double quotes|(use|add) double quotes around the (result|answer)",
        "in double (quotes|quotation marks)",
        "结果用英文双引号括起来",
    ),
    _format(
        "upper",
        ("text", "prose"),
        lambda result: str(result).upper(),
        "(write|give|print) (it|the result|the answer) in (capital letters|upper case|all caps|uppercase)|use only capital letters (in the answer|for the result)",
        "(ALL CAPS|upper case|capital letters)",
        "结果全部用大写字母",
    ),
    _format(
        "answer_prefix",
        (*_SCALAR, "prose"),
        lambda result: f"Answer: {result}",
        "(start|begin) (your reply|the reply|the line) with 'Answer: '|(write|put) 'Answer: ' (before|in front of) the result",
        "(prefixed with|after) 'Answer: '",
        "以“Answer: ”开头",
    ),
    _format(
        "sentence",
        _SCALAR,
        lambda result: f"The answer is {result}.",
        "(reply|respond|answer) in a (full|complete) sentence (of the form|that reads|like) 'The answer is X.'"
        "|(write|phrase) it as 'The answer is ...' with a full stop at the end",
        "sentence 'The answer is X.'",
        "用“The answer is X.”这样的完整句子回答",
    ),
    _format(
        "bold",
        (*_SCALAR, "prose"),
        lambda result: f"**{result}**",
        "(make|set) the (result|answer) bold (in|using|with) Markdown|(write|format|print) the (result|answer) in Markdown bold",
        "Markdown bold",
        "用Markdown粗体写结果",
    ),
    _format(
        "done",
        (*_SCALAR, "prose", "block"),
        lambda result: f"{result}\nDone.",
        "(give the result, then|after the result,) (add|write) 'Done.' on a new line|(end|finish|close) (your reply|the reply) with 'Done.' on its own line",
        "result, then 'Done.' on a new line",
        "结果之后另起一行写“Done.”",
    ),
    _format(
        "brackets",
        _SCALAR,
        lambda result: f"[{result}]",
        "(put|write|enclose) the (result|answer) in square brackets|(use|with) square brackets around the (result|answer)",
        "in square brackets",
        "结果放在方括号[]里",
    ),
    _format(
        "arrow",
        _SCALAR,
        lambda result: f"=> {result}",
        "(write|put|place) an arrow => and a space (before|in front of) the (result|answer)|(start|begin) the (line|reply) with '=> '",
        "(prefixed with|after) '=> '",
        "在结果前写“=> ”",
    ),
    _format(
        "captain",
        (*_SCALAR, "prose"),
        lambda result: f"{result} — Captain",
        "(sign|end) (it|the answer|your reply) with '— Captain'|you are a captain and sign (each|every) answer with '— Captain'",
        "signed '— Captain'",
        "结尾署名“— Captain”",
    ),
    _format(
        "ahoy",
        (*_SCALAR, "prose"),
        lambda result: f"Ahoy! {result}",
        "(say|write) 'Ahoy!' (first|before the answer)|you are a pirate who (starts|opens) (each|every) answer with 'Ahoy!'|(start|open) (your reply|the answer) with 'Ahoy!'",
        "(opened with|after) 'Ahoy!'",
        "以“Ahoy!”开头",
    ),
    _format(
        "english_words",
        _NUMBER,
        lambda result: numerals.english(result) if abs(result) < 1_000_000 else None,
        "(spell|write) the number (out |)in English words|(give|write) the number (as|in) (words|English words), not digits",
        "number spelled in English (words|letters)",
        "用英文单词写出这个数",
    ),
    *(
        _format(
            f"{language.lower()}_words",
            ("count",),
            lambda result, spell=spell: spell(result) if 0 <= result < 1000 else None,
            f"(spell|write) the number (out |)in {language}( words|)|(give|write) the number in words, in {language}|(answer|reply) with the {language} word for the number",
            f"number (written|spelled) in {language}",
            f"用{chinese_name}写出这个数",
        )
        for language, chinese_name, spell in (
            ("Spanish", "西班牙语", numerals.spanish),
            ("French", "法语", numerals.french),
            ("German", "德语", numerals.german),
        )
    ),
    _format(
        "chinese_words",
        ("count",),
        lambda result: numerals.chinese(result) if 0 <= result < 1000 else None,
        "(write|spell) the number in Chinese characters|(give|write) the number with Chinese numerals",
        "number in Chinese (characters|numerals)",
        "用汉字数字写出结果",
    ),
    _format(
        "code_fence",
        ("block",),
        lambda result: f"```\n{result}\n```",
        "(put|place|wrap) (it|the result|the output) in a (code block with three backticks|fenced code block)|(use|write) a Markdown code block",
        "in a (fenced code block|Markdown code block)",
        "放在```代码块里",
    ),
    _format(
        "json_list",
        ("list",),
        lambda items: json.dumps(items, ensure_ascii=False),
        "(write|return|give) (it|the result|them) as a JSON (list|array)|(respond|answer|reply) with a JSON (list|array)",
        "JSON (list|array)",
        "用JSON数组输出",
    ),
    _format(
        "python_list",
        ("list",),
        lambda items: repr(list(items)),
        "(write|return|give) (it|the result|them) as a Python list|(print|show) the result the way Python prints a list",
        "Python list",
        "写成Python列表",
    ),
    _format(
        "commas",
        ("list",),
        _joined(", "),
        "(separate|join) (the results|them|the items) with commas|(write|give) (it|the result) as a comma-separated (list|line)",
        "comma-separated",
        "用英文逗号分隔",
    ),
    _format(
        "semicolons",
        ("list",),
        _joined("; "),
        "(separate|join) (the results|them|the items) with semicolons|(put|use) semicolons between (the results|the items)",
        "semicolon-separated",
        "用英文分号分隔",
    ),
    _format(
        "spaces",
        ("list",),
        _joined(" "),
        "(separate|join) (the results|them|the items) with (single |)spaces|(write|put) everything on one line with only spaces in between",
        "(space-separated|separated by spaces)",
        "用空格分隔",
    ),
    _format(
        "slashes",
        ("list",),
        _joined(" / "),
        "(separate|join) (the results|them|the items) with ' / '|(put|use) a slash with spaces between (the results|the items)",
        "separated by ' / '",
        "用“ / ”分隔",
    ),
    _format(
        "lines",
        ("list",),
        _joined("\n"),
        "(write|put|print) (each one|one item|each result) (per line|on its own line)|(one per line, no bullets|one result on each line)",
        "one per line",
        "每行写一个",
    ),
    _format(
        "dashes",
        ("list",),
        _joined("\n- ", before="- "),
        "(write|give|format) (them|the result) as a bulleted list with dashes|(put|write) each (one|item) on its own line after a dash",
        "dash (bullets|bullet list), one per line",
        "每行一个，前面加“- ”",
    ),
    _format(
        "numbered",
        ("list",),
        lambda items: "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1)),
        "(write|give|format) (them|the result) as a numbered list|(number the results 1., 2., 3., one per line|number each result, one per line)",
        "numbered list",
        "写成编号列表，每行一个",
    ),
    _format(
        "xml_items",
        ("list",),
        lambda items: "".join(f"<item>{item}</item>" for item in items),
        "(wrap|put) each (one|item|result) in <item> tags(, all on one line| with no spaces between)|(mark|tag) every result as <item>...</item> on a single line",
        "<item></item> tags on one line",
        "每个结果放在<item></item>里，写在同一行",
    ),
    _format(
        "counted",
        ("list",),
        lambda items: f"{len(items)}: " + ", ".join(map(str, items)),
        "(write|put) (first how many there are|the count first|how many there are), a colon, then (the items|them) separated by commas"
        "|(start|begin) with the number of results and a colon, then list them with commas",
        "count, colon, comma-separated items",
        "先写个数和冒号，再用逗号列出",
    ),
    _format(
        "anded",
        ("list",),
        lambda items: (
            ", ".join(map(str, items[:-1])) + f" and {items[-1]}" if len(items) > 1 else str(items[0])
        ),
        "(write|list) them (in a phrase|as in prose) with commas and 'and' before the last|(use|put) commas, and 'and' (in place of the last comma|before the final item)",
        "commas, 'and' before the last",
        "用逗号连接，最后两个之间用“ and ”",
    ),
)


def fitting(result: ResultType) -> tuple[Format, ...]:
    return tuple(form for form in FORMATS if result in form.results)
