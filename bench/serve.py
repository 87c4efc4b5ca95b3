"""Our server beside llama-server: speed, first token, many adapters, long conversations, memory.

    python -m bench.serve --clients 1 4 8 16 --adapters 1 2 4 8 --rounds 3 --plot serving.png
    python -m bench.serve --only latency

Both run as children on free loopback ports at the same time, with the same GGUF file, context, threads, batch and
number of slots; every measurement is taken on one, then on the other, and who goes first alternates. They get the
same requests: prompts of about 60 tokens that share no prefix, answers of a fixed number of tokens (the end tokens
are banned by logit_bias on both). Medians over the rounds with 95 % bootstrap intervals. llama-server comes from
`make peers`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from bench._client import Answer, Client, RequestFailed
from bench._numbers import median, percentile, ratio_of_percentiles
from bench._servers import PEER, Adapter, Memory, Ours, Peer, ServerFailed
from bench._serving import Burst, DifferentWork, Serving, Turn, Work
from proxy.config import Config, ConfigError, load_config
from proxy.engine.engine import default_threads
from proxy.engine.llama import Model

PARTS = ("throughput", "adapters", "turns", "latency", "memory")
ADAPTER_CLIENTS = 8
TASKS = (
    "Write Python functions for geometry: areas, angles, intersections.",
    "Label customer reviews as positive, negative or mixed.",
    "Translate product descriptions from German to English.",
    "Summarise meeting notes in five bullet points.",
    "Extract company names and amounts from invoices as JSON.",
    "Solve word problems about speed and distance; show the steps.",
    "Write bedtime stories for a four-year-old.",
    "Review Rust code for data races and give the patch.",
    "Answer pharmacology questions in two sentences.",
    "Write SQL queries for PostgreSQL 14 without CTEs.",
    "Explain contract law to first-year students.",
    "Draft polite replies to angry customers in British English.",
    "Plan a weekly shift rota that breaks no rule.",
    "Write haiku about the sea.",
    "Find the root cause in an incident timeline.",
    "Generate Kubernetes manifests for the service I describe.",
)
MB = 1e6


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a table: some clients with some adapters among them, round by round, by server."""

    clients: int
    adapters: int
    rounds: list[dict[str, Burst]]

    def of(self, server: str) -> list[Burst]:
        return [one[server] for one in self.rounds]


