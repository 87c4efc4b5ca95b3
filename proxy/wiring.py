"""Builds the parts and puts them together: the one place that knows all of them. Each is given its own
section.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.adaptation import Adapters, EmptyShelf, Shelf
from proxy.build_jobs import BuildJobs
from proxy.config import CacheConfig, Config, ConfigError, EmbedderConfig
from proxy.engine.api import EngineApi, Sampling
from proxy.hint import longest_hint
from proxy.loaded import LoadedAdapters
from proxy.metrics import Metrics
from proxy.models import KnownAdapter, ModelNames
from proxy.pipeline import Pipeline
from proxy.promotion import PromotingEngine
from proxy.upstream import open_rewriter

if TYPE_CHECKING:
    from adapters.cache import AdapterCache
    from adapters.gguf_file import BaseModel
    from t2l.embedder import Embedder
    from t2l.hypernetwork import Hypernetwork

log = logging.getLogger("et2l")
CHECKPOINTS = Path(__file__).parents[1] / "t2l" / "checkpoints"
EMBEDDER_NAME = "all-MiniLM-L6-v2"

Say = Callable[[str], None]
"""Told of each step of start-up."""


class StartFailed(Exception):
    """The server or command cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Specialiser:
    """The parts that make adapters, and what they are made for."""

    shelf: Shelf
    embedder: Embedder
    base: BaseModel


@dataclass(slots=True)
class Services:
    """All parts of a running server, or of `et2l chat`."""

    config: Config
    engine: EngineApi
    embedder: Embedder
    adapters: Adapters
    loaded: LoadedAdapters
    names: ModelNames
    pipeline: Pipeline
    metrics: Metrics
    sampling: Sampling
    builds: BuildJobs
    started: float

    def health(self) -> dict[str, Any]:
        """Alive, since it answers; ready, since the parts are there before the first request is taken."""
        stats = self.engine.stats()
        return {
            "status": "ok",
            "live": True,
            "ready": True,
            "adaptation": self.adapters.shelf.state,
            "model": self.config.model.name,
            "uptime_s": round(time.time() - self.started, 1),
            "running": stats.running,
            "queued": stats.queued,
            "generated_tokens": stats.generated_tokens,
            "kv": {"used_tokens": stats.kv_used_tokens, "total_tokens": stats.kv_total_tokens},
            "adapters_loaded": stats.adapters_loaded,
            "models": list(stats.models),
        }

    def close(self) -> None:
        self.builds.close()
        self.engine.close(0.0)
        self.adapters.close()
        self.loaded.close()


def open_services(config: Config, say: Say = lambda text: None) -> Services:
    """Loads the model and, beside it, the parts that make adapters. Raises StartFailed and ConfigError."""
    check_model(config)
    with ThreadPoolExecutor(2, thread_name_prefix="start") as pool:
        say(f"loading {config.model.name}")
        engine_ready: Future[EngineApi] = pool.submit(open_engine, config, say)
        special_ready = pool.submit(open_specialiser, config, say, engine_ready.result)
        try:
            special, engine = special_ready.result(), engine_ready.result()
        except BaseException:
            close_opened(engine_ready, special_ready)
            raise
    return assemble(config, engine, special)


def close_opened(engine: Future[EngineApi], special: Future[Specialiser]) -> None:
    """One of the two did not open: close the other, when it is there."""
    if engine.exception() is None:
        engine.result().close(0.0)
    if special.exception() is None:
        special.result().shelf.close()


def assemble(config: Config, engine: EngineApi, special: Specialiser) -> Services:
    builds = BuildJobs(config.builds, config.model.path)
    if config.builds.promote:
        engine = PromotingEngine(engine, config.builds, builds.build)
    metrics = Metrics(engine.stats)
    adapters = Adapters(
        special.shelf,
        config.adapt,
        longest_hint(config.hint),
        metrics.count_resolution,
        metrics.pipeline_failures.inc,
    )
    reserved = {config.model.name, *config.model.aliases, EMBEDDER_NAME}
    loaded = LoadedAdapters(config.lora, reserved.__contains__, special.base, config.model.name)

    def known(tenant: str) -> list[KnownAdapter]:
        made = [KnownAdapter(one.digest, one.card.created, str(one.folder)) for one in special.shelf.list(tenant)]
        given = [
            KnownAdapter(one.stored.digest, one.stored.card.created, str(one.root), one.name)
            for one in loaded.list(tenant)
        ]
        return made + given

    names = ModelNames(
        config.model,
        special.base.digest,
        engine.context_limit,
        EMBEDDER_NAME,
        known,
        created=config.model.path.stat().st_mtime,
    )
    return Services(
        config=config,
        engine=engine,
        embedder=special.embedder,
        adapters=adapters,
        loaded=loaded,
        names=names,
        pipeline=Pipeline(engine, adapters, loaded, names, config.hint),
        metrics=metrics,
        sampling=Sampling(
            temperature=config.sampling.temperature,
            top_p=config.sampling.top_p,
            top_k=config.sampling.top_k,
            min_p=config.sampling.min_p,
            repeat_penalty=config.sampling.repeat_penalty,
        ),
        builds=builds,
        started=time.time(),
    )


def check_model(config: Config) -> None:
    if not config.model.path.is_file():
        raise StartFailed(f"the model file {config.model.path} is missing: run `et2l model fetch`")


