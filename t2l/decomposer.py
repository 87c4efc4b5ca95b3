"""Which basic skills a task needs: Score = alpha * KeyMatch + (1 - alpha) * SemSim, S = {s: Score > tau_s}.

KeyMatch reads keywords (t2l/skills.py), SemSim compares embeddings with the skills' exemplars; both look at
what the task asserts, not at what it refuses or leaves to others (t2l/language.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from t2l.embedder import TextEmbedder
from t2l.language import asserted, language_of, plain, refuses
from t2l.skills import Skill, SkillSet

SIM_LOW, SIM_HIGH = 0.2, 0.6
"""Cosines of MiniLM between hints and exemplars at which SemSim is 0 and 1: unrelated and plainly related
text.
"""


@dataclass(frozen=True, slots=True)
class SkillScore:
    """How much a task needs a skill. All numbers in [0, 1].

    sem_sim: None for a language that the exemplars and the embedder do not cover; the score is then the key match.
    """

    skill: Skill
    score: float
    key_match: float
    sem_sim: float | None


def exemplar_vectors(skills: SkillSet, embedder: TextEmbedder) -> dict[str, torch.Tensor]:
    """By skill name, the embeddings of its exemplars, (n, E), all made in one call."""
    texts = [text for skill in skills.skills for text in skill.exemplars]
    counts = [len(skill.exemplars) for skill in skills.skills]
    parts = embedder.embed(texts).split(counts)
    return dict(zip(skills.names, parts, strict=True))


class Decomposer:
    """Immutable after construction; may be called from any thread."""

    def __init__(
        self, skills: SkillSet, embedder: TextEmbedder, exemplars: Mapping[str, torch.Tensor], alpha: float
    ) -> None:
        """exemplars: of `exemplar_vectors`. alpha: KeyMatch's share of the score, in [0, 1]."""
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha {alpha}: expected a number from 0 to 1")
        self.skills = skills
        self.alpha = alpha
        self._embedder = embedder
        self._exemplars = exemplars

    def decompose(self, task: str) -> tuple[SkillScore, ...]:
        """The skills whose score exceeds their tau, highest score first; empty when the task needs none."""
        needed = [score for score in self.score(task) if score.score > score.skill.tau]
        return tuple(sorted(needed, key=lambda score: -score.score))

    def score(self, task: str) -> tuple[SkillScore, ...]:
        """Every skill's score, in the skills' order. A skill whose activity the task refuses scores 0."""
        text = plain(task)
        said = asserted(text)
        sims = self._similarities(said) if language_of(text) == "en" else {}
        scores = []
        for skill in self.skills.skills:
            key, sim = skill.key_match(said), sims.get(skill.name)
            score = key if sim is None else self.alpha * key + (1 - self.alpha) * sim
            scores.append(SkillScore(skill, 0.0 if refuses(text, skill.activity) else score, key, sim))
        return tuple(scores)

    def _similarities(self, text: str) -> dict[str, float]:
        vector = self._embedder.embed([text])[0]
        return {name: self._sem_sim(exemplars @ vector) for name, exemplars in self._exemplars.items()}

    @staticmethod
    def _sem_sim(cosines: torch.Tensor) -> float:
        nearest = cosines.topk(min(2, len(cosines))).values.mean().item()
        return min(1.0, max(0.0, (nearest - SIM_LOW) / (SIM_HIGH - SIM_LOW)))
