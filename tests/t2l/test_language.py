"""Negation, language and folding: what a hint asserts and what it refuses."""

import time

import pytest

from t2l.language import asserted, language_of, plain, refusals, refuses
from t2l.skills import load_skills

CODE = next(skill for skill in load_skills().skills if skill.name == "code_generation").activity


@pytest.mark.parametrize(
    "text",
    [
        "Explain quicksort but don't write code.",
        "Explain quicksort, no code please",
        "explain quicksort w/o code",
        "Explain quicksort without any code samples.",
        "Explain quicksort; never produce programs or scripts.",
        "Do not include pseudo code or code.",
        "解释快速排序，不要写代码",
        "解释快速排序，不用给 code",
        "讲解算法，无需编程。",
        "讲算法，别写程序",
    ],
)
def test_a_refused_activity_is_found_in_both_languages(text: str) -> None:
    assert refuses(plain(text), CODE)


@pytest.mark.parametrize(
    "text",
    [
        "Return only the code.",
        "Output nothing but code.",
        "Write code with no code comments.",
        "Do not explain the code.",
        "no prose, just code",
        "Don't forget to write code.",
        "只输出代码，不要解释",
        "写代码，python3.11，不要用第三方库",
        "区别代码与伪代码",
    ],
)
def test_a_refusal_of_something_else_leaves_the_activity(text: str) -> None:
    assert not refuses(plain(text), CODE)


@pytest.mark.parametrize(
    ("text", "gone", "kept"),
    [
        ("Write a poem. Never discuss refunds, billing or the mobile app; be kind.", "billing", "kind"),
        ("Do not translate, but summarise the text.", "translate", "summarise"),
        ("Ignore style, naming and formatting. Find bugs.", "naming", "find bugs"),
        ("Plan the shifts. The payroll is another team's job. Be fair.", "payroll", "be fair"),
        ("写故事，不要鬼怪，语言生动", "鬼怪", "语言生动"),
        ("推理题，给提示不给答案", "答案", "提示"),
    ],
)
def test_what_is_refused_is_cut_out_and_the_rest_stays(text: str, gone: str, kept: str) -> None:
    said = asserted(plain(text))
    assert gone not in said and kept in said


@pytest.mark.parametrize(
    "text",
    [
        "no more than 200 words",
        "not only facts but reasons",
        "答案是 yes/no",
        "求不定积分",
        "区别两个概念",
        "answer yes or no",
    ],
)
def test_these_refuse_nothing(text: str) -> None:
    assert refusals(plain(text)) == ()


def test_a_refusal_knows_where_it_stands() -> None:
    text = plain("Use R, not SPSS.")
    (refusal,) = refusals(text)
    assert refusal.cue == "not" and refusal.what == "spss"
    assert text[refusal.start : refusal.end] == "not spss"


@pytest.mark.parametrize(
    ("text", "language"),
    [("Solve it", "en"), ("求解方程", "zh"), ("用 C++ 实现 Black-Scholes 定价", "zh"), ("", "en"), ("123", "en")],
)
def test_the_language_is_that_of_the_sentence_frame(text: str, language: str) -> None:
    assert language_of(text) == language


def test_folding_makes_widths_quotes_and_case_equal() -> None:
    assert plain("ＤＯＮ’Ｔ  Use\n\tＪＳＯＮ") == "don't use\n json"


def test_a_huge_text_costs_little() -> None:
    start = time.perf_counter()
    assert asserted(plain("is not another a " * 200_000))
    assert time.perf_counter() - start < 5