def open_engine(config: Config, say: Say) -> EngineApi:
    from proxy.engine.api import EngineError
    from proxy.engine.engine import Engine

    started = time.perf_counter()
    try:
        engine = Engine(config.model.path, config.engine, chat_template_of(config))
    except EngineError as exc:
        raise StartFailed(f"llama.cpp cannot load {config.model.path}: {exc} (`et2l doctor` may know why)") from exc
    say(f"model ready after {time.perf_counter() - started:.1f} s, {engine.context_limit} tokens of context")
    return engine


def chat_template_of(config: Config) -> str | None:
    """The template that the configured checkpoint was trained with, None = the model file's own. Raises StartFailed."""
    if config.hypernetwork.path is None:  # the one we ship; torch need not be there to load the model
        return None
    from t2l.checkpoint import trained_template
    from t2l.hypernetwork import CheckpointError

    try:
        return trained_template(config.hypernetwork.path)
    except CheckpointError as exc:
        raise StartFailed(str(exc)) from exc


def open_specialiser(
    config: Config, say: Say = lambda text: None, engine: Callable[[], EngineApi] | None = None
) -> Specialiser:
    """Embedder, skills, hypernetwork, composer, cache. engine: the local model, where one is loaded
    (enhancer.llm).

    Raises StartFailed.
    """
    check_model(config)
    started = time.perf_counter()
    import torch

    from adapters.errors import AdapterError
    from adapters.gate import same_content
    from adapters.gguf_file import BaseModel
    from proxy.shelf import LLM, CacheShelf
    from t2l.checkpoint import open_text_embedder, require_base
    from t2l.composer import ComposerError
    from t2l.embedder import EmbedderError, english_words
    from t2l.hypernetwork import CheckpointError
    from t2l.pipeline import open_et2l
    from t2l.skills import SkillsError

    torch.set_num_threads(1)  # see CacheShelf.make
    folder = config.hypernetwork.path or CHECKPOINTS / config.model.name
    try:
        base = BaseModel.read(config.model.path)
        if config.hypernetwork.path is None and not folder.is_dir():
            say(f"NO ADAPTERS: there is no hypernetwork for {config.model.name}; set hypernetwork.path to one")
            return Specialiser(EmptyShelf(config.model.name), open_embedder_of(config.embedder), base)
        device = chosen_device(config.adapt.device)
        hypernetwork = open_hypernetwork(folder, base.digest, device)
        require_base(hypernetwork, base.digest, folder)
        wanted = config.embedder
        embedder = open_text_embedder(
            hypernetwork, str(wanted.path or ""), wanted.threads, device, wanted.trust_remote_code
        )
        rewriter = open_rewriter(config.enhancer, engine)
        et2l = open_et2l(
            embedder,
            hypernetwork,
            skills_path=config.decomposer.skills,
            alpha=config.decomposer.alpha,
            composer_folder=folder,
            composer_mode=config.composer.mode,
            complete=rewriter,
        )
        cache = open_cache(config.cache, embedder.dim)
    except (
        AdapterError,
        CheckpointError,
        EmbedderError,
        SkillsError,
        ComposerError,
        ValueError,
        OSError,
    ) as exc:
        raise StartFailed(str(exc)) from exc
    count, seconds = cache.stats().adapters, time.perf_counter() - started
    say(f"hypernetwork ready after {seconds:.1f} s, {count} adapters in the cache")
    settings = {LLM: config.enhancer.llm if rewriter else "off"}
    gate = partial(same_content, words=english_words())
    shelf = CacheShelf(cache, et2l, base, config.model.name, settings, config.cache.semantic_threshold, gate)
    return Specialiser(shelf, embedder, base)


def open_cache(config: CacheConfig, embedding_dim: int) -> AdapterCache:
    """Raises StartFailed."""
    from adapters.cache import AdapterCache
    from adapters.errors import AdapterError
    from adapters.store import Store

    try:
        store = Store(config.store_path)
        return AdapterCache(config.path, config.index_path, store, embedding_dim, config.max_bytes)
    except (AdapterError, OSError) as exc:
        raise StartFailed(str(exc)) from exc


def open_configured_cache(config: Config) -> AdapterCache:
    """The cache for a command that needs nothing else. Raises StartFailed."""
    from t2l.embedder import EmbedderError
    from t2l.hypernetwork import CheckpointError

    try:
        return open_cache(config.cache, embedding_dim(config))
    except (EmbedderError, CheckpointError) as exc:
        raise StartFailed(str(exc)) from exc


def embedding_dim(config: Config) -> int:
    """Width of the cache's vectors. Raises EmbedderError, CheckpointError."""
    folder = config.hypernetwork.path
    if folder and (folder / "hypermod.pt").is_file():  # it brings its own embedder, which may take minutes to load
        from t2l.sakana_files import read_sakana

        return read_sakana(folder).config.embedding_dim
    return open_embedder_of(config.embedder).dim


def open_hypernetwork(folder: Path, base_digest: str, device: str) -> Hypernetwork:
    """A checkpoint of either family. Raises CheckpointError."""
    from t2l import checkpoint

    return checkpoint.open_hypernetwork(folder, base_digest, device)


def open_embedder_of(config: EmbedderConfig) -> Embedder:
    from t2l.embedder import open_embedder

    return open_embedder(str(config.path) if config.path else "", config.threads)


def chosen_device(wanted: str) -> str:
    """Raises ConfigError."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("adapt.device: want cpu or auto, since this torch finds no CUDA device; got 'cuda'")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
