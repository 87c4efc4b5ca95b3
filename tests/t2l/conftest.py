"""What the tests of t2l share: the packaged skills and the packaged embedder, each loaded once."""

import pytest

from t2l.embedder import Embedder, open_embedder
from t2l.exemplars import Exemplars
from t2l.skills import SkillSet, load_skills


@pytest.fixture(scope="session")
def skills() -> SkillSet:
    return load_skills()


@pytest.fixture(scope="session")
def minilm() -> Embedder:
    return open_embedder()


@pytest.fixture(scope="session")
def exemplars(skills: SkillSet, minilm: Embedder) -> Exemplars:
    return Exemplars(skills, minilm)
