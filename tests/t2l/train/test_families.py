"""The task families: answers are determined, descriptions vary, and the held-out tasks are held out."""

import random

from t2l.train.families import make_item, split_of, tasks


def test_every_task_answers_most_items_of_its_kind() -> None:
    rng = random.Random(0)
    for task in tasks():
        items = [make_item(task.kind, rng) for _ in range(12)]
        answers = [answer for answer in map(task.answer, items) if answer is not None]
        assert len(answers) >= 4, task.name
        assert all(answer.strip() for answer in answers), task.name


def test_held_out_pairs_have_their_operation_and_format_in_train() -> None:
    train = [task for task in tasks() if split_of(task) == "train"]
    operations, formats = {(t.kind, t.operation) for t in train}, {t.format for t in train}
    for task in tasks():
        if split_of(task) == "unseen_pair":
            assert (task.kind, task.operation) in operations and task.format in formats
        if split_of(task) == "unseen_operation":
            assert (task.kind, task.operation) not in operations
