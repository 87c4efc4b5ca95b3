"""Two servers of the same model as children on free loopback ports: ours, and llama.cpp's llama-server.

Knows their command lines, how they are asked for an adapter, and what memory and CPU time they take; measures nothing.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from proxy.config import Config

ROOT = Path(__file__).parents[1]
PEER = ROOT / "peers" / "llama-server"
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0
LOG_LINES = 15
"""Of a child that did not start, shown to the user."""


class ServerFailed(Exception):
    """A child did not start or does not answer; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter both servers have. number: llama-server's id, the file's place on its command line."""

    number: int
    task: str
    digest: str
    path: Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in bytes. peak: largest resident size so far; private + shared = resident now.

    shared: pages of files, which other processes with the same model use, too.
    """

    peak: int
    private: int
    shared: int


class Server:
    """A child process that serves HTTP; leaving the `with` block stops it."""

    def __init__(self, name: str, command: Sequence[str | Path], port: int, log: Path) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self._command = [str(part) for part in command]
        self._log = log

    def __enter__(self) -> Server:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def check_alive(self) -> None:
        """Raises ServerFailed."""
        if self._process.poll() is not None:
            raise ServerFailed(f"{self.name} ended with {self._process.returncode}:\n{self._log_end()}")

    def asks_for(self, adapter: Adapter | None) -> dict[str, Any]:
        """The fields of a chat request that choose the adapter, None = the base model."""
        raise NotImplementedError

    def memory(self) -> Memory:
        """Raises OSError where there is no /proc."""
        status = dict(line.split(":", 1) for line in self._proc("status").splitlines())
        peak, private, *shared = (
            int(status[key].split()[0]) * 1024 for key in ("VmHWM", "RssAnon", "RssFile", "RssShmem")
        )
        return Memory(peak, private, sum(shared))

    def cpu_s(self) -> float:
        """CPU time used so far. Raises OSError where there is no /proc."""
        user, system = self._proc("stat").rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return reply.read()

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ServerFailed with the server's own words."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as exc:
            raise ServerFailed(f"{self.name} {path}: {exc.code}: {exc.read().decode(errors='replace')}") from exc

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                self.get("/health")
                return
            except OSError:  # refused, or 503 while it loads
                time.sleep(0.1)
        raise ServerFailed(f"{self.name} was not ready in {START_TIMEOUT_S:.0f} s:\n{self._log_end()}")

    def _log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES:])


class Ours(Server):
    """`et2l serve` with cache and store in `folder`, and otherwise the configuration it is given."""

    def __init__(self, config: Config, folder: Path) -> None:
        port = free_port()
        file = folder / "config.toml"
        file.write_text(config_text(config, folder, port), encoding="utf-8")
        super().__init__(
            "ours", [sys.executable, "-m", "proxy.cli", "serve", "--config", file], port, folder / "ours.log"
        )
        self._base = config.model.name

    def asks_for(self, adapter: Adapter | None) -> dict[str, Any]:
        return {"model": f"{self._base}@{adapter.digest if adapter else 'off'}"}

    def asks_by_task(self, adapter: Adapter) -> dict[str, Any]:
        """As a client would that knows no digest: the proxy finds the adapter in its cache."""
        return {"model": self._base, "et2l": {"task": adapter.task, "on_miss": "require"}}

    def make_adapter(self, number: int, task: str, folder: Path) -> Adapter:
        """Has it generated, and downloads its GGUF file into `folder`."""
        digest = self.post("/v1/adapters", {"task": task})["id"]
        path = folder / f"adapter-{number}.gguf"
        path.write_bytes(self.get(f"/v1/adapters/{digest}/download?format=gguf"))
        return Adapter(number, task, digest, path)

    def counters(self) -> dict[str, float]:
        """The unlabelled numbers of /metrics."""
        lines = self.get("/metrics").decode().splitlines()
        pairs = (line.split() for line in lines if not line.startswith("#") and "{" not in line)
        return {name: float(value) for name, value in pairs}

    def loop_lags(self) -> dict[float, int]:
        """Upper bound in seconds -> how often its event loop was at most that late."""
        line = re.compile(r'^et2l_event_loop_lag_seconds_bucket\{le="(.+)"\} (.+)$', re.MULTILINE)
        return {float(bound): int(float(count)) for bound, count in line.findall(self.get("/metrics").decode())}


class Peer(Server):
    """llama-server with our flags where it has them, and its defaults elsewhere."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        adapters: Sequence[Adapter] = (),
        *,
        more: Sequence[str] = (),
        log_name: str = "llama-server.log",
    ) -> None:
        engine, port = config.engine, free_port()
        command: list[str | Path] = [PEER, "-m", config.model.path, "--host", "127.0.0.1", "--port", str(port)]
        command += ["-c", str(engine.context_tokens), "-np", str(engine.max_sequences), "--kv-unified"]
        command += ["-t", str(engine.threads), "-tb", str(engine.threads), "-fa", "auto"]
        command += ["-b", str(engine.batch_tokens), "-ub", str(engine.batch_tokens), "-ngl", str(engine.gpu_layers)]
        command += ["--no-webui", "--offline"]
        if adapters:
            command += ["--lora", ",".join(str(one.path) for one in adapters), "--lora-init-without-apply"]
        super().__init__("llama-server", [*command, *more], port, folder / log_name)

    def asks_for(self, adapter: Adapter | None) -> dict[str, Any]:
        return {"lora": [{"id": adapter.number, "scale": 1.0}]} if adapter else {}


def config_text(config: Config, folder: Path, port: int) -> str:
    """A configuration file: what decides speed from `config`, all that is written below `folder`."""
    engine = config.engine
    sections: dict[str, dict[str, Any]] = {
        "server": {"port": port, "log_level": "warning"},
        "model": {"name": config.model.name, "path": str(config.model.path.absolute()), "aliases": []},
        "engine": {
            "context_tokens": engine.context_tokens,
            "max_sequences": engine.max_sequences,
            "batch_tokens": engine.batch_tokens,
            "threads": engine.threads,
            "gpu_layers": engine.gpu_layers,
        },
        "embedder": {"path": str(config.embedder.path or "")},
        "hypernetwork": {"path": str(config.hypernetwork.path or "")},
        "cache": {
            "path": str(folder / "cache.db"),
            "index_path": str(folder / "cache.usearch"),
            "store_path": str(folder / "store"),
        },
        "builds": {"path": str(folder / "builds")},
    }
    lines = []
    for name, table in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
