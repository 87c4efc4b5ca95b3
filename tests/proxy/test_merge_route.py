"""POST /v1/adapters/{digest}/merge: the build's numbers, or the reason there is none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from adapters.errors import AdapterError, BuildRefused, DiskFull
from proxy.app import create_app

RECORD = {
    "path": "x.gguf",
    "bytes": 10,
    "seconds": 1.5,
    "gain": {"min": 0.95, "mean": 0.99},
    "cosine": {"min": 0.9, "mean": 0.95},
    "kl": 0.001,
    "top1": 0.99,
    "tensors": [{"name": "blk.0.attn_q.weight"}],
}


class Jobs:
    """Builds anything at once, or raises."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Path]] = []
        self.error: AdapterError | None = None

    def build(self, digest: str, folder: Path) -> SimpleNamespace:
        self.asked.append((digest, folder))
        if self.error:
            raise self.error
        return SimpleNamespace(record=RECORD, path=Path(f"/builds/{digest}-q8_0.gguf"))

    def close(self) -> None:
        pass


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def client(build, jobs):
    services = build()
    services.builds = jobs
    with TestClient(create_app(services.config.server, lambda: services)) as client:
        yield client


def made(client) -> str:
    return client.post("/v1/adapters", json={"task": "write code"}).json()["id"]


def test_a_stored_adapter_is_built_and_its_numbers_come_back(client, jobs, shelf):
    digest = made(client)
    reply = client.post(f"/v1/adapters/{digest}/merge")
    assert reply.status_code == 200
    assert reply.json() == {
        "object": "build",
        **{name: value for name, value in RECORD.items() if name != "tensors"},
        "path": f"/builds/{digest}-q8_0.gguf",
    }
    assert jobs.asked == [(digest, shelf.folder / digest)]


def test_an_unknown_adapter_is_not_found(client, jobs):
    assert client.post("/v1/adapters/0123456789abcdef/merge").status_code == 404
    assert jobs.asked == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BuildRefused("it keeps 4% of the adapter"), 422, "build_refused"),
        (DiskFull(Path("/builds"), 10, 5), 507, "disk_full"),
    ],
)
def test_a_build_that_cannot_be_had_says_why(client, jobs, error, status, code):
    jobs.error = error
    reply = client.post(f"/v1/adapters/{made(client)}/merge")
    assert reply.status_code == status
    assert reply.json()["error"]["code"] == code
    assert str(error) in reply.json()["error"]["message"]
