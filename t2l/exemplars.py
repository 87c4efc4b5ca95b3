"""SemSim: how near a text is to the exemplars of each skill, learnt from them in closed form when the server starts.

The plain formula, the cosine with the nearest exemplars, tells skills apart badly: MiniLM puts "solve in Scala" near
every sentence with "solve". Kernel ridge regression on the same exemplars weighs them against each other and against
exemplars of no skill (dev hints, keywords aside: 64 % of the skill sets exact, against 53 %), and is still free of
training: a new table in skills.toml is a new column of one linear system.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from t2l.embedder import TextEmbedder
from t2l.skills import SkillSet

SHARPNESS = 2.0
"""gamma of the kernel exp(gamma * (cosine - 1))."""
RIDGE = 0.3
"""lambda of the ridge regression: how far single exemplars are trusted."""


class Exemplars:
    """The embedded exemplars of a skill set. Immutable; may be used from any thread."""

    def __init__(self, skills: SkillSet, embedder: TextEmbedder) -> None:
        """Embeds every exemplar in one call (0.5 s for 250 on one thread)."""
        owners: dict[str, set[str]] = {text: set() for text in skills.background}
        for skill in skills.skills:
            for text in skill.exemplars:  # one text may be an exemplar of several skills
                owners.setdefault(text, set()).add(skill.name)
        self._names = skills.names
        self._vectors = embedder.embed(list(owners)).double()  # (n, E)
        rows = [[float(name in needed) for name in self._names] for needed in owners.values()]
        self._labels = torch.tensor(rows, dtype=torch.float64)  # (n, skills)
        self._base = self._labels.mean(dim=0)  # (skills,)
        system = self._kernel(self._vectors) + RIDGE * torch.eye(len(owners), dtype=torch.float64)
        self._votes = torch.linalg.solve(system, self._labels - self._base)  # (n, skills)

    def similarities(self, vector: torch.Tensor) -> dict[str, float]:
        """SemSim by skill name, in [0, 1]; vector: a text's embedding (E,), unit length."""
        raw = self._base + self._kernel(vector.double()) @ self._votes  # (skills,)
        return dict(zip(self._names, raw.clamp(0, 1).tolist(), strict=True))

    def skill_vectors(self) -> Mapping[str, torch.Tensor]:
        """v_s by skill name: the unit mean of the skill's exemplar embeddings, (E,) float32."""
        sums = (self._labels.T @ self._vectors).float()  # (skills, E)
        return dict(zip(self._names, torch.nn.functional.normalize(sums, dim=-1), strict=True))

    def _kernel(self, vectors: torch.Tensor) -> torch.Tensor:
        """(..., E) -> (..., n)."""
        return torch.exp(SHARPNESS * (vectors @ self._vectors.T - 1))
