"""The whole path from a task to one adapter, with the real embedder and skills and a hypernetwork of a few lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from adapters.lora import LoraAdapter, LoraDelta
from t2l.composer import ComposerError
from t2l.embedder import Embedder, Reading
from t2l.enhancer import RewriteFailed
from t2l.pipeline import Adaptation, Et2l, NoSkill, NothingToAdapt, open_et2l
from t2l.skills import TASK, SkillsError

GOLDBACH = "编写一个 Python 函数来验证哥德巴赫猜想"
STEPS = {"enhance", "decompose", "embed", "generate", "compose"}


class TinyHypernetwork:
    """One layer of rank 1 whose update is the task embedding itself, so that mixtures can be checked by hand."""

    digest = "tiny"
    base_digest = "base"
    embedding_dim = 384

    def __init__(self, strengths: Mapping[str, float] = {}) -> None:
        self._strengths = strengths
        self.calls: list[torch.Tensor] = []
        self.knows = 0.0

    def strengths(self, names: Sequence[str], tasks: Reading) -> tuple[float, ...]:
        assert len(names) == len(tasks.vectors)
        return tuple(self._strengths.get(name, 1.0) for name in names)

    def known(self, tasks: Reading) -> tuple[float, ...]:
        return (self.knows,) * len(tasks.vectors)

    def generate(self, tasks: Reading) -> tuple[LoraAdapter, ...]:
        self.calls.append(tasks.vectors)
        one = np.ones((1, 1), np.float32)
        return tuple(LoraAdapter("base", {"x": LoraDelta(row[None], one, 1.0)}) for row in tasks.vectors.numpy())


def pipeline(minilm: Embedder, hypernetwork: TinyHypernetwork, folder: Path, mode: str = "learned", **more) -> Et2l:
    return open_et2l(
        minilm, hypernetwork, skills_path=None, alpha=0.4, composer_folder=folder, composer_mode=mode, **more
    )


@pytest.fixture(scope="module")
def hypernetwork() -> TinyHypernetwork:
    return TinyHypernetwork()


@pytest.fixture(scope="module")
def et2l(minilm: Embedder, hypernetwork: TinyHypernetwork, tmp_path_factory: pytest.TempPathFactory) -> Et2l:
    return pipeline(minilm, hypernetwork, tmp_path_factory.mktemp("checkpoint"))


def test_all_candidates_are_generated_in_one_call(et2l: Et2l, hypernetwork: TinyHypernetwork) -> None:
    hypernetwork.calls.clear()
    made = et2l.adapt(GOLDBACH)
    assert isinstance(made, Adaptation)
    assert {score.skill.name for score in made.skills} == {"code_generation", "mathematical_reasoning"}
    assert [tuple(call.shape) for call in hypernetwork.calls] == [(3, 384)]
    assert set(made.weights) == {"code_generation", "mathematical_reasoning", TASK}
    assert sum(made.weights.values()) == pytest.approx(1)
    assert set(made.timings_ms) == STEPS


def test_the_adapter_is_the_weighted_sum_of_the_candidates(et2l: Et2l, minilm: Embedder) -> None:
    made = et2l.adapt("Prove the theorem, then write Python that checks it.")
    assert isinstance(made, Adaptation) and len(made.skills) == 2
    text = made.enhancement.text
    texts = {score.skill.name: score.skill.candidate(text) for score in made.skills} | {TASK: text}
    want = sum(made.weights[name] * minilm.embed([t])[0] for name, t in texts.items())
    assert np.allclose(made.adapter.deltas["x"].weight()[0], want, atol=1e-5)


def test_the_same_task_gives_the_same_adapter_and_another_task_another(et2l: Et2l) -> None:
    digests = [et2l.adapt(task).adapter.digest for task in (GOLDBACH, GOLDBACH, "写一首关于大海的诗")]
    assert digests[0] == digests[1] != digests[2]


def test_the_rules_words_are_no_evidence_for_the_decomposer(et2l: Et2l) -> None:
    made = et2l.adapt("haiku 5-7-5 strictly")
    assert isinstance(made, Adaptation)
    assert made.enhancement.rewritten == "haiku 5-7-5 strictly" != made.enhancement.text


def test_no_skill_means_no_adapter(et2l: Et2l, hypernetwork: TinyHypernetwork) -> None:
    hypernetwork.calls.clear()
    made = et2l.adapt("You are a helpful assistant.")
    assert isinstance(made, NoSkill)
    assert "no skill" in made.reason and made.skills == ()
    assert hypernetwork.calls == []


def test_a_task_that_no_skill_fits_gets_its_own_adapter_where_the_hypernetwork_knows_it(
    minilm: Embedder, tmp_path: Path
) -> None:
    hypernetwork = TinyHypernetwork()
    made = pipeline(minilm, hypernetwork, tmp_path)
    for knows, kind in ((0.4, NoSkill), (0.6, Adaptation)):
        hypernetwork.knows = knows
        assert isinstance(made.adapt("Count the vowels."), kind)
    adapted = made.adapt("Count the vowels.")
    assert set(adapted.weights) == {TASK} and adapted.skills == ()
    want = adapted.factors[TASK] * minilm.embed([adapted.enhancement.text])[0]
    assert np.allclose(adapted.adapter.deltas["x"].weight()[0], want, atol=1e-5)


def test_strengths_scale_each_part_and_zero_leaves_it_out(minilm: Embedder, tmp_path: Path) -> None:
    hypernetwork = TinyHypernetwork({"code_generation": 0.0, TASK: 0.5})
    made = pipeline(minilm, hypernetwork, tmp_path).adapt(GOLDBACH)
    assert isinstance(made, Adaptation)
    assert made.factors["code_generation"] == 0
    assert made.factors[TASK] == pytest.approx(0.5 * made.weights[TASK])
    assert made.factors["mathematical_reasoning"] == made.weights["mathematical_reasoning"]
    assert hypernetwork.calls[0].shape == (2, 384)


def test_strength_zero_everywhere_means_the_base_model(minilm: Embedder, tmp_path: Path) -> None:
    strengths = {"code_generation": 0.0, "mathematical_reasoning": 0.0, TASK: 0.0}
    made = pipeline(minilm, TinyHypernetwork(strengths), tmp_path).adapt(GOLDBACH)
    assert isinstance(made, NoSkill) and "strength 0" in made.reason
    assert len(made.skills) == 2


def test_a_request_may_name_its_skills(et2l: Et2l) -> None:
    made = et2l.adapt("hello", skills=["text_generation"])
    assert isinstance(made, Adaptation)
    assert [score.skill.name for score in made.skills] == ["text_generation"]
    with pytest.raises(SkillsError, match="unknown skill juggling"):
        et2l.adapt("hello", skills=["juggling"])


def test_a_request_may_give_its_weights(et2l: Et2l, hypernetwork: TinyHypernetwork) -> None:
    made = et2l.adapt("hello", weights={"code_generation": 3, "text_generation": 1})
    assert isinstance(made, Adaptation)
    assert made.weights == {"code_generation": 0.75, "text_generation": 0.25}
    hypernetwork.calls.clear()
    only_task = et2l.adapt("hello", weights={TASK: 2})
    assert isinstance(only_task, Adaptation) and only_task.weights == {TASK: 1.0}
    assert hypernetwork.calls[0].shape == (1, 384)


@pytest.mark.parametrize(
    ("skills", "weights", "error"),
    [
        (None, {"juggling": 1}, SkillsError),
        (["code_generation"], {"text_generation": 1}, ComposerError),
        (None, {"code_generation": -1}, ComposerError),
        (None, {}, ComposerError),
    ],
)
def test_unusable_overrides_are_refused(et2l: Et2l, skills, weights, error: type[Exception]) -> None:
    with pytest.raises(error):
        et2l.adapt(GOLDBACH, skills=skills, weights=weights)


def test_an_empty_task_is_refused(et2l: Et2l) -> None:
    with pytest.raises(NothingToAdapt):
        et2l.adapt("  \n")


def test_an_llm_that_fails_does_not_fail_the_adaptation(minilm: Embedder, tmp_path: Path) -> None:
    def complete(prompt: str) -> str:
        raise RewriteFailed("unreachable")

    made = pipeline(minilm, TinyHypernetwork(), tmp_path, complete=complete).adapt(GOLDBACH)
    assert isinstance(made, Adaptation) and not made.enhancement.used_llm


def test_the_digests_name_every_part_that_decides(et2l: Et2l, minilm: Embedder, tmp_path: Path) -> None:
    assert set(et2l.digests) == {"embedder", "enhancer", "skills", "hypernetwork", "composer"}
    equal = pipeline(minilm, TinyHypernetwork(), tmp_path, "equal").digests
    assert {name for name in equal if equal[name] != et2l.digests[name]} == {"composer"}


def test_an_embedder_that_does_not_fit_the_hypernetwork_is_refused(minilm: Embedder, tmp_path: Path) -> None:
    hypernetwork = TinyHypernetwork()
    hypernetwork.embedding_dim = 1024
    with pytest.raises(ValueError, match="384 numbers, hypernetwork takes 1024"):
        pipeline(minilm, hypernetwork, tmp_path)
