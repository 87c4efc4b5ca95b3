"""Answers to scores: what counts as right, what cannot be read, and that reference solutions score 1."""

import pytest

from t2l.evaluate.data import DataError, Item
from t2l.evaluate.scoring import (
    check_item,
    code_of,
    final_number,
    gold_index,
    normalised,
    option_texts,
    parse_choice,
    rouge_l,
    score,
)

OPTIONS = ("dry palms", "wet palms", "palms covered with oil", "palms covered with lotion")


def item(answer: str, choices=(), answers=(), **meta) -> Item:
    return Item("task", "id", "test", "prompt", (answer, *answers), tuple(choices), meta)


@pytest.mark.parametrize("text", ["Paris", " paris.", '"Paris"', "PARIS\n", "`Paris`", "**Paris**", "Ｐaris"])
def test_an_exact_match_looks_past_case_spacing_quotes_and_full_stop(text):
    assert score("exact_match", item("Paris"), text).value == 1


@pytest.mark.parametrize("text", ["", "Paris, France", "London", "Pari"])
def test_another_text_is_no_exact_match(text):
    assert score("exact_match", item("Paris"), text).value == 0


def test_any_reference_counts():
    assert score("exact_match", item("NYC", answers=["New York"]), "new york").value == 1
    assert score("rouge_l", item("a b", answers=["c d"]), "c d").value == 1


def test_an_ellipsis_and_a_lone_full_stop_stay():
    assert normalised("wait...") == "wait..." and normalised(".") == "."


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("B", 1), ("b", None), ("(B)", 1), ("B.", 1), ("B. wet palms", 1), ("B) wet palms", 1), ("**B**", 1),
        ("The answer is B.", 1), ("Answer: B", 1), ("the correct option is (C)", 2), ("B\nbecause", 1),
        ("Answer: A? No.\nAnswer: C", 2), ("wet palms", 1), ("I think it is wet palms.", 1),
        ("A man knows", None), ("C.P. is what I know", None), ("", None), ("E", None), ("A or B", None),
        ("dry palms or wet palms", None), ("**Answer:** B", 1), ("**Answer**: B", 1), ("__Answer__ is (C)", 2),
    ],
)  # fmt: skip
def test_a_letter_or_the_words_of_an_option_are_read_and_guesses_are_not_made(text, index):
    assert parse_choice(item("B", OPTIONS, answer_index=1), text) == index


def test_unreadable_choices_score_nothing_and_are_counted():
    result = score("choice", item("B", OPTIONS), "I cannot say")
    assert result.value == 0 and not result.parsed
    assert score("choice", item("B", OPTIONS), "A").parsed


def test_a_letter_wins_over_an_option_that_reads_like_one():
    carbon = item("C", ("C", "NO2", "O2", "CO"), answer_index=2)
    assert score("choice", carbon, "C").value == 1


def test_in_a_closed_set_of_texts_the_named_one_counts_and_the_longer_name_wins():
    logic = item("invalid", ("valid", "invalid"))
    assert score("exact_match", logic, "The argument is invalid.").value == 1
    assert score("exact_match", logic, "valid").value == 0
    assert score("exact_match", item("not sure", ("sure", "not sure")), "I am not sure").value == 1
    assert score("exact_match", item("true", ("true", "false")), "true or false").parsed is False


@pytest.mark.parametrize(
    ("one", "texts"),
    [
        (item("B", OPTIONS), ("A", "B", "C", "D")),
        (item("(B)", OPTIONS), ("(A)", "(B)", "(C)", "(D)")),
        (item("true", ("true", "false")), ("true", "false")),
        (item("A is 5.\nAnswer: A", ("5", "6"), answer_index=0), ("Answer: A", "Answer: B")),
        (item("wet palms", OPTIONS), OPTIONS),
    ],
)
def test_options_are_written_in_the_form_of_the_answer(one, texts):
    assert option_texts(one) == texts
    assert texts[gold_index(one)] == one.answer.splitlines()[-1]


