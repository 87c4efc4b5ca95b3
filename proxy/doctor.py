"""What this machine has, what works on it, what does not, and what to do: the checks behind `et2l doctor`.

Every check is a function that returns one Finding. A check that raises becomes a `fail` with the exception's
words: the point of a doctor is to finish its round.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from adapters.file_digest import file_sha256
from proxy.config import Config
from proxy.model_files import MODELS, ModelFileWrong, verify_bytes
from proxy.wiring import CHECKPOINTS, StartFailed, open_configured_cache, open_embedder_of, open_hypernetwork

REBUILD = "run `rm -f .venv/llama.done && make setup`: it builds llama.cpp for this CPU, without AMX"
PROBE_TIMEOUT_S = 180.0
FREE_DISK_BYTES = 2_000_000_000
BESIDE_MODEL_BYTES = 1_500_000_000  # PyTorch, the embedder and the hypernetwork
CPU_FEATURES = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `remedy`: what to do about it, None when nothing needs doing."""

    name: str
    level: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str | None = None


def examine(config: Config) -> Iterator[Finding]:
    """All checks in order, each as soon as it is done."""
    checks: tuple[tuple[str, Callable[[Config], Finding]], ...] = (
        ("python", check_python),
        ("compiler", check_compiler),
        ("cpu", check_cpu),
        ("memory", check_memory),
        ("disk", check_disk),
        ("torch", check_torch),
        ("model", check_model),
        ("llama.cpp", check_llama),
        ("embedder", check_embedder),
        ("hypernetwork", check_hypernetwork),
        ("cache", check_cache),
        ("port", check_port),
    )
    for name, check in checks:
        try:
            yield check(config)
        except Exception as exc:  # the outermost edge of a check: whatever it ran into is its finding
            yield Finding(name, "fail", f"{type(exc).__name__}: {exc}", "run `make setup`, then this again")


# --- the machine


def check_python(_config: Config) -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")


def check_compiler(_config: Config) -> Finding:
    command = os.environ.get("CXX", "c++").split()
    if not shutil.which(command[0]):
        return Finding(
            "compiler", "warn", f"{command[0]}: not found", "only `make setup` needs one (apt install g++)"
        )
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=20).stdout
    return Finding("compiler", "ok", said.partition("\n")[0] or command[0])


def check_cpu(_config: Config) -> Finding:
    flags = cpu_flags()
    known = [name for name in CPU_FEATURES if name in flags]
    detail = f"{os.cpu_count()} CPUs, {platform.machine()}" + (f": {' '.join(known)}" if known else "")
    if platform.machine() in ("x86_64", "AMD64") and flags and "avx2" not in flags:
        return Finding("cpu", "warn", detail, "no AVX2: answers will be slow")
    return Finding("cpu", "ok", detail)


def cpu_flags() -> frozenset[str]:
    """As /proc/cpuinfo names them; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return frozenset(next(flags, "").split())


def check_memory(config: Config) -> Finding:
    import psutil

    free = psutil.virtual_memory().available
    model = config.model.path.stat().st_size if config.model.path.exists() else 0
    needed = model + BESIDE_MODEL_BYTES
    detail = f"{free / 1e9:.1f} GB available, about {needed / 1e9:.1f} GB needed"
    if free < needed:
        return Finding("memory", "warn", detail, "close other programs, or lower engine.context_tokens")
    return Finding("memory", "ok", detail)


def check_disk(config: Config) -> Finding:
    folders = {
        existing_parent(path) for path in (config.model.path, config.cache.path, config.cache.store_path)
    }
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    tightest = min(free, key=lambda folder: free[folder])
    detail = f"{free[tightest] / 1e9:.1f} GB free at {tightest}"
    blocked = [str(folder) for folder in folders if not os.access(folder, os.W_OK)]
    if blocked:
        return Finding(
            "disk",
            "fail",
            f"may not write in {', '.join(blocked)}",
            "change its owner, or the paths in config.toml",
        )
    if free[tightest] < FREE_DISK_BYTES:
        return Finding(
            "disk", "warn", detail, "make room, or move model.path and [cache] in config.toml to another disk"
        )
    return Finding("disk", "ok", detail)


def existing_parent(path: Path) -> Path:
    """The folder that `path` lies or would be made in."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def check_torch(config: Config) -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("torch", "ok", f"{torch.__version__}, CUDA on {torch.cuda.get_device_name()}")
    if config.adapt.device == "cuda":
        wants = 'set adapt.device to "auto", or install PyTorch for CUDA (README, On a GPU)'
        return Finding(
            "torch", "fail", f"{torch.__version__} finds no CUDA device, and adapt.device wants one", wants
        )
    return Finding("torch", "ok", f"{torch.__version__}, on the CPU")


# --- the parts


def check_model(config: Config) -> Finding:
    path, known = config.model.path, MODELS.get(config.model.name)
    if not path.is_file():
        what = (
            "run `et2l model fetch`" if known else "put your model there, or change model.path in config.toml"
        )
        return Finding("model", "fail", f"{path}: no such file", what)
    if known is None:
        return Finding("model", "ok", f"{config.model.name}: {path} (your own; not one we can verify)")
    try:
        verify_bytes(known, path, lambda phase, done, total: None)
    except ModelFileWrong as exc:
        return Finding(
            "model", "fail", str(exc), "delete it and run `et2l model fetch`, or rename model.name"
        )
    return Finding("model", "ok", f"{config.model.name}, {path.stat().st_size / 1e6:.0f} MB, sha256 verified")