@dataclass(slots=True)
class Report:
    """All that was measured; a part that was not asked for is empty."""

    setting: dict[str, Any]
    throughput: list[Point] = field(default_factory=list)
    adapters: list[Point] = field(default_factory=list)
    turns: dict[str, dict[str, list[list[Turn]]]] = field(default_factory=dict)
    latency: list[tuple[Answer, Answer]] = field(default_factory=list)
    memory: dict[str, Memory] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=positive, nargs="+", default=[1, 4, 8, 16], metavar="N")
    parser.add_argument(
        "--adapters", type=positive, nargs="+", default=[1, 2, 4, 8], metavar="N", help="among 8 clients; at most 8"
    )
    parser.add_argument("--tokens", type=positive, default=64, help="of each answer (default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="(default: %(default)s)")
    parser.add_argument("--turns", type=positive, default=20, help="of a conversation (default: %(default)s)")
    parser.add_argument("--pairs", type=positive, default=60, help="of requests for the added latency")
    parser.add_argument("--threads", type=positive, help="of each server (default: physical cores)")
    parser.add_argument("--context", type=positive, help="KV cells of each server (default: engine.context_tokens)")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1, help="of the prompts")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--config", type=Path, help="model and engine (default: $ET2L_CONFIG or ./config.toml)")
    parser.add_argument("--peer-flags", default="", help='more for llama-server, e.g. --peer-flags="--no-repack"')
    parser.add_argument("--json", action="store_true", help="every measured value instead of tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="tokens per second over clients, as a picture")
    options = parser.parse_args(arguments)
    if max(options.adapters) > ADAPTER_CLIENTS:
        parser.error(f"--adapters: want at most {ADAPTER_CLIENTS}, one per client")
    if not PEER.is_file():
        return fail("peers/llama-server is missing: build it with `make peers`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the `with` blocks that stop the children
    try:
        report = asyncio.run(measure(configuration(options), options))
    except KeyboardInterrupt:
        return fail("stopped", 130)
    except (ConfigError, ServerFailed, RequestFailed, DifferentWork, OSError) as exc:
        return fail(str(exc))
    except ExceptionGroup as exc:  # of several clients at once
        return fail(str(exc.exceptions[0]))
    print(json.dumps(asdict(report)) if options.json else "\n\n".join(tables(report)))
    if options.plot:
        plot(report, options.plot)
    return 0


def configuration(options: argparse.Namespace) -> Config:
    """The user's model and engine, with room for all clients. Raises ConfigError."""
    config = load_config(options.config)
    wanted = set(options.only)
    slots = max(options.clients) if "throughput" in wanted else 2
    if wanted & {"adapters", "memory"}:
        slots = max(slots, ADAPTER_CLIENTS)
    engine = replace(
        config.engine,
        threads=options.threads or config.engine.threads or default_threads(),
        context_tokens=options.context or config.engine.context_tokens,
        max_sequences=slots,
    )
    return replace(config, engine=engine)


async def measure(config: Config, options: argparse.Namespace) -> Report:
    """Raises ServerFailed, RequestFailed, DifferentWork or OSError, alone or in a group."""
    wanted = set(options.only)
    count = max(options.adapters) if wanted & {"adapters", "memory"} else 0
    if wanted & {"turns", "latency"}:
        count = max(count, 2)
    with tempfile.TemporaryDirectory() as name, ExitStack() as children:
        folder = Path(name)
        say("starting both servers")
        ours = children.enter_context(Ours(config, folder))
        adapters = make_adapters(ours, count, folder)
        peer = children.enter_context(Peer(config, folder, adapters, more=options.peer_flags.split()))
        work = Work(options.tokens, options.temperature, sorted(Model(config.model.path).end_tokens))
        report = Report(setting(config, options, count))
        async with Client() as client:
            serving = Serving(client, ours, peer, work, options.seed)
            try:
                await take(wanted, serving, report, config, options, adapters, folder)
            except (RequestFailed, ExceptionGroup):
                ours.check_alive()  # a dead child's log says more
                peer.check_alive()
                raise
    return report


async def take(
    wanted: set[str],
    serving: Serving,
    report: Report,
    config: Config,
    options: argparse.Namespace,
    adapters: Sequence[Adapter],
    folder: Path,
) -> None:
    """Puts the wanted parts into the report."""
    await serving.warm_up(adapters)
    if "throughput" in wanted:
        asked = [(clients, 0) for clients in options.clients]
        report.throughput = await points(serving, asked, adapters, options.rounds)
    if "adapters" in wanted:
        asked = [(ADAPTER_CLIENTS, number) for number in options.adapters]
        report.adapters = await points(serving, asked, adapters, options.rounds)
    if "turns" in wanted:
        tokens = min(options.tokens, 32)
        for title, users in (("one", [None]), ("two, with an adapter each", adapters[:2])):
            say(f"conversations of {options.turns} turns: {title}")
            report.turns[title] = await serving.turns(users, options.turns, tokens)
    if "latency" in wanted:
        say(f"added latency, {options.pairs} pairs")
        report.latency = await serving.latencies(adapters[0], options.pairs)
    if "memory" in wanted:
        say("memory")
        report.memory = await memory(serving, config, adapters, folder)


def make_adapters(ours: Ours, count: int, folder: Path) -> list[Adapter]:
    """Adapters of different tasks. Raises ServerFailed, also if two tasks were given the same one."""
    if count:
        say(f"making {count} adapters")
    adapters = [ours.make_adapter(number, task, folder) for number, task in enumerate(TASKS[:count])]
    if len({adapter.digest for adapter in adapters}) < count:
        raise ServerFailed(f"{count} tasks led to fewer adapters")
    return adapters


async def points(
    serving: Serving, asked: Sequence[tuple[int, int]], adapters: Sequence[Adapter], rounds: int
) -> list[Point]:
    """asked: clients and adapters of each point. A round goes through all of them."""
    found = [Point(clients, number, []) for clients, number in asked]
    for turn in range(rounds):
        for place, point in enumerate(found):
            say(f"round {turn + 1} of {rounds}: {point.clients} clients, {point.adapters} adapters")
            seen = await serving.bursts(point.clients, adapters[: point.adapters], turn + place)
            point.rounds.append(seen)
            say(", ".join(f"{name} {burst.tokens_per_s:.1f} tok/s" for name, burst in seen.items()))
    return found


async def memory(serving: Serving, config: Config, adapters: Sequence[Adapter], folder: Path) -> dict[str, Memory]:
    """Of both servers after all adapters were in use at once; and of llama-servers that hold one adapter each.

    Those are two, each with its share of the context; more would not tell more.
    """
    await serving.bursts(ADAPTER_CLIENTS, adapters, 0)
    found = {server.name: server.memory() for server in (serving.ours, serving.peer)}
    engine = replace(config.engine, max_sequences=1, context_tokens=config.engine.context_tokens // len(adapters))
    alone = replace(config, engine=engine)
    with ExitStack() as children:
        for adapter in adapters[:2]:
            only = replace(adapter, number=0)
            name = f"llama-server for adapter {adapter.number + 1} alone"
            single = children.enter_context(Peer(alone, folder, [only], log_name=f"{name}.log"))
            [messages] = serving.prompts.take(1)
            await serving.client.ask(single.url, serving.work.body(messages) | single.asks_for(only))
            found[name] = single.memory()
    return found


def setting(config: Config, options: argparse.Namespace, adapters: int) -> dict[str, Any]:
    """What a reader needs to repeat the run. adapters: how many both servers were given."""
    engine = config.engine
    return {
        "model": config.model.path.name,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": engine.threads,
        "context": engine.context_tokens,
        "slots": engine.max_sequences,
        "batch": engine.batch_tokens,
        "adapters": adapters,
        "answer_tokens": options.tokens,
        "temperature": options.temperature,
        "rounds": options.rounds,
        "seed": options.seed,
        "peer_flags": options.peer_flags,
        "load_at_start": os.getloadavg()[0],
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


# --- reports ------------------------------------------------------------------------------------------------


def tables(report: Report) -> list[str]:
    """Markdown, a text per part."""
    texts = [", ".join(f"{key} {value}" for key, value in report.setting.items() if value != "")]
    if report.throughput:
        texts.append(speed_table("No adapters", report.throughput))
    if report.adapters:
        texts.append(speed_table(f"Adapters among {ADAPTER_CLIENTS} clients", report.adapters))
    if speeds := report.throughput + report.adapters:
        texts.append(time_table(speeds))
    if report.turns:
        texts.append(turns_table(report.turns))
    if report.latency:
        texts.append(latency_table(report.latency))
    if report.memory:
        texts.append(memory_table(report.memory, report.setting["adapters"]))
    return texts


def speed_table(title: str, points: Sequence[Point]) -> str:
    """Ratios are ours / llama-server's: of tokens per second more is better, of times less."""
    rows = []
    for point in points:
        ours, peer = point.of("ours"), point.of("llama-server")
        speeds = [[burst.tokens_per_s for burst in bursts] for bursts in (ours, peer)]
        firsts = [[1000 * ttft for burst in bursts for ttft in burst.ttft_s] for bursts in (ours, peer)]
        row = [point.clients, point.adapters, *(f"{median(speed).value:.1f}" for speed in speeds)]
        row.append(ratio_of_percentiles(*speeds, 50))
        for percent in (50, 95):
            row += [f"{percentile(first, percent).value:.0f}" for first in firsts]
            row.append(ratio_of_percentiles(*firsts, percent))
        rows.append(row)
    heads = ["clients", "adapters", "tok/s ours", "llama-server", "ratio"]
    heads += ["TTFT p50 ms ours", "llama-server", "ratio", "p95 ours", "llama-server", "ratio"]
    return markdown(title, heads, rows)


def time_table(points: Sequence[Point]) -> str:
    """Means over the rounds. Idle: no step was under way, so the engine waited for a request or an answer's reader."""
    rows = []
    for point in points:
        ours, peer = point.of("ours"), point.of("llama-server")
        seconds = fmean(burst.seconds for burst in ours)
        decode, busy, steps = (fmean(burst.engine[key] for burst in ours) for key in ("decode_s", "busy_s", "steps"))
        cpu = [1000 * fmean(burst.cpu_s / burst.tokens for burst in bursts) for bursts in (ours, peer)]
        rows.append(
            [
                point.clients,
                point.adapters,
                f"{steps:.0f}",
                f"{1000 * decode / steps:.1f}",
                f"{1000 * (busy - decode) / steps:.2f}",
                f"{100 * (1 - busy / seconds):.1f} %",
                *(f"{1000 * loop_lag(ours, share):g}" for share in (0.5, 0.99, 1)),
                *(f"{each:.1f}" for each in cpu),
            ]
        )
    heads = ["clients", "adapters", "steps", "llama_decode ms/step", "rest ms/step", "idle"]
    heads += ["loop lag ms p50 <=", "p99 <=", "all <="]
    heads += ["CPU ms/token ours", "llama-server"]
    return markdown("Where our engine's time goes", heads, rows)


def loop_lag(bursts: Sequence[Burst], share: float) -> float:
    """The smallest bound, in seconds, under which this share of the event loop's delays stayed."""
    counts: dict[float, int] = {}
    for burst in bursts:
        for bound, count in burst.loop_lags.items():
            counts[bound] = counts.get(bound, 0) + count
    return min(bound for bound, count in counts.items() if count >= share * max(counts.values()))


def turns_table(turns: dict[str, dict[str, list[list[Turn]]]]) -> str:
    rows = []
    for title, servers in turns.items():
        for server, talks in servers.items():
            later = [turn for talk in talks for turn in talk[1:]]
            row: list[Any] = [title, server, len(talks[0])]
            row.append(sum(turn.prompt_tokens for talk in talks for turn in talk))
            row.append(sum(turn.computed_tokens for talk in talks for turn in talk))
            if later:
                row.append(f"{median([turn.computed_tokens for turn in later]).value:.0f}")
                row.append(max(turn.computed_tokens for turn in later))
                row.append(median([1000 * turn.ttft_s for turn in later]))
            else:
                row += ["", "", ""]
            rows.append(row)
    heads = ["conversations", "server", "turns", "prompt tokens", "computed"]
    heads += ["computed per later turn, median", "most", "TTFT ms of later turns"]
    return markdown("Conversations", heads, rows)


def latency_table(pairs: Sequence[tuple[Answer, Answer]]) -> str:
    ours, peer = ([1000 * answer.ttft_s for answer in answers] for answers in zip(*pairs, strict=True))
    added = [one - other for one, other in zip(ours, peer, strict=True)]
    rows = [
        ["TTFT ours", median(ours)],
        ["TTFT llama-server", median(peer)],
        ["added: ours minus llama-server's, of one prompt each", median(added)],
        ["of ours: finding the adapter", median([answer.adapt_ms or 0.0 for answer, _ in pairs])],
    ]
    return markdown(f"Added latency on a cached adapter, {len(pairs)} pairs, median ms", ["", "ms"], rows)


def memory_table(found: dict[str, Memory], adapters: int) -> str:
    """A process per adapter by calculation: the private memory of one, times adapters, and the files once."""
    rows = [
        [name, *(f"{each / MB:.0f}" for each in (one.peak, one.private, one.shared))] for name, one in found.items()
    ]
    alone = [one for name, one in found.items() if name.endswith("alone")]
    private = fmean(one.private for one in alone) * adapters
    shared = max(one.shared for one in alone)
    rows.append([f"{adapters} such, calculated", "", f"{private / MB:.0f}", f"{shared / MB:.0f}"])
    return markdown("Memory", ["", "peak RSS MB", "private MB", "files MB, shared"], rows)


def markdown(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [f"**{title}**", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def plot(report: Report, file: Path) -> None:
    import matplotlib  # takes a second to import; nothing else here needs it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parts = [("clients, no adapters", "clients", report.throughput)] if report.throughput else []
    if report.adapters:
        parts.append((f"adapters among {ADAPTER_CLIENTS} clients", "adapters", report.adapters))
    if not parts:
        say("nothing to plot: neither throughput nor adapters were measured")
        return
    figure, axes = pyplot.subplots(1, len(parts), figsize=(5 * len(parts), 4), squeeze=False)
    for axis, (label, key, points) in zip(axes[0], parts, strict=True):
        for server in ("ours", "llama-server"):
            speeds = [median([burst.tokens_per_s for burst in point.of(server)]) for point in points]
            values = [speed.value for speed in speeds]
            spread = [[one.value - one.low for one in speeds], [one.high - one.value for one in speeds]]
            counts = [getattr(point, key) for point in points]
            axis.errorbar(counts, values, spread, label=server, marker="o", capsize=3)
        axis.set(xlabel=label, ylabel="output tokens per second", ylim=(0, None))
        axis.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def fail(problem: str, status: int = 1) -> int:
    say(problem)
    return status


if __name__ == "__main__":
    sys.exit(main())
