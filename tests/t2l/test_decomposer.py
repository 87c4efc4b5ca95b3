"""The decomposer on hints written for these tests, and the formula it promises."""

import pytest
import torch

from t2l.decomposer import NEUTRAL_SIM, SLACK, Decomposer, SkillScore, select
from t2l.embedder import Embedder
from t2l.exemplars import Exemplars
from t2l.skills import SkillSet

M, C, R, L, K, T = (
    "mathematical_reasoning",
    "code_generation",
    "reading_comprehension",
    "logical_reasoning",
    "knowledge_qa",
    "text_generation",
)
GOLD = [
    ("编写一个 Python 函数来验证哥德巴赫猜想", {C, M}),
    ("Write a Python function that verifies Goldbach's conjecture", {C, M}),
    ("Solve quadratic equations and show each step", {M}),
    ("Write a Go function that reverses a linked list.", {C}),
    ("Extract every date and amount from the invoice as JSON.", {R}),
    ("Answer questions about volcanoes and earthquakes.", {K}),
    ("Write a haiku about autumn rain.", {T}),
    ("Logic grid puzzles: who owns the parrot?", {L}),
    ("证明下面的不等式，不要写代码", {M}),
    ("写一首关于大海的诗", {T}),
    ("用 SQL 查询每个城市的用户数", {C}),
    ("回答有关唐代历史的问题", {K}),
    ("阅读文章，找出作者的主要观点", {R}),
    ("You are a helpful assistant.", set()),
    ("你好", set()),
    ("Set an alarm for seven.", set()),
]


@pytest.fixture(scope="module")
def decomposer(skills: SkillSet, minilm: Embedder, exemplars: Exemplars) -> Decomposer:
    return Decomposer(skills, minilm, exemplars, alpha=0.4)


@pytest.mark.parametrize(("task", "needed"), GOLD)
def test_hints_lead_to_their_skills(decomposer: Decomposer, task: str, needed: set[str]) -> None:
    assert {score.skill.name for score in decomposer.decompose(task)} == needed


@pytest.mark.parametrize(
    ("task", "refused"),
    [
        ("Explain how hash tables work, without any code.", C),
        ("Derive the formula. Do not write code.", C),
        ("讲解哈希表的原理，不要写代码", C),
        ("Explain inflation in words; no maths.", M),
    ],
)
def test_a_refused_activity_adds_no_skill(decomposer: Decomposer, task: str, refused: str) -> None:
    by_name = {score.skill.name: score for score in decomposer.score(task)}
    assert by_name[refused].score == 0
    assert refused not in {score.skill.name for score in decomposer.decompose(task)}


def test_boilerplate_adds_no_skill(decomposer: Decomposer) -> None:
    task = "Translate recipes from Italian to English."
    wrapped = (
        "You are Chef, the assistant of Trattoria Bella.\n- Be polite.\n- Never discuss prices or code.\n"
        f"- Bookings are another team's job.\n{task}"
    )
    assert {s.skill.name for s in decomposer.decompose(wrapped)} == {s.skill.name for s in decomposer.decompose(task)}


def test_the_score_is_the_published_formula(decomposer: Decomposer) -> None:
    for score in decomposer.score("Write a poem about prime numbers"):
        assert score.sem_sim is not None
        assert score.score == pytest.approx(0.4 * score.key_match + 0.6 * score.sem_sim)
    for score in decomposer.score("写一首关于质数的诗"):
        assert score.sem_sim is None
        assert score.score == pytest.approx(0.4 * score.key_match + 0.6 * NEUTRAL_SIM)


def test_the_best_score_leads(decomposer: Decomposer) -> None:
    scores = [score.score for score in decomposer.decompose("Prove the theorem, then write Python that checks it.")]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)


def test_where_none_exceeds_its_tau_the_nearest_counts_alone_within_the_slack(skills: SkillSet) -> None:
    def score(row: int, above: float) -> SkillScore:
        skill = skills.skills[row]
        return SkillScore(skill, skill.tau + above, 0.0, 0.0)

    assert select([score(0, -0.1), score(1, -0.05)])[0].skill is skills.skills[1]
    assert len(select([score(0, -0.1), score(1, -0.05)])) == 1
    assert select([score(0, -SLACK), score(1, -SLACK)]) == ()
    assert [s.skill for s in select([score(0, 0.1), score(1, -0.05)])] == [skills.skills[0]]


def test_alpha_outside_its_range_is_refused(skills: SkillSet, minilm: Embedder, exemplars: Exemplars) -> None:
    with pytest.raises(ValueError, match=r"alpha 1\.5"):
        Decomposer(skills, minilm, exemplars, alpha=1.5)


def test_exemplars_are_told_apart_by_their_own_skill(skills: SkillSet, minilm: Embedder, exemplars: Exemplars) -> None:
    """In-sample: the closed-form regression ranks the owner of an exemplar first nearly always."""
    right = total = 0
    for skill in skills.skills:
        for vector in minilm.embed(skill.exemplars):
            sims = exemplars.similarities(vector)
            right += max(sims, key=sims.__getitem__) == skill.name
            total += 1
    assert right / total > 0.85


def test_similarities_solve_the_ridge_system(skills: SkillSet, minilm: Embedder, exemplars: Exemplars) -> None:
    """Against the plain formula: mean + k (K + lambda I)^-1 (Y - mean), with K = exp(2 (cosine - 1)), lambda 0.3."""
    texts = list(dict.fromkeys([*skills.background, *(t for s in skills.skills for t in s.exemplars)]))
    x = minilm.embed(texts).double()
    y = torch.tensor([[float(t in s.exemplars) for s in skills.skills] for t in texts], dtype=torch.float64)
    vector = minilm.embed(["Balance the budget of a small club."])[0]
    kernel = torch.exp(2 * (x @ x.T - 1)) + 0.3 * torch.eye(len(texts), dtype=torch.float64)
    row = torch.exp(2 * (x @ vector.double() - 1))
    want = y.mean(0) + row @ torch.linalg.inv(kernel) @ (y - y.mean(0))
    got = torch.tensor(list(exemplars.similarities(vector).values()))
    assert torch.allclose(got.double(), want.clamp(0, 1), atol=1e-5)


def test_skill_vectors_are_unit_means_of_the_exemplars(
    skills: SkillSet, minilm: Embedder, exemplars: Exemplars
) -> None:
    vectors = exemplars.skill_vectors()
    assert set(vectors) == set(skills.names)
    mean = minilm.embed(skills.skills[0].exemplars).mean(0)
    assert torch.allclose(vectors[skills.names[0]], mean / mean.norm(), atol=1e-5)