def check_llama(config: Config) -> Finding:
    version = metadata.version("llama-cpp-python")
    if not config.model.path.is_file():
        return Finding("llama.cpp", "warn", f"{version}, not tried: no model file", "run `et2l model fetch`")
    command = [
        sys.executable,
        "-m",
        "proxy.decode_probe",
        str(config.model.path),
        str(config.engine.gpu_layers),
    ]
    return judge_probe(version, run_probe(command), config.engine.gpu_layers)


@dataclass(frozen=True, slots=True)
class Probe:
    """How the decode probe ended. status: its exit status, negative for a signal, None for no end in time.

    facts: what it printed before that, merged.
    """

    status: int | None
    facts: dict[str, object]
    error: str


def run_probe(command: Sequence[str], timeout_s: float = PROBE_TIMEOUT_S) -> Probe:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Probe(None, {}, f"no end within {timeout_s:.0f} s")
    facts: dict[str, object] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            facts |= json.loads(line)
    return Probe(done.returncode, facts, " ".join(done.stderr.strip().splitlines()[-1:]))


def judge_probe(version: str, probe: Probe, gpu_layers: int) -> Finding:
    amx = "AMX_INT8 = 1" in str(probe.facts.get("system", ""))
    built = f"{version}{', built with AMX' if amx else ''}"
    if probe.status is not None and probe.status < 0:
        name = signal.Signals(-probe.status).name
        return Finding(
            "llama.cpp", "fail", f"{built}: decoding ended with {name} (built for another CPU?)", REBUILD
        )
    if probe.status != 0:
        return Finding("llama.cpp", "fail", f"{built}: decoding failed: {probe.error}", REBUILD)
    if not probe.facts["finite"]:
        return Finding("llama.cpp", "fail", f"{built}: decoding gave numbers that are not finite", REBUILD)
    detail = f"{built}, decodes the model ({probe.facts['tokens_per_s']:.0f} tokens/s here and now)"
    if gpu_layers and not probe.facts["gpu"]:
        wants = "build it with CMAKE_ARGS=-DGGML_CUDA=on (README, On a GPU), or set engine.gpu_layers to 0"
        return Finding("llama.cpp", "warn", f"{detail}, but has no GPU support", wants)
    return Finding("llama.cpp", "ok", detail)


def check_embedder(config: Config) -> Finding:
    from t2l.embedder import EmbedderError

    try:
        embedder = open_embedder_of(config.embedder)
        vectors = embedder.embed(["Sort a list of numbers.", "对数字列表进行排序。"])
    except EmbedderError as exc:
        wants = "run `make setup`, or point embedder.path at a sentence-transformers folder"
        return Finding("embedder", "fail", str(exc), wants)
    return Finding("embedder", "ok", f"{embedder.folder}, {vectors.shape[1]} dimensions")


def check_hypernetwork(config: Config) -> Finding:
    from t2l.checkpoint import require_base
    from t2l.hypernetwork import CheckpointError

    folder = config.hypernetwork.path or CHECKPOINTS / config.model.name
    if config.hypernetwork.path is None and not folder.is_dir():
        wants = "the base model alone will answer; set hypernetwork.path, or train one (et2l train)"
        return Finding("hypernetwork", "warn", f"none for {config.model.name} in {folder.parent}", wants)
    base = file_sha256(config.model.path) if config.model.path.is_file() else ""
    try:
        network = open_hypernetwork(folder, base, "cpu")
        if base:
            require_base(network, base, folder)
    except (CheckpointError, StartFailed) as exc:
        wants = "restore the folder from git, or set hypernetwork.path or model.path"
        return Finding("hypernetwork", "fail", str(exc), wants)
    return Finding("hypernetwork", "ok", f"{folder}, for this model file" if base else f"{folder}, loads")


def check_cache(config: Config) -> Finding:
    path = config.cache.path
    if not path.exists():
        return Finding("cache", "ok", f"{path}: none yet")
    try:
        cache = open_configured_cache(config)
    except StartFailed as exc:
        return Finding("cache", "fail", str(exc), f"move {path} away: adapters are then generated anew")
    try:
        found = cache.check()
        count = cache.stats().adapters
    finally:
        cache.close()
    if not found.ok:
        counts = {name: len(items) for name, items in asdict(found).items() if items}
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        return Finding("cache", "warn", f"{path}: {told}", "run `et2l cache rebuild`")
    return Finding("cache", "ok", f"{path}: {count} adapters; rows, files and index agree")


def check_port(config: Config) -> Finding:
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), port))
        except OSError as exc:
            taken = exc.errno == errno.EADDRINUSE
            detail = (
                f"{host}:{port} is in use, perhaps by a running et2l" if taken else f"{host}:{port}: {exc}"
            )
            level = "warn" if taken else "fail"
            return Finding(
                "port", level, detail, "choose another: `make serve PORT=8001`, or server.port in config.toml"
            )
    return Finding("port", "ok", f"{host}:{port} is free")
