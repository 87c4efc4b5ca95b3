"""The enhancer keeps what the user said, raises Q or changes nothing, and believes no LLM blindly."""

import string
import time
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from t2l.enhancer import Enhancer, RewriteFailed, apply_rules
from t2l.language import language_of, plain, refusals, refuses
from t2l.quality import LAMBDA, quality
from t2l.rewrite import Rejected, validated
from t2l.skills import load_skills

SKILLS = load_skills()
RULES = Enhancer(SKILLS)

GOLD = [
    ("trig hw, degrees not radians, 3 dp", ["trig", "degrees", "radians", "3"], ["radians"]),
    ("pls write kotlin 1.9 w/ ktor, no spring", ["kotlin", "1.9", "ktor", "spring"], ["spring"]),
    ("short bio for Ana Pérez, max 80 words, british english", ["Ana Pérez", "80", "british"], []),
    ("so basically i need u to check my will, england & wales", ["will", "england & wales"], []),
    ("xml -> json, keep attribute order!!", ["xml", "->", "json", "attribute order"], []),
    ("never give the answer, only hints, year 9 algebra", ["answer", "hints", "year 9", "algebra"], ["answer"]),
    ("写影评，300字，不要剧透", ["影评", "300字", "剧透"], ["剧透"]),
    ("mysql 5.7 慢查询，别加索引", ["mysql 5.7", "慢查询", "索引"], ["索引"]),
    ("那个，帮我算下个税，2024年标准", ["个税", "2024年"], []),
]


@pytest.mark.parametrize(("text", "kept", "refused"), GOLD)
def test_every_word_that_matters_stays_and_stays_refused(text: str, kept: list[str], refused: list[str]) -> None:
    enhanced = RULES.enhance(text).text
    assert [token for token in kept if token.lower() not in enhanced.lower()] == []
    spans = " | ".join(refusal.what for refusal in refusals(plain(enhanced)))
    assert [what for what in refused if what not in spans] == []
    assert language_of(enhanced) == language_of(text)


@pytest.mark.parametrize(("text", "kept", "refused"), GOLD)
def test_short_hints_gain_quality_without_bloat(text: str, kept: list[str], refused: list[str]) -> None:
    made = RULES.enhance(text)
    assert made.q_after.total > made.q_before.total
    assert made.q_before == quality(text, SKILLS) and made.q_after == quality(made.text, SKILLS)
    assert len(made.text.split()) <= 60
    assert not made.used_llm and made.rewritten == text


def test_the_goal_names_the_skill_and_a_verb_opens_the_text() -> None:
    assert RULES.enhance("sudoku and kakuro").text == (
        "Reason through: sudoku and kakuro. Goal: sound logical reasoning to a justified conclusion."
    )
    assert RULES.enhance("奥数题").text == "求解：奥数题。目标：逐步、准确的数学推理。"


def test_a_skill_that_is_refused_is_not_named() -> None:
    assert "code" not in RULES.enhance("explain python generators, no code").text.partition("Goal")[2]


def test_a_long_hint_gains_no_words() -> None:
    text = "Write a report about the garden and its keeper. " * 12
    assert len(RULES.enhance(text).text.split()) <= len(text.split())


def test_greetings_stay_as_they_are() -> None:
    for text in ("hi", "hello there", "你好"):
        assert RULES.enhance(text).text == text


@pytest.mark.parametrize(
    "text",
    ["Write thank you letters to customers", "Translate 'hey there' into French", "Translate hey there into French",
     "Classify whether an email says thanks or complains", "Reply OK, so that the user can go on",
     "Explain what PLZ means in German addresses", 'Expand "pls, u are w/ me" in chats', "那个人的传记",
     "Ok so far is what the list holds"],
)  # fmt: skip
def test_words_that_may_also_be_fillers_stay_where_they_are_meant(text: str) -> None:
    assert text in apply_rules(text, SKILLS)


@pytest.mark.parametrize(
    "text",
    ["hey there, {}", "Hey! {}", "ok so {}", "OK, so {}", "so basically {}", "pls {}", "{} pls", "{}, thanks",
     "{}. Thank you!", "{}. thanks in advance", "btw, {}", "那个，{}"],
)  # fmt: skip
def test_fillers_that_are_set_off_go(text: str) -> None:
    task = "write a haiku about the rain"
    assert apply_rules(text.format(task), SKILLS) == apply_rules(task, SKILLS)


