"""Builds what is compiled here: the pinned llama-cpp-python wheel, and llama.cpp's programs to compare with.

    native.py wheel         build the wheel for this machine, or find the one built before; prints its path
    native.py peers DIR     build llama-server, llama-bench, llama-export-lora and llama-quantize into DIR

Standard library only: it runs before anything is installed but requirements/build.txt. Both builds use the
CPU's own instructions except AMX: built by GCC with AMX, llama.cpp crashes at its first decode on a CPU that
has it (the compiler leaves the tile configuration unwritten). The user's own CMAKE_ARGS, CFLAGS, CXXFLAGS, CC
and CXX are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = "llama-cpp-python"
NO_AMX = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")
PEERS = ("llama-server", "llama-bench", "llama-export-lora", "llama-quantize")
# The wheel needs libllama and libggml alone: no image input (LLAVA_BUILD), no "common" library.
WHEEL_ARGS = ("-DGGML_NATIVE=ON", "-DLLAVA_BUILD=OFF")
NO_COMMON = HERE / "no_common.cmake"
PEER_ARGS = (
    "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF",
)  # fmt: skip
STEP = re.compile(r"\[(\d+)/(\d+)\] ")


def pinned_version() -> str:
    for line in (HERE / "base.txt").read_text().splitlines():
        if line.startswith(f"{PACKAGE}=="):
            return line.partition("==")[2].strip()
    sys.exit(f"requirements/base.txt pins no {PACKAGE}")


def compiler_macros(command: Iterable[str], flags: Iterable[str]) -> str | None:
    """What the C compiler predefines for this machine's CPU under `flags`; None when it refuses them."""
    full = [*command, *flags, "-march=native", "-dM", "-E", "-x", "c", os.devnull]
    result = subprocess.run(full, capture_output=True, text=True)
    return result.stdout if result.returncode == 0 else None


def amx_flags(command: Iterable[str]) -> tuple[str, ...]:
    """The flags that keep AMX out, where the compiler knows them and they do; none on other processors."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ()
    macros = compiler_macros(command, NO_AMX)
    return NO_AMX if macros is not None and "__AMX_" not in macros else ()


def c_compiler(environ: Mapping[str, str]) -> list[str]:
    return shlex.split(environ.get("CC", "")) or ["cc"]


def build_environment() -> dict[str, str]:
    """This process's environment, with our compiler flags before the user's and the build tools on PATH."""
    env = dict(os.environ)
    flags = amx_flags(c_compiler(env))
    for name in ("CFLAGS", "CXXFLAGS"):
        env[name] = " ".join([*flags, env.get(name, "")]).strip()
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(cpus()))
    env.pop("MAKEFLAGS", None)  # else ninja looks for the job server of the make that called us
    return env


def cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wheel_key(version: str, env: Mapping[str, str]) -> str:
    """What a built wheel depends on; pip's own cache knows nothing of it but the version."""
    nvcc = shutil.which("nvcc", path=env["PATH"])
    parts = [
        version, WHEEL_ARGS, NO_COMMON.read_text(),
        [env.get(name) for name in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS", "CC", "CXX")], platform.platform(),
        compiler_macros(c_compiler(env), amx_flags(c_compiler(env))),
        subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout if nvcc else None,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def wheel_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "et2l" / "wheels"


def wheel() -> Path:
    """The wheel's path in the cache, built if it is not there yet."""
    version = pinned_version()
    env = build_environment()
    folder = wheel_cache() / wheel_key(version, env)
    found = sorted(folder.glob("*.whl"))
    if found:
        say(f"{PACKAGE} {version}: using the wheel built before for this machine")
        return found[0]
    lean = shlex.quote(f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={NO_COMMON}")
    env["CMAKE_ARGS"] = " ".join([*WHEEL_ARGS, lean, env.get("CMAKE_ARGS", "")])  # the user's win
    say(f"{PACKAGE} {version}: compiling llama.cpp for this CPU, about 5 minutes on two cores")
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = Path(sys.prefix) / "llama-build.log"
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as work:
        pip("wheel", "-v", "--wheel-dir", work, env=env, log=log)
        built = next(Path(work).glob("*.whl"))
        folder.mkdir(exist_ok=True)
        built.replace(folder / built.name)
    return folder / built.name


def peers(target: Path) -> None:
    """llama.cpp's programs from the sources in the pinned sdist, static, with the wheel's CPU flags."""
    env = build_environment()
    target.mkdir(parents=True, exist_ok=True)
    source = target / "source"
    if not source.is_dir():
        pip("download", "--dest", str(target), env=env, log=target / "build.log")
        archive = next(target.glob("llama_cpp_python-*.tar.gz"))
        with tempfile.TemporaryDirectory(dir=target) as unpacked:
            shutil.unpack_archive(archive, unpacked)
            next(Path(unpacked).iterdir()).rename(source)
        archive.unlink()
    build = target / "build"
    configure = ["cmake", "-G", "Ninja", "-S", str(source / "vendor" / "llama.cpp"), "-B", str(build)]
    run([*configure, *PEER_ARGS, *shlex.split(env.get("CMAKE_ARGS", ""))], env, target / "build.log")
    run(["cmake", "--build", str(build), "--target", *PEERS], env, target / "build.log")
    for name in PEERS:
        shutil.copy2(build / "bin" / name, target / name)
    say(f"built {', '.join(PEERS)} in {target}")


def pip(verb: str, *options: str, env: Mapping[str, str], log: Path) -> None:
    """pip on the pinned source package alone, with the build tools of requirements/build.txt."""
    fixed = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--no-binary", PACKAGE]
    run([sys.executable, "-m", "pip", verb, *fixed, *options, f"{PACKAGE}=={pinned_version()}"], env, log)


def run(command: list[str], env: Mapping[str, str], log: Path) -> None:
    """Run a build step: its output to `log`, its progress to stderr; on failure the log's end, and exit."""
    bar = Progress()
    with log.open("a", encoding="utf-8") as out:
        try:
            child = subprocess.Popen(
                command, env=dict(env), text=True, errors="replace",
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except FileNotFoundError:
            sys.exit(f"{command[0]}: not found; install requirements/build.txt first (make setup does)")
        assert child.stdout is not None
        for line in child.stdout:
            out.write(line)
            if step := STEP.search(line):
                bar.show(int(step[1]), int(step[2]))
        bar.end()
        status = child.wait()
    if status:
        tail = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-40:])
        sys.exit(f"{tail}\n{shlex.join(command[:4])} ... failed with status {status}; the whole log: {log}")


class Progress:
    """A line on stderr that is redrawn on a terminal and repeated every tenth elsewhere."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.drawn = -1

    def show(self, done: int, total: int) -> None:
        tenth = done * 10 // total
        spent = int(time.monotonic() - self.started)
        text = f"  [{'#' * (tenth * 3):30}] {done}/{total} files, {spent // 60}:{spent % 60:02}"
        if sys.stderr.isatty():
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        elif tenth != self.drawn:
            say(text)
        self.drawn = tenth

    def end(self) -> None:
        if self.drawn >= 0 and sys.stderr.isatty():
            print(file=sys.stderr)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("wheel")
    verbs.add_parser("peers").add_argument("folder", type=Path)
    args = parser.parse_args()
    if args.verb == "wheel":
        print(wheel())
    else:
        peers(args.folder.resolve())


if __name__ == "__main__":
    main()
