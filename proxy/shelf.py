"""The cache and the ET2L pipeline as `Adapters` uses them: looks a task up, makes and stores what is missing.

Imports torch: it is imported while the model loads, not before.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from adapters.cache import AdapterCache
from adapters.cache_key import CacheKey, cache_key
from adapters.card import Card, CardQuality
from adapters.errors import AdapterCorrupt, AdapterNotFound
from adapters.gate import same_content
from adapters.gguf_file import BaseModel
from adapters.rows import Feedback
from adapters.store import StoredAdapter
from proxy.adaptation import Found, NoAdapter, Wanted
from proxy.errors import BadRequest
from t2l.composer import ComposerError
from t2l.pipeline import Adaptation, Et2l, NoSkill
from t2l.quality import Quality
from t2l.skills import SkillsError

log = logging.getLogger(__name__)

LLM = "enhancer llm"
"""The setting by whose model hints were rewritten."""
EXACT_ONLY = 2.0
"""A similarity that no two hints have."""


class CacheShelf:
    """Implements `adaptation.Shelf`. Any thread may call: cache and pipeline lock for themselves."""

    def __init__(
        self,
        cache: AdapterCache,
        et2l: Et2l,
        base: BaseModel,
        base_name: str,
        settings: Mapping[str, str],
        threshold: float,
        gate: Callable[[str, str], bool] = same_content,
    ) -> None:
        """settings: what else decides which adapter a task gets, by name. threshold: cosine of a semantic
        hit, to which `gate` has to agree.
        """
        self._gate = gate
        self.state = "on"
        self.cache = cache
        self.et2l = et2l
        self.base = base
        self.base_name = base_name
        self.components = {"base": base.digest, **et2l.digests, **settings}
        self.threshold = threshold
        self._embed = lru_cache(256)(lambda task: et2l.embedder.embed([task])[0].numpy())

    def find(self, wanted: Wanted, *, near: bool) -> Found | None:
        threshold = self.threshold if near else EXACT_ONLY
        hit = self.cache.lookup(self.key(wanted), lambda: self.embedding(wanted), threshold, self._gate)
        if hit is None:
            return None
        return Found(hit.stored, hit.similarity if hit.source == "semantic" else None)

    def make(self, wanted: Wanted) -> StoredAdapter | NoAdapter:
        """Raises BadRequest for skills or weights that cannot be used.

        On one torch thread: the matrices are small, and threads that wait for each other by spinning turn
        0.4 s into 11 s where other programs want the cores, too. torch keeps that number per thread.
        """
        torch.set_num_threads(1)
        try:
            made = self.et2l.adapt(wanted.task, skills=wanted.skills, weights=wanted.weights)
        except (SkillsError, ComposerError) as exc:
            raise BadRequest(str(exc)) from exc
        if isinstance(made, NoSkill):
            return NoAdapter(made.reason)
        # What the LLM could not be asked is known under the settings without it: it will be asked again.
        overrides = {LLM: "off"} if made.enhancement.llm_failed else {}
        key, embedding = self.key(wanted, overrides), self.embedding(wanted)
        return self.cache.store(key, embedding, made.adapter, self.card(made), self.base)

    def key(self, wanted: Wanted, overrides: Mapping[str, str] | None = None) -> CacheKey:
        overrides = dict(overrides or {})
        if wanted.skills is not None:
            overrides["asked skills"] = json.dumps(sorted(wanted.skills))
        if wanted.weights is not None:
            overrides["asked weights"] = json.dumps(sorted(wanted.weights.items()))
        return cache_key(wanted.task, wanted.tenant, {**self.components, **overrides})

    def embedding(self, wanted: Wanted) -> np.ndarray:
        """(E,) of the task; looking it up and storing it ask for the same one."""
        return self._embed(wanted.task)

    def card(self, made: Adaptation) -> Card:
        return Card(
            source="generated",
            base_name=self.base_name,
            base_digest=self.base.digest,
            created=time.time(),
            hint=made.task,
            enhanced=made.enhancement.text,
            q_before=card_quality(made.enhancement.q_before),
            q_after=card_quality(made.enhancement.q_after),
            skills={score.skill.name: score.score for score in made.skills},
            weights=made.weights,
            timings_ms=made.timings_ms,
            versions=self.components,
        )

    def use(self, digest: str, tenant: str) -> StoredAdapter:
        return self.cache.use(digest, tenant)

    def get(self, digest: str, tenant: str) -> StoredAdapter:
        return self.cache.get(digest, tenant)

    def list(self, tenant: str) -> list[StoredAdapter]:
        found = []
        for row in self.cache.adapters(tenant):
            try:
                found.append(self.cache.get(row.digest, tenant))
            except AdapterNotFound:  # deleted between the two calls
                continue
            except AdapterCorrupt as exc:  # the others are still there to be used
                log.warning("adapter %s is left out: %s", row.digest, exc)
        return found

    def delete(self, digest: str, tenant: str) -> None:
        with suppress(AdapterCorrupt):  # it is this tenant's, and may go
            self.cache.get(digest, tenant)
        self.cache.delete(digest, tenant)

    def rate(self, digest: str, rating: float, skills: Mapping[str, bool], tenant: str) -> None:
        self.cache.get(digest, tenant)
        self.cache.add_feedback(Feedback(digest, rating, skills, tenant, time.time()))

    def stats(self) -> dict[str, Any]:
        return asdict(self.cache.stats())

    def close(self) -> None:
        self.cache.close()


def card_quality(quality: Quality) -> CardQuality:
    return CardQuality(total=quality.total, **asdict(quality))
