"""From a task hint to an adapter attached in llama.cpp, step by step: `python -m bench.adapt [--json]`.

From a warm start (model, embedder and hypernetwork loaded, one hint made before), every hint new to the cache; store
and cache lie in a temporary folder. Milliseconds: `write` is the store's folder, the cache's row and its index;
`attach` is llama.cpp reading the GGUF file and putting it to a context. The aim: under 1 s at the median. No peer:
nothing else makes adapters from text for a GGUF model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from proxy.adaptation import Wanted
from proxy.config import Config, load_config
from proxy.engine.llama import Adapter, Context, Model
from proxy.shelf import CacheShelf
from proxy.wiring import open_specialiser
from t2l.pipeline import NoSkill

STEPS = ("enhance", "decompose", "embed", "generate", "compose", "write", "attach")
WARM_UP = "Answer questions about the history of tea."
HINTS = (
    "Write Python functions for geometry: areas, angles, intersections.",
    "编写一个 Python 函数来验证哥德巴赫猜想",
    "sql help, postgres 14, no CTEs",
    "Solve word problems about speed and distance; show the steps.",
    "Extract company names and amounts from invoices as JSON.",
    "Write haiku about the sea, 5-7-5.",
    "Logic grid puzzles: explain every deduction.",
    "Label customer reviews as positive, negative or mixed.",
    "Translate product descriptions from German to English.",
    "Answer pharmacology questions in two sentences.",
    "Review Rust code for data races and give the patch.",
    "写一封辞职信，语气诚恳，不超过200字",
    "从合同里找出金额和日期，用表格列出",
    "Plan a weekly shift rota that breaks no rule.",
    "Explain contract law to first-year students.",
    "Regex for IBANs, one line, no explanation.",
    "Summarise meeting notes in five bullet points.",
    "Compute confidence intervals and explain them in words.",
    "Write bedtime stories for a four-year-old.",
    "Find the root cause in an incident timeline.",
    "Generate Kubernetes manifests for the service I describe.",
    "证明数列不等式，不要跳步",
    "Answer from the passage only; quote the sentence.",
    "Draft polite replies to angry customers in British English.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.adapt", description=__doc__)
    parser.add_argument("--config", type=Path, help="default: $ET2L_CONFIG or ./config.toml")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(in_folder(load_config(options.config), Path(folder)))
    report = {step: percentiles([row[step] for row in rows]) for step in STEPS}
    report["total"] = percentiles([sum(row.values()) for row in rows])
    if options.json:
        print(json.dumps({"hints": len(rows), "ms": report}))
        return 0
    print(f"{len(rows)} hints, milliseconds\n{'step':10}{'median':>9}{'p95':>9}")
    for step, (median, p95) in report.items():
        print(f"{step:10}{median:9.1f}{p95:9.1f}")
    return 0


def in_folder(config: Config, folder: Path) -> Config:
    """The configuration with store and cache in an empty folder, so that no hint is known."""
    cache = replace(
        config.cache, path=folder / "cache.db", index_path=folder / "cache.usearch", store_path=folder / "store"
    )
    return replace(config, cache=cache)


def measure(config: Config) -> list[dict[str, float]]:
    """Per hint, milliseconds by step."""
    shelf = open_specialiser(config).shelf
    model = Model(config.model.path)
    context = Context(model, context_tokens=512, batch_tokens=64, max_sequences=1, max_outputs=1, threads=1)
    try:
        one_hint(shelf, model, context, WARM_UP)
        return [one_hint(shelf, model, context, hint) for hint in HINTS]
    finally:
        context.close()
        shelf.close()


def one_hint(shelf: CacheShelf, model: Model, context: Context, hint: str) -> dict[str, float]:
    wanted = Wanted(hint, tenant="bench")
    made = shelf.et2l.adapt(hint)
    if isinstance(made, NoSkill):
        raise SystemExit(f"{hint!r} got no adapter: {made.reason}")
    start = time.perf_counter()
    stored = shelf.cache.store(shelf.key(wanted), shelf.embedding(wanted), made.adapter, shelf.card(made), shelf.base)
    written = time.perf_counter()
    adapter = Adapter(model, stored.gguf_path)
    context.attach((adapter,))
    attached = time.perf_counter()
    context.attach(())
    adapter.free()
    return {**made.timings_ms, "write": 1000 * (written - start), "attach": 1000 * (attached - written)}


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    sys.exit(main())
