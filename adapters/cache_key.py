"""What a cached adapter is found by."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheKey:
    """hint: the task hint as it was asked. partition: hints are compared within it only.

    exact: the same for two requests that must get the same adapter. Both are sha256 in hex.
    """

    hint: str
    tenant: str
    partition: str
    exact: str


def cache_key(hint: str, tenant: str, components: Mapping[str, str]) -> CacheKey:
    """The one place where keys are made.

    In the partition: the tenant, so that nobody is served, or learns of, what another one asked; and
    everything that decides which adapter a hint gets, by name: digests of base file, hypernetwork, composer,
    skills and embedder, and whatever a request overrides (its own skills or weights).
    In the exact key also the hint, in Unicode NFC with runs of white space as one blank. Case is kept, and so
    are compatibility characters (NFKC would make x2 of x squared): prefer a miss.
    """
    partition = _sha256([tenant, sorted(components.items())])
    normalised = " ".join(unicodedata.normalize("NFC", hint).split())
    return CacheKey(hint, tenant, partition, _sha256([partition, normalised]))


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
