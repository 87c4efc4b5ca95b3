"""A task description in, one LoRA adapter out: enhance -> decompose -> generate in one batch -> compose.

Knows nothing of HTTP, files or caches. Every part is given to it; `open_et2l` builds them for an entry point.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from adapters.compose import concat
from adapters.lora import LoraAdapter
from t2l.composer import Composer, given_weights, load_network
from t2l.composer import Mode as ComposerMode
from t2l.decomposer import Decomposer, SkillScore
from t2l.embedder import TextEmbedder
from t2l.enhancer import Complete, Enhancement, Enhancer
from t2l.exemplars import Exemplars
from t2l.hypernetwork import Hypernetwork
from t2l.skills import TASK, load_skills

Timings = dict[str, float]
"""Milliseconds by step: enhance, decompose, embed, generate, compose."""
KNOWN = 0.5
"""How surely the hypernetwork must know a task that no skill fits: then the task's own adapter is all of it."""


class NothingToAdapt(ValueError):
    """The task description is empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Adaptation:
    """What was made of a task.

    skills: what the task needs, best first. weights: each candidate's share of the mixture (the skills' and
    TASK's).
    factors: what each candidate's adapter was multiplied with: its weight times the checkpoint's strength.
    """

    task: str
    enhancement: Enhancement
    skills: tuple[SkillScore, ...]
    weights: Mapping[str, float]
    factors: Mapping[str, float]
    adapter: LoraAdapter
    timings_ms: Timings


@dataclass(frozen=True, slots=True, eq=False)
class NoSkill:
    """No adapter would help: the base model should answer. reason: for people."""

    task: str
    enhancement: Enhancement
    skills: tuple[SkillScore, ...]
    reason: str
    timings_ms: Timings


class Et2l:
    """The ET2L pipeline. Holds no mutable state; `adapt` may be called from any thread."""

    def __init__(
        self,
        embedder: TextEmbedder,
        enhancer: Enhancer,
        decomposer: Decomposer,
        hypernetwork: Hypernetwork,
        composer: Composer,
    ) -> None:
        if embedder.dim != hypernetwork.embedding_dim:
            raise ValueError(f"embedder gives {embedder.dim} numbers, hypernetwork takes {hypernetwork.embedding_dim}")
        self.embedder = embedder
        self.enhancer = enhancer
        self.decomposer = decomposer
        self.hypernetwork = hypernetwork
        self.composer = composer

    @property
    def digests(self) -> dict[str, str]:
        """Identity of every part that decides which adapter a task gets: what a cache key must hold."""
        return {
            "embedder": self.embedder.digest,
            "enhancer": self.enhancer.digest,
            "skills": f"{self.decomposer.skills.digest}:{self.decomposer.alpha}",
            "hypernetwork": self.hypernetwork.digest,
            "composer": self.composer.digest,
        }

    def adapt(
        self,
        task: str,
        *,
        skills: Sequence[str] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> Adaptation | NoSkill:
        """The adapter for a task description, or why there is none.

        A task that no skill fits gets none, unless the hypernetwork knows it (KNOWN).
        skills: use these instead of what the decomposer finds. weights: use these, normalised, instead of the
        composer's; they also name the skills, unless `skills` does, which must then hold all of them.
        Raises NothingToAdapt, SkillsError for an unknown skill, ComposerError for unusable weights.
        """
        if not task.strip():
            raise NothingToAdapt("the task description is empty")
        timings: Timings = {}
        with _timed(timings, "enhance"):
            enhancement = self.enhancer.enhance(task)
        with _timed(timings, "decompose"):
            needed = self._needed(enhancement.rewritten, skills, weights)
        with _timed(timings, "embed"):
            names = [score.skill.name for score in needed] + [TASK]
            texts = [score.skill.candidate(enhancement.text) for score in needed] + [enhancement.text]
            reading = self.embedder.read(texts)  # the task itself last
        if not needed and weights is None and self.hypernetwork.known(reading)[0] < KNOWN:
            reason = "no skill scores above its threshold"
            return NoSkill(task, enhancement, (), reason, timings)
        with _timed(timings, "compose"):
            shares = self._weights(reading.vectors[-1], needed, weights)
            strengths = dict(zip(names, self.hypernetwork.strengths(names, reading), strict=True))
            factors = {name: share * strengths[name] for name, share in shares.items()}
        used = [row for row, name in enumerate(names) if factors.get(name, 0.0) != 0.0]
        if not used:
            reason = "the checkpoint gives every candidate strength 0"
            return NoSkill(task, enhancement, needed, reason, timings)
        with _timed(timings, "generate"):
            parts = self.hypernetwork.generate(reading.rows(used))
        with _timed(timings, "compose"):
            adapter = concat(parts, [factors[names[row]] for row in used])
        return Adaptation(task, enhancement, needed, shares, factors, adapter, timings)

    def _needed(
        self, text: str, skills: Sequence[str] | None, weights: Mapping[str, float] | None
    ) -> tuple[SkillScore, ...]:
        if skills is None and weights is None:
            return self.decomposer.decompose(text)
        asked = [name for name in weights or () if name != TASK] if skills is None else skills
        chosen = self.decomposer.skills.pick(asked)
        return tuple(score for score in self.decomposer.score(text) if score.skill in chosen)

    def _weights(
        self, task_embedding: torch.Tensor, needed: Sequence[SkillScore], weights: Mapping[str, float] | None
    ) -> dict[str, float]:
        names = [score.skill.name for score in needed]
        if weights is not None:
            return given_weights(weights, names)
        return self.composer.weights(task_embedding, names)


@contextmanager
def _timed(timings: Timings, step: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[step] = timings.get(step, 0.0) + (time.perf_counter() - start) * 1000


def open_et2l(
    embedder: TextEmbedder,
    hypernetwork: Hypernetwork,
    *,
    skills_path: Path | None,
    alpha: float,
    composer_folder: Path,
    composer_mode: ComposerMode,
    complete: Complete | None = None,
) -> Et2l:
    """Put the parts together. composer_folder: the hypernetwork's checkpoint folder, which may hold a
    composer.

    complete: the enhancer's LLM, None = rules only. Raises SkillsError or ComposerError.
    """
    skills = load_skills(skills_path)
    exemplars = Exemplars(skills, embedder)
    network, settings = load_network(composer_folder, embedder.dim)
    gains = {skill.name: skill.gain for skill in skills.skills}
    composer = Composer(network, settings, exemplars.skill_vectors(), gains, composer_mode)
    decomposer = Decomposer(skills, embedder, exemplars, alpha)
    return Et2l(embedder, Enhancer(skills, complete), decomposer, hypernetwork, composer)