VOCABULARY = """sql python 3 10k EUR no not without never tables haiku json Porto 5-7-5 w/ u pls solve stuff x86_64
c++ R only 不要 代码 写 诗 200字 不用 方程 翻译 Excel 别 答案 , . ! ; : ， 。"""
WORDS = st.sampled_from(VOCABULARY.split())


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=14).map(" ".join))
def test_rules_lose_no_word_but_fillers_and_are_idempotent(text: str) -> None:
    enhanced = RULES.enhance(text)
    for token in text.split():
        if token not in {"w/", "u", "pls", *",.!;:，。"}:
            assert token in enhanced.text
    assert enhanced.q_after.total >= enhanced.q_before.total
    assert RULES.enhance(enhanced.text).text == enhanced.text
    assert RULES.enhance(text) == enhanced


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=string.printable + "写代码不要。，：３ｘ", min_size=1, max_size=80))
@example("! 0;A:0")
def test_any_text_at_all_is_enhanced_without_loss_of_letters_and_digits(text: str) -> None:
    """Of arbitrary text only white space, repeated punctuation and chat fillers may go."""
    ruled = apply_rules(text, SKILLS)
    digits = [char for char in text if char.isdigit()]
    remaining = iter(ruled)
    assert all(digit in remaining for digit in digits)  # all there, in order
    assert apply_rules(ruled, SKILLS) == ruled


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=0, max_size=200))
def test_every_part_of_q_lies_between_0_and_1(text: str) -> None:
    parts = quality(text, SKILLS)
    assert all(0 <= getattr(parts, name) <= 1 for name in LAMBDA)
    assert 0 <= parts.total <= 1


def test_lambda_sums_to_one_and_q_is_the_weighted_sum() -> None:
    assert sum(LAMBDA.values()) == pytest.approx(1)
    parts = quality("Write a Python function that parses ISO 8601 dates. Return None on failure.", SKILLS)
    assert parts.total == pytest.approx(sum(LAMBDA[name] * getattr(parts, name) for name in LAMBDA))


@pytest.mark.parametrize(
    ("better", "worse", "part"),
    [
        ("Write a letter to the bank about the lost card and the fee.", "letter bank", "length"),
        ("Solve the equation.", "the equation", "structure"),
        ("an integral", "an apple", "vocabulary"),
        ("explain the rule", "explain the stuff, like, whatever!!", "clarity"),
        ("explain RFC 7231, no tables", "explain the rules", "specificity"),
    ],
)
def test_each_part_of_q_sees_its_own_fault(better: str, worse: str, part: str) -> None:
    assert getattr(quality(better, SKILLS), part) > getattr(quality(worse, SKILLS), part)


def enhancer_with(answer: str) -> Enhancer:
    return Enhancer(SKILLS, lambda prompt: answer)


def test_a_faithful_rewrite_is_used() -> None:
    answer = " Write SQL for Postgres 14 that answers the question. Use no CTEs.\n\nDescription: more"
    made = enhancer_with(answer).enhance("sql help, postgres 14, no CTEs")
    assert made.used_llm
    assert made.rewritten == "Write SQL for Postgres 14 that answers the question. Use no CTEs."
    assert made.q_after.total > made.q_before.total


def test_the_prompt_holds_the_hint_and_asks_for_a_rewrite() -> None:
    prompts: list[str] = []
    Enhancer(SKILLS, lambda prompt: prompts.append(prompt) or "").enhance("sort {my} todo\nby urgency")
    assert "Description: sort {my} todo by urgency\nRewritten:" in prompts[0]


@pytest.mark.parametrize(
    ("task", "answer", "reason"),
    [
        ("sql help, postgres 14, no CTEs", "Write SQL help for Postgres. Use no CTEs.", "it lost 14"),
        ("sql help, postgres 14, no CTEs", "Write SQL help for postgres 14 using CTEs.", "no longer refuses 'ctes'"),
        ("tweets about Porto, max 280 chars", "Write tweets about a city, max 280 chars.", "lost porto"),
        ("probability qs, fractions", "Answer probability qs with fractions, not decimals.", "refuses 1 things"),
        ("总结一下，50字以内", "Summarise the text in 50 characters.", "another language"),
        ("translate letters for my gran to french", "Bake bread.", "0% of the hint's words"),
        ("haiku", "", "empty"),
        ("haiku", "Write a haiku " * 40, "too long"),
    ],
)
def test_an_unfaithful_rewrite_is_rejected_and_the_rules_go_on(task: str, answer: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        validated(task, answer)
    made = enhancer_with(answer).enhance(task)
    assert not made.used_llm and made.text == RULES.enhance(task).text


def test_an_llm_that_gives_nothing_leaves_the_rules() -> None:
    def complete(prompt: str) -> str:
        raise RewriteFailed("timed out after 10 s")

    made = Enhancer(SKILLS, complete).enhance("haiku about rain")
    assert made.llm_failed and replace(made, llm_failed=False) == RULES.enhance("haiku about rain")


@pytest.mark.parametrize(
    "text",
    ["能够" * 500, "你好，" + "能够" * 40 + "吗", "嗯，" * 4000, "hey, " * 2500, "“" * 12_800, "word " * 2500,
     "no a, " * 2000, "no " + "a " * 750 + "z " + "or " * 800],
)  # fmt: skip
def test_odd_hints_cost_little(text: str) -> None:
    """Patterns hold Python's lock: the first two stopped the whole server for good."""
    start = time.perf_counter()
    RULES.enhance(text)
    for skill in SKILLS.skills:
        refuses(plain(text), skill.activity)
    assert time.perf_counter() - start < 5
