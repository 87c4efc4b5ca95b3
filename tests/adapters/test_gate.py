"""adapters/gate.py: near in embedding and yet another task. Each pair below is one that a threshold would let pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gate import same_content

DIFFERENT = [
    ("Sort the list in ascending order", "Sort the list in descending order"),
    ("Summarize in 3 sentences", "Summarize in 5 sentences"),
    ("Summarize in three sentences", "Summarize in five sentences"),
    ("Answer with citations", "Answer without citations"),
    ("Use recursion", "Do not use recursion"),
    ("Use recursion", "Don’t use recursion"),
    ("Translate from German to English", "Translate from English to German"),
    ("Write a Python function", "Write a Rust function"),
    ("Write it in C", "Write it in C++"),
    ("Answer in JSON", "Answer in YAML"),
    ("Fix the bug in parse_date", "Fix the bug in parse_time"),
    ("Rename getUser", "Rename setUser"),
    ('Reply "yes" only', 'Reply "no" only'),
    ("Explain os.path.join", "Explain os.path.split"),
    ("Find the maximum", "Find the minimum"),
    ("Write an encoder", "Write a decoder"),
    ("Explain how to add a user", "Explain how to remove a user"),
    ("Round to 2.5", "Round to 25"),
    ("Take the first element", "Take the last element"),
    ("按升序排列", "按降序排列"),
    ("请使用递归", "请不要使用递归"),
    ("Write a function that checks primes", "编写一个检查素数的函数"),
    ("Convert celsius to fahrenheit", "Convert fahrenheit to celsius"),
]
SAME = [
    ("Write a function that adds two numbers", "Write a function to sum 2 numbers"),
    ("Solve the math word problem step by step", "Work through this maths word problem, step by step"),
    ("Answer questions about the text", "Reply to questions concerning the passage"),
    ("Return JSON", "Answer as json"),
    ("You are a helpful Python tutor", "Act as a friendly tutor for Python"),
    ("Do not use recursion", "Never use recursion"),
    ("Fix parse_date", "Repair the function parse_date"),
    ("编写一个函数验证素数", "写一个验证素数的函数"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_task_is_turned_down_both_ways(one: str, other: str):
    assert not same_content(one, other)
    assert not same_content(other, one)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_a_paraphrase_passes_both_ways(one: str, other: str):
    assert same_content(one, other)
    assert same_content(other, one)


@given(st.text(), st.text())
def test_every_text_agrees_with_itself_and_the_order_does_not_matter(one: str, other: str):
    assert same_content(one, one)
    assert same_content(one, other) == same_content(other, one)
