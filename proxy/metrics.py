"""Counters of this server for Prometheus. The one door to prometheus_client; each server has its own
registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.engine.api import EngineStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
LAG_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
ROUTES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
    "/v1/adapters",
    "/health",
    "/metrics",
)


class Metrics:
    """What is counted. Safe from any thread."""

    def __init__(self, engine_stats: Callable[[], EngineStats]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "et2l_http_requests",
            "Requests answered, by route and status",
            ["route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "et2l_http_request_seconds",
            "Time to the end of the answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.first_token_seconds = Histogram(
            "et2l_first_token_seconds",
            "Time from the request's arrival to the first token",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.resolutions = Counter(
            "et2l_resolutions", "Where the adapter of an answer came from", ["source"], registry=self.registry
        )
        self.adapt_seconds = Histogram(
            "et2l_adapt_seconds",
            "Time a request waited for its adapter",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.pipeline_failures = Counter(
            "et2l_pipeline_failures",
            "Adaptations that failed and were answered by the base model",
            registry=self.registry,
        )
        self.loop_lag_seconds = Histogram(
            "et2l_event_loop_lag_seconds",
            "How late the event loop came round, looked at 20 times a second",
            buckets=LAG_SECONDS,
            registry=self.registry,
        )
        self.registry.register(EngineCollector(engine_stats))

    def count_request(self, path: str, status: int, seconds: float) -> None:
        route = next((route for route in ROUTES if path == route or path.startswith(route + "/")), "other")
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def count_resolution(self, source: str, seconds: float) -> None:
        self.resolutions.labels(source).inc()
        self.adapt_seconds.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class EngineCollector(Collector):
    """The engine's own counts, read when somebody asks."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self.stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self.stats()
        for name, value, about in (
            ("et2l_prompt_tokens", stats.prefill_tokens, "Prompt tokens computed"),
            ("et2l_cached_prompt_tokens", stats.cached_tokens, "Prompt tokens whose KV cells were reused"),
            ("et2l_generated_tokens", stats.generated_tokens, "Tokens generated"),
            ("et2l_decode_steps", stats.decode_steps, "Calls of llama_decode"),
            ("et2l_decode_seconds", stats.decode_seconds, "Time inside llama_decode"),
            ("et2l_busy_seconds", stats.busy_seconds, "Time of all the engine's steps, decoding included"),
        ):
            yield CounterMetricFamily(name, about, value=value)
        for name, value, about in (
            ("et2l_running_requests", stats.running, "Requests being computed"),
            ("et2l_queued_requests", stats.queued, "Requests waiting"),
            ("et2l_kv_used_tokens", stats.kv_used_tokens, "KV cells in use"),
            ("et2l_prefix_cache_bytes", stats.prefix_cache_bytes, "Memory of idle prefixes outside the KV cells"),
            ("et2l_kv_total_tokens", stats.kv_total_tokens, "KV cells there are"),
            ("et2l_adapters_loaded", stats.adapters_loaded, "Adapters in memory"),
            ("et2l_adapter_bytes", stats.adapter_bytes, "Memory of those adapters"),
        ):
            yield GaugeMetricFamily(name, about, value=value)