def test_an_answer_that_is_no_choice_is_an_error_for_choice_and_plain_equality_otherwise():
    odd = item("Monsters, Inc", ("Monsters", "Inc"))
    with pytest.raises(DataError, match="none of the 2 choices"):
        check_item("choice", odd)
    assert score("exact_match", odd, "monsters, inc").value == 1
    assert score("exact_match", odd, "Inc").value == 0


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence():
    """Lin 2004, section 3.1: reference `police killed the gunman`, candidate `police kill the gunman`: 3 of 4
    words."""
    assert rouge_l("police kill the gunman", "Police killed the gunman.") == pytest.approx(3 / 4)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(2 / 4)
    assert rouge_l("a b c d e f", "a c e") == pytest.approx(2 * 3 / 9)
    assert rouge_l("", "x") == 0 and rouge_l("", "") == 1
    assert rouge_l("我喜欢猫", "我喜欢狗") == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 5\n#### 72", 72), ("#### $1,234.50", 1234.5), ("it is -7 degrees", -7), ("\\boxed{3/4 = .75}", 0.75),
        ("The answer is 12. I checked 13 ways.", 12), ("1 then 2 then 3.", 3), ("1e3", 1000), ("none", None),
        ("To answer this we add 3 and 4.\nThe total is 7 apples.", 7), ("She answered 8 of 10, so he missed 2.", 2),
        ("The answer is 3 + 4 = 7.", 7), ("#### 3 * 4 = 12", 12), ("**Answer:** 42 (not 41)", 42),
        ("Answer: 5, as x = 6 - 1", 5), ("the answer is = 9", 9),
        ("The answer is 2 x 3 = 6", 6), ("Answer: $2 x $3 = $6 a box", 6), ("The answer is 5 since 2x = 10", 5),
        ("The answer is 2x3 = 6.", 6),
    ],
)  # fmt: skip
def test_the_final_number_is_found(text, number):
    assert final_number(text) == number


def test_numeric_answers_compare_by_value():
    gsm = item("steps\n#### 1,000", final="1000")
    assert score("numeric", gsm, "#### 1000.0").value == 1
    assert score("numeric", gsm, "#### 1001").value == 0
    assert score("numeric", gsm, "no idea").parsed is False


MBPP = item(
    "def add(a, b):\n    return a + b",
    test_list=["assert add(1, 2) == 3", "assert add(x, x) == 4"],
    test_setup_code="x = 2",
)
HUMANEVAL_PROMPT = 'import math\n\ndef root(x):\n    """Square root."""\n'
HUMANEVAL = item(
    HUMANEVAL_PROMPT + "    return math.sqrt(x)\n",
    prompt=HUMANEVAL_PROMPT,
    test="def check(candidate):\n    assert candidate(9) == 3\n",
    entry_point="root",
)
PROGRAM = item("def solution():\n    return 1 / 3", target="0.3333333333333333")


@pytest.mark.parametrize(
    ("metric", "one"), [("pass_at_1", MBPP), ("pass_at_1", HUMANEVAL), ("numeric_program", PROGRAM)]
)
def test_the_reference_program_scores_one_bare_and_fenced(metric, one):
    assert score(metric, one, one.answer).value == 1
    assert score(metric, one, f"Here it is:\n```python\n{one.answer}\n```\nIt adds.").value == 1


def test_wrong_and_broken_programs_score_nothing():
    assert score("pass_at_1", MBPP, "def add(a, b):\n    return a - b").value == 0
    assert score("pass_at_1", MBPP, "def add(a, b:").value == 0
    assert score("numeric_program", PROGRAM, "def solution():\n    return 0.34").value == 0
    assert score("numeric_program", PROGRAM, "def solution():\n    return 'x'").parsed is False


@pytest.mark.parametrize(
    ("target", "returned", "right"),
    [(5843731, 5843732, 0), (5843731, 5843731.0004, 1), (12.5, 12.502, 0), (0.1, 0.1004, 1), (1e15, 1e15 + 1, 1)],
)
def test_a_program_is_right_within_a_thousandth_however_large_its_target(target, returned, right):
    """With 1e-4 of the target allowed, seven-digit answers that were hundreds off counted."""
    one = item("def solution():\n    return 1", target=target)
    assert score("numeric_program", one, f"def solution():\n    return {returned!r}").value == right


def test_a_humaneval_answer_may_be_the_body_alone_or_use_the_prompts_imports():
    assert score("pass_at_1", HUMANEVAL, "    return math.sqrt(x)\n").value == 1
    assert score("pass_at_1", HUMANEVAL, "def root(x):\n    return math.sqrt(x)\n").value == 1


def test_code_is_taken_from_the_blocks_that_define_something():
    text = "Run\n```bash\nls\n```\nthen\n```python\ndef f():\n    pass\n```\nand\n```\nf()\n```"
    assert code_of(text) == "def f():\n    pass\n"
    assert code_of("```python\ndef f():\n    pass") == "def f():\n    pass"
    assert code_of("x = 1") == "x = 1"


@pytest.mark.parametrize(
    ("metric", "one", "field"),
    [
        ("pass_at_1", item("x"), "meta.test_list"),
        ("numeric_program", item("def f(): pass"), "meta.target"),
        ("numeric_program", item("x", target=1), "meta.entry_point"),
        ("numeric", item("none"), "no number"),
        ("choice", item("A"), "none of the 0 choices"),
        ("pass_at_1", item("x", test_list=5), "meta.test_list is 5"),
    ],
)
def test_what_an_item_lacks_is_named_before_anything_runs(metric, one, field):
    with pytest.raises(DataError, match=field):
        check_item(metric, one)
