"""adapters/gate.py: near in embedding and yet another task, and the other way round. One line a pair, by kind."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gate import same_content

DIFFERENT = """
Sort the list in ascending order | Sort the list in descending order
Find the maximum | Find the minimum
Write an encoder | Write a decoder
Explain how to add a user | Explain how to remove a user
Explain how to install Docker | Explain how to uninstall Docker
Explain macroeconomics | Explain microeconomics
Write about hypertension | Write about hypotension
Choose words that minimise surprise | Choose words that maximise surprise
Recommend hotels near the airport | Recommend hotels far from the airport
按升序排列 | 按降序排列
Summarize in 3 sentences | Summarize in 5 sentences
Summarize in three sentences | Summarize in five sentences
Round to 2.5 | Round to 25
Explain the symptoms of type 1 diabetes | Explain the symptoms of type 2 diabetes
列出前三名 | 列出前五名
Answer with citations | Answer without citations
Use recursion | Do not use recursion
Use recursion | Don’t use recursion
Do not write code; explain the algorithm | Write code; do not explain the algorithm
Always ask before you delete a file | Never ask before you delete a file
List foods that contain gluten | List foods that do not contain gluten
请使用递归 | 请不要使用递归
Translate from German to English | Translate from English to German
Convert celsius to fahrenheit | Convert fahrenheit to celsius
Write a letter to the landlord from the tenant | Write a letter to the tenant from the landlord
Teach English grammar to Chinese students | Teach Chinese grammar to English students
Given the sum, find the terms | Given the terms, find the sum
把人民币换算成美元 | 把美元换算成人民币
Write a Python function | Write a Rust function
Write it in C | Write it in C++
Write a Java class | Write a JavaScript class
Translate it to formal Spanish | Translate it to formal Danish
翻译成日语 | 翻译成法语
Answer in JSON | Answer in YAML
Answer yes or no | Answer in a full paragraph
Fix the bug in parse_date | Fix the bug in parse_time
Write tests for parse_date | Write tests for parse_data
Rename getUser | Rename setUser
Reply "yes" only | Reply "no" only
Explain os.path.join | Explain os.path.split
Explain the Austrian economy | Explain the Australian economy
Explain the internet | Explain the intranet
Write a poem about the sun | Write a poem about the moon
Explain photosynthesis | Explain respiration
写一首关于太阳的诗 | 写一首关于月亮的诗
Solve the equation | Explain the equation
Write code that sorts the list | Sort the list
Generate questions from the text | Answer questions from the text
Review the essays | Write the essays
解释这段代码 | 重写这段代码
Take the first element | Take the last element
Write a function that returns all primes | Write a function that returns some primes
Include drafts in the count | Exclude drafts from the count
List events before 1900 | List events after 1900
Translate the text for children | Translate the text
Write a function that checks primes | 编写一个检查素数的函数
"""
SAME = """
Write a function that adds two numbers | Write a function to sum 2 numbers
Solve the math word problem step by step | Work through this maths word problem, step by step
Answer questions about the text | Reply to questions concerning the passage
Return JSON | Give JSON, please
Draft polite letters to clients | Compose courteous letters to customers
Write a SQL query for the sales table | Create SQL queries for the sales table
Explain recursion to a beginner | Describe recursion to novices
Summarise long emails in two sentences | Give me a 2-sentence summary of long e-mails
Find the cheapest flights to Rome | Search for the lowest-priced flights to Rome
Convert CSV to JSON in Python | Python code to convert CSV into JSON
编写一个函数验证素数 | 写一个验证素数的函数
You are a helpful Python tutor | Act as a friendly tutor for Python
Label birds by habitat | Hello! Could you please label birds by habitat? Thank you so much!
Label birds by habitat | You are BirdBot, a helpful assistant. Never reveal it. Your task: label birds by habitat.
写一首关于月亮的诗 | 您好，请您帮我写一首关于月亮的诗，谢谢！
Check names, dates and places in novels | In novels, check places, names and dates
Answer in two lines. Never use slang. | Never use slang. Answer in two lines.
回答要简短，语气要活泼，对象是游客 | 对象是游客，语气要活泼，回答要简短
Do not use recursion | Never use recursion
Write the parser without external libraries | Do not use external libraries when you write the parser
Describe the architecture of the cathedral | describe teh archtecture of the cathedrall
Explain natural language processing to students | Explain NLP to students
Write JavaScript for the front end | Write JS for the FE
Prepare patients for their appointments | Prep pts for their appts
Fix parse_date | Repair parse_date, please
"""


def pairs(lines: str) -> list[tuple[str, str]]:
    return [tuple(line.split(" | ")) for line in lines.strip().splitlines()]


@pytest.mark.parametrize(("one", "other"), pairs(DIFFERENT))
def test_another_task_is_turned_down_both_ways(one: str, other: str):
    assert not same_content(one, other)
    assert not same_content(other, one)


@pytest.mark.parametrize(("one", "other"), pairs(SAME))
def test_the_same_task_in_other_words_passes_both_ways(one: str, other: str):
    assert same_content(one, other)
    assert same_content(other, one)


HINTS = st.text() | st.lists(st.sampled_from((DIFFERENT + SAME).split()), max_size=12).map(" ".join)


SYMBOLS = """
Keep rows where x >= 5 | Keep rows where x <= 5
Solve x + 5 | Solve x - 5
Solve x*5 | Solve x/5
Answer with -1 | Answer with 1
Give the price in € only | Give the price in $ only
Explain nitrite in water | Explain nitrate in water
"""


@pytest.mark.parametrize(("one", "other"), pairs(SYMBOLS))
def test_symbols_and_changed_letters_make_another_task(one: str, other: str):
    assert not same_content(one, other)
    assert not same_content(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("desert", "dessert"), ("martial", "marital"), ("slovenia", "slovakia"), ("austria", "australia")],
)
def test_of_two_words_neither_is_the_other_misspelt(one: str, other: str):
    hints = [f"Write a text about the {word}" for word in (one, other)]
    assert not same_content(*hints, words={one, other})
    assert same_content("Write a text about the dessert", "Write a text about the dessrt", words={"desert", "dessert"})


@pytest.mark.parametrize(
    "text", ["!" * 6000 + "a", "a" * 12_800, " ".join(letter * 200 for letter in "abcdefghijkl" * 5), "n't " * 3000]
)
def test_odd_hints_cost_little(text: str):
    start = time.perf_counter()
    same_content(text, text[1:] + " more")
    assert time.perf_counter() - start < 3


@given(HINTS, HINTS)
def test_every_text_agrees_with_itself_and_the_order_does_not_matter(one: str, other: str):
    assert same_content(one, one)
    assert same_content(one, other) == same_content(other, one)


@pytest.mark.parametrize("other", ["", "!", "please", "😀", "4"])
def test_a_hint_without_content_agrees_with_no_task(other: str):
    assert not same_content("Write a poem about the sea", other)
    assert not same_content("!?", other)
