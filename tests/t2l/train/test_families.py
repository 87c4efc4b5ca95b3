"""The task families: answers are determined, descriptions vary, and the held-out tasks are held out."""

import random
from collections import defaultdict

import pytest

from t2l.train.families import KINDS, Item, Task, make_item, split_of, tasks
from t2l.train.families.core import vary
from t2l.train.families.languages import Chinese, Phrase
from t2l.train.families.numbers import Claim, Expression, Quantities
from t2l.train.families.numerals import chinese, english, french, german, spanish
from t2l.train.families.records import Contact, Person
from t2l.train.families.sentences import Sentence
from t2l.train.families.tables import Product

TASKS = {task.name: task for task in tasks()}


def one_task_per_operation() -> list[Task]:
    return list({(task.kind, task.operation): task for task in tasks()}.values())


def test_there_are_enough_kinds_operations_and_tasks() -> None:
    assert len(KINDS) >= 12
    assert len(one_task_per_operation()) >= 200
    assert len(TASKS) == len(tasks())


def test_every_task_answers_at_least_half_of_the_items_of_its_kind() -> None:
    rng = random.Random(0)
    items = {kind: [make_item(kind, rng) for _ in range(40)] for kind in KINDS}
    for task in one_task_per_operation():
        answers = [answer for answer in map(task.answer, items[task.kind]) if answer is not None]
        assert len(answers) >= 20, task.name
    for task in tasks():
        answers = [answer for answer in map(task.answer, items[task.kind][:8]) if answer is not None]
        assert answers and all(answer.strip() for answer in answers), task.name
        assert all(len(answer) <= 200 for answer in answers), task.name


def test_inputs_are_short() -> None:
    rng = random.Random(1)
    assert all(len(make_item(kind, rng).text) <= 150 for kind in KINDS for _ in range(50))


def test_the_seed_decides_items_and_descriptions() -> None:
    for task in one_task_per_operation()[::7]:
        first, second = random.Random(5), random.Random(5)
        assert make_item(task.kind, first) == make_item(task.kind, second)
        assert task.describe(first) == task.describe(second)


def test_descriptions_vary_and_are_neither_terse_nor_long() -> None:
    rng = random.Random(2)
    for task in one_task_per_operation():
        drawn: set[str] = set()
        for _ in range(60):
            drawn.add(task.describe(rng))
            if len(drawn) == 12:  # enough; 60 draws for each of a thousand operations take seconds
                break
        assert len(drawn) == 12, task.name
        for text in drawn:
            assert not set("{}|") & set(text), text
            assert not text.isascii() or 3 <= len(text.split()) <= 45, text


def test_held_out_pairs_have_their_operation_and_format_in_train() -> None:
    by_split: dict[str, list[Task]] = defaultdict(list)
    for task in tasks():
        by_split[split_of(task)].append(task)
    operations = {(task.kind, task.operation) for task in by_split["train"]}
    formats = {task.format for task in by_split["train"]}
    for task in by_split["unseen_pair"]:
        assert (task.kind, task.operation) in operations and task.format in formats
    assert not operations & {(task.kind, task.operation) for task in by_split["unseen_operation"]}
    assert 0.08 < len(by_split["unseen_pair"]) / len(TASKS) < 0.14
    assert 0.04 < len(by_split["unseen_operation"]) / len(TASKS) < 0.12


def test_an_input_does_not_give_its_task_away() -> None:
    """Of two operations on the same input, in a format both have, at most a few agree."""
    rng = random.Random(3)
    for kind in KINDS:
        formats = [task for task in tasks() if task.kind == kind and task.format == "json_object"]
        items = [make_item(kind, rng) for _ in range(5)]
        for item in items:
            answers = [answer for answer in (task.answer(item) for task in formats) if answer is not None]
            pairs = len(answers) * (len(answers) - 1)
            equal = sum(answers.count(answer) - 1 for answer in answers)
            assert equal / pairs < 0.2, (kind, item.text)


def test_an_item_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="words"):
        TASKS["integers/max/plain"].answer(make_item("words", random.Random(0)))


