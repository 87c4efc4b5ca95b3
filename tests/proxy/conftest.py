"""A whole server whose engine and shelf are fakes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
from starlette.testclient import TestClient

from adapters.gguf_file import BaseModel
from proxy.adaptation import Adapters
from proxy.app import create_app
from proxy.build_jobs import BuildJobs
from proxy.config import Config, LoraConfig, ServerConfig
from proxy.engine.api import Sampling
from proxy.hint import longest_hint
from proxy.loaded import LoadedAdapters
from proxy.metrics import Metrics
from proxy.models import KnownAdapter, ModelNames
from proxy.pipeline import Pipeline
from proxy.wiring import Services
from tests.proxy.fakes import FakeEngine, FakeShelf

BASE = "base-model"


class FakeEmbedder:
    dim = 4

    def embed(self, texts: Any) -> Any:
        import torch

        return torch.tensor([[float(len(text)), 0.0, 0.0, 1.0] for text in texts])

    def count_tokens(self, texts: Any) -> int:
        return sum(len(text.split()) for text in texts)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def shelf(tmp_path: Any) -> FakeShelf:
    return FakeShelf(tmp_path)


@pytest.fixture
def build(engine: FakeEngine, shelf: FakeShelf) -> Iterator[Callable[..., Services]]:
    """Makes the services of a server, from section=values."""
    made: list[Services] = []

    def services(server: ServerConfig | None = None, lora: LoraConfig | None = None, **sections: Any) -> Services:
        from proxy.config import ModelConfig

        config = Config(
            server=server or ServerConfig(allowed_hosts=("testserver", "127.0.0.1")),
            model=ModelConfig(name=BASE, aliases=("et2l",)),
            lora=lora or LoraConfig(),
            **sections,
        )
        metrics = Metrics(engine.stats)
        longest = longest_hint(config.hint)
        adapters = Adapters(shelf, config.adapt, longest, metrics.count_resolution, metrics.pipeline_failures.inc)
        base = SimpleNamespace(digest="b" * 64)
        loaded = LoadedAdapters(config.lora, {BASE, "et2l"}.__contains__, base, BASE)

        def known(tenant: str) -> list[KnownAdapter]:
            return [KnownAdapter(one.digest, 5.0, str(one.folder)) for one in shelf.list(tenant)]

        names = ModelNames(config.model, base.digest, engine.context_limit, "mini", known, created=3.0)
        pipeline = Pipeline(engine, adapters, loaded, names, config.hint)
        sampling = Sampling(temperature=0.5, top_k=11)
        made.append(
            Services(
                config=config,
                engine=engine,
                embedder=FakeEmbedder(),
                adapters=adapters,
                loaded=loaded,
                names=names,
                pipeline=pipeline,
                metrics=metrics,
                sampling=sampling,
                builds=BuildJobs(config.builds, Path("/nowhere")),
                started=time.time(),
            )
        )
        return made[-1]

    yield services
    shelf.may_finish.set()
    for one in made:
        one.close()


@pytest.fixture
def client(build: Callable[..., Services]) -> Iterator[TestClient]:
    services = build()
    with TestClient(create_app(services.config.server, lambda: services)) as client:
        yield client


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    """A GGUF file with one linear layer of a qwen2."""
    path = tmp_path / "base.gguf"
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((8, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return BaseModel.read(path)
