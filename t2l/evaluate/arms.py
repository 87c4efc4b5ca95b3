"""The arms: what each baseline and each of our methods gives the model for a task.

An arm is a condition a task: a system text, solved examples, an adapter. Everything is decided by the seed,
and the same for all items of a task.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.lora import LoraAdapter
from t2l.evaluate.data import EvalData, Item
from t2l.evaluate.prompts import choose_shots

ARMS = {
    "base": "the bare model",
    "base-desc": "the bare model, the task's description as system text",
    "3-shot": "the bare model, three solved examples as earlier turns",
    "mt-lora": "the checkpoint's one multi-task adapter, whatever the task",
    "mt-lora-desc": "the same adapter, the task's description as system text",
    "t2l": "the adapter generated from the task's own description",
    "t2l-other": "the adapter generated from another task's description",
    "t2l-gibberish": "the adapter generated from random letters of the description's shape",
    "oracle": "a LoRA trained on the task itself",
    "et2l": "as served: the adapter the whole pipeline makes of the description, which stays in the system text",
}


class ArmUnavailable(Exception):
    """An arm needs something that is not there; the message says what and where to get it."""


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One arm for one task. description: the text the adapter or the system text comes from. note: for the
    report."""

    arm: str
    task: str
    system: str = ""
    shots: tuple[Item, ...] = ()
    adapter: LoraAdapter | None = None
    description: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where adapters come from; None = not at hand.

    generate: description -> adapter. multi_task: the constant adapter. oracle: task name -> its LoRA.
    pipeline: the whole ET2L pipeline, description -> adapter, or None where it says that the base model
    should answer. hint_stays: whether the server leaves a hint in the system text (`hint.strip` is off).
    """

    generate: Callable[[str], LoraAdapter] | None = None
    multi_task: Callable[[], LoraAdapter] | None = None
    oracle: Callable[[str], LoraAdapter] | None = None
    pipeline: Callable[[str], LoraAdapter | None] | None = None
    hint_stays: bool = True


class Arms:
    """Makes conditions for the tasks of one evaluation."""

    def __init__(self, data: EvalData, tasks: Sequence[str], sources: Sources, seed: int) -> None:
        self._data = data
        self._tasks = tuple(tasks)
        self._sources = sources
        self._seed = seed
        self._others = other_tasks(data, tasks, seed)

    def check(self, arms: Sequence[str]) -> None:
        """Raises ArmUnavailable before anything is computed."""
        for arm in arms:
            if arm not in ARMS:
                raise ArmUnavailable(f"there is no arm {arm!r}; there is {', '.join(ARMS)}")
        needs = {
            "mt-lora": (self._sources.multi_task, "a checkpoint with a multi-task adapter (--checkpoint)"),
            "mt-lora-desc": (self._sources.multi_task, "a checkpoint with a multi-task adapter (--checkpoint)"),
            "t2l": (self._sources.generate, "a hypernetwork checkpoint (--checkpoint)"),
            "t2l-other": (self._sources.generate, "a hypernetwork checkpoint (--checkpoint)"),
            "t2l-gibberish": (self._sources.generate, "a hypernetwork checkpoint (--checkpoint)"),
            "oracle": (self._sources.oracle, "a folder with one PEFT folder a task (--oracle DIR)"),
            "et2l": (self._sources.pipeline, "a hypernetwork checkpoint (--checkpoint)"),
        }
        for arm in arms:
            source, what = needs.get(arm, (True, ""))
            if source is None:
                raise ArmUnavailable(f"arm {arm} needs {what}")
            if arm in ("base-desc", "mt-lora-desc", "t2l", "t2l-other", "t2l-gibberish", "et2l"):
                silent = [task for task in self._tasks if not self._data.descriptions(task)]
                if silent:
                    raise ArmUnavailable(
                        f"arm {arm} needs a description of {silent[0]} in task_descriptions.jsonl"
                    )
        if "t2l-other" in arms and not self._others:
            raise ArmUnavailable("arm t2l-other needs a second task with a description in the data folder")

    def condition(self, arm: str, task: str, evaluated: Sequence[Item]) -> Condition:
        """evaluated: the items that will be asked, which may not serve as examples."""
        if arm == "base":
            return Condition(arm, task)
        if arm == "3-shot":
            return self._few_shot(task, evaluated)
        if arm == "mt-lora":
            return Condition(arm, task, adapter=self._sources.multi_task())
        if arm == "oracle":
            return Condition(arm, task, adapter=self._sources.oracle(task))
        own = self.description(task)
        if arm == "base-desc":
            return Condition(arm, task, system=own, description=own)
        if arm == "mt-lora-desc":
            return Condition(arm, task, system=own, adapter=self._sources.multi_task(), description=own)
        if arm == "t2l":
            return Condition(arm, task, adapter=self._sources.generate(own), description=own)
        if arm == "t2l-other":
            text = self.description(self._others[task])
            note = f"description of {self._others[task]}"
            return Condition(arm, task, adapter=self._sources.generate(text), description=text, note=note)
        if arm == "t2l-gibberish":
            text = gibberish(own, random.Random(f"gibberish/{self._seed}/{task}"))
            return Condition(arm, task, adapter=self._sources.generate(text), description=text)
        if arm == "et2l":
            adapter = self._sources.pipeline(own)
            note = None if adapter else "the pipeline chose the base model"
            system = own if self._sources.hint_stays or adapter is None else ""  # the bare model is told its task
            return Condition(arm, task, system=system, adapter=adapter, description=own, note=note)
        raise ArmUnavailable(f"there is no arm {arm!r}")

    def description(self, task: str) -> str:
        """One of the task's descriptions, by the seed."""
        return random.Random(f"description/{self._seed}/{task}").choice(self._data.descriptions(task))

    def _few_shot(self, task: str, evaluated: Sequence[Item]) -> Condition:
        shots, split = choose_shots(self._data, task, evaluated, self._seed)
        if not shots:
            raise ArmUnavailable(f"arm 3-shot needs items of {task} that are not evaluated; lower --limit")
        note = None if len(shots) == 3 and split == "train" else f"{len(shots)} examples of split {split}"
        return Condition("3-shot", task, shots=shots, note=note)


def other_tasks(data: EvalData, tasks: Sequence[str], seed: int) -> dict[str, str]:
    """For each task another one whose description it gets: each is used once, of another family where that
    can be.

    One task alone gets any other described task of the folder. Empty where there is none.
    """
    described = [task for task in tasks if data.descriptions(task)]
    rng = random.Random(f"other/{seed}")
    if len(described) == 1:
        rest = sorted(name for name in data.infos if name != described[0] and data.descriptions(name))
        far = [name for name in rest if data.family(name) != data.family(described[0])]
        return {described[0]: rng.choice(far or rest)} if rest else {}
    order = sorted(described)
    rng.shuffle(order)

    def near(shift: int) -> int:
        """How many tasks would get a description of their own family."""
        families = [data.family(task) for task in order]
        moved = families[shift:] + families[:shift]
        return sum(own == other is not None for own, other in zip(families, moved, strict=True))

    if not order:
        return {}
    shift = min(range(1, len(order)), key=near)  # a rotation leaves nobody in place
    return dict(zip(order, order[shift:] + order[:shift], strict=True))


def gibberish(text: str, rng: random.Random) -> str:
    """Random letters in the words' places: as long as the text, punctuated like it, and meaning nothing."""
    return "".join(rng.choice(string.ascii_lowercase) if char.isalnum() else char for char in text)