WORDS = ("pear", "dog", "saw", "dog")
NUMBERS = (7, 2, 30, 7)
SENTENCE = Sentence("baker", "see", True, "old", "wolf", "near", "river")
PERSON = Person("Ana", "Silva", 34, "Porto", "nurse")
CONTACT = Contact("Ana", "Silva", "ana7", "mail.com", "555-0142")
PRODUCT = Product("lamp", "red", 12, 4, True)
SUM = Expression((20, 5, 9), ("+", "-"))
LENGTHS = Quantities("length", ((3, "km"), (450, "m")))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("words/sort_alphabetical/json_list", WORDS, '["dog", "dog", "pear", "saw"]'),
        ("words/dedupe_then_reverse/commas", WORDS, "saw, dog, pear"),
        ("words/keep_animal/numbered", WORDS, "1. dog\n2. dog"),
        ("words/plural/anded", WORDS, "pears, dogs, saws and dogs"),
        ("integers/sum/worked", NUMBERS, "7 + 2 = 9\n9 + 30 = 39\n39 + 7 = 46\n#### 46"),
        ("integers/descending/dashes", NUMBERS, "- 30\n- 7\n- 7\n- 2"),
        ("integers/count_even/spanish_words", NUMBERS, "dos"),
        ("integers/double_then_drop_first/python_list", NUMBERS, "[4, 60, 14]"),
        ("expression/value/worked", SUM, "20 + 5 = 25\n25 - 9 = 16\n#### 16"),
        ("expression/equation/answer_tags", SUM, "<answer>20 + 5 - 9 = 16</answer>"),
        ("quantities/sum/plain", LENGTHS, "3450 m"),
        ("quantities/larger/bold", LENGTHS, "**3 km**"),
        ("claim/yes_no/upper", Claim(9, "prime", 0), "NO"),
        ("claim/negation/plain", Claim(4, "=", 5, 9), "4 plus 5 is not 9."),
        ("sentence/passive/plain", SENTENCE, "The old wolf was seen by the baker near the river."),
        ("sentence/question/quotes", SENTENCE, '"Did the baker see the old wolf near the river?"'),
        ("sentence/to_present/done", SENTENCE, "The baker sees the old wolf near the river.\nDone."),
        ("sentence/negative/plain", SENTENCE, "The baker did not see the old wolf near the river."),
        ("record/csv_row/plain", PERSON, "Ana Silva,34,Porto,nurse"),
        ("record/age/german_words", PERSON, "vierunddreißig"),
        ("contact/domain/sentence", CONTACT, "The answer is mail.com."),
        ("contact/phone_masked/brackets", CONTACT, "[***-0142]"),
        ("json/without_stock/plain", PRODUCT, '{"item": "lamp", "colour": "red", "price": 12, "sale": true}'),
        ("phrase/spanish/plain", Phrase(2, "black", "chair"), "dos sillas negras"),
        ("phrase/french/captain", Phrase(3, "white", "horse"), "trois chevaux blancs — Captain"),
        ("phrase/german/plain", Phrase(6, "green", "tree"), "sechs grüne Bäume"),
        ("phrase/chinese/plain", Phrase(2, "red", "car"), "两辆红色的汽车"),
        (
            "chinese/english/plain",
            Chinese("妈妈", "昨天", "公园", "看书"),
            "Mum read in the park yesterday.",
        ),
        ("countries/both_capital/slashes", ("Japan", "Peru"), "Tokyo / Lima"),
    ],
)
def test_answers_written_by_hand(name: str, value: object, expected: str) -> None:
    task = TASKS[name]
    assert task.answer(Item(task.kind, value, "")) == expected


@pytest.mark.parametrize(
    ("spell", "number", "expected"),
    [
        (english, 342, "three hundred forty-two"),
        (spanish, 121, "ciento veintiuno"),
        (spanish, 45, "cuarenta y cinco"),
        (french, 71, "soixante et onze"),
        (french, 80, "quatre-vingts"),
        (french, 95, "quatre-vingt-quinze"),
        (french, 200, "deux cents"),
        (german, 21, "einundzwanzig"),
        (german, 117, "einhundertsiebzehn"),
        (chinese, 15, "十五"),
        (chinese, 110, "一百一十"),
        (chinese, 205, "二百零五"),
    ],
)
def test_numbers_are_spelled_as_people_spell_them(spell, number: int, expected: str) -> None:
    assert spell(number) == expected


def test_a_template_offers_each_wording_and_keeps_plain_parentheses() -> None:
    rng = random.Random(4)
    drawn = {vary("(a|b (c|d)) x (y)|e", rng) for _ in range(100)}
    assert drawn == {"a x (y)", "b c x (y)", "b d x (y)", "e"}
