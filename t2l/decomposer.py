"""Which basic skills a task needs: Score = alpha * KeyMatch + (1 - alpha) * SemSim, S = {s: Score > tau_s}.

KeyMatch reads keywords (t2l/skills.py), SemSim compares with exemplars (t2l/exemplars.py); both look at what the
task asserts, not at what it refuses or leaves to others (t2l/language.py).

One departure from the formula: where no score exceeds its tau, the best one counts if it misses by less than SLACK.
Terse hints ("fix the first failing test") give little evidence of anything; asking as much of them as of a paragraph
left a fifth of them without a skill, and lowering tau for all gives paragraphs skills that they do not need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from t2l.embedder import TextEmbedder
from t2l.exemplars import Exemplars
from t2l.language import asserted, language_of, plain, refuses
from t2l.skills import Skill, SkillSet

NEUTRAL_SIM = 0.2
"""SemSim where the embedder cannot read the language (Chinese): about its mean over hints and skills."""

SLACK = 0.2
"""How far below tau the best score may lie when no skill's exceeds it."""


@dataclass(frozen=True, slots=True)
class SkillScore:
    """How much a task needs a skill. All numbers in [0, 1]; sem_sim is None where NEUTRAL_SIM stood in for it."""

    skill: Skill
    score: float
    key_match: float
    sem_sim: float | None


class Decomposer:
    """Immutable after construction; may be called from any thread."""

    def __init__(self, skills: SkillSet, embedder: TextEmbedder, exemplars: Exemplars, alpha: float) -> None:
        """alpha: KeyMatch's share of the score, in [0, 1]."""
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha {alpha}: expected a number from 0 to 1")
        self.skills = skills
        self.alpha = alpha
        self._embedder = embedder
        self._exemplars = exemplars

    def decompose(self, task: str) -> tuple[SkillScore, ...]:
        """The skills whose score exceeds their tau, highest score first; empty when the task needs none.

        A text that says only how to answer ("Reply in JSON.") needs none, whatever the scores: the model does it.
        """
        return () if self.skills.says_only_how(plain(task)) else select(self.score(task))

    def score(self, task: str) -> tuple[SkillScore, ...]:
        """Every skill's score, in the skills' order. A skill whose activity the task refuses scores 0."""
        text = plain(task)
        said = asserted(text)
        sims: dict[str, float] = {}
        if language_of(text) == "en":
            sims = self._exemplars.similarities(self._embedder.embed([said])[0])
        scores = []
        for skill in self.skills.skills:
            key, sim = skill.key_match(said), sims.get(skill.name)
            score = self.alpha * key + (1 - self.alpha) * (NEUTRAL_SIM if sim is None else sim)
            scores.append(SkillScore(skill, 0.0 if refuses(text, skill.activity) else score, key, sim))
        return tuple(scores)


def select(scores: Sequence[SkillScore]) -> tuple[SkillScore, ...]:
    """The needed ones among all skills' scores, highest first: see the module's text."""
    ranked = sorted(scores, key=lambda score: score.skill.tau - score.score)
    needed = [score for score in ranked if score.score > score.skill.tau]
    if not needed and ranked[0].score > ranked[0].skill.tau - SLACK:
        needed = ranked[:1]
    return tuple(sorted(needed, key=lambda score: -score.score))
