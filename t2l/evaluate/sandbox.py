"""Running a model's program safely: a locked child process, a deadline, and one answer back.

Contains what a bad program does to the machine: endless loops, memory, processes, files, signals, network,
reading the environment. What holds where is told by `Run.locks`: resource limits everywhere, the rest on
Linux (sandbox_child.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CHILD = Path(__file__).with_name("sandbox_child.py")
MAX_REPLY_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Limits:
    """cpu_s is what a program may compute, counted by the kernel; wall_s bounds waiting. Wall time is
    generous: on a busy machine, a program that needs 4 s of CPU (there is one in MBPP) may take five times as
    long."""

    wall_s: float = 40.0
    cpu_s: int = 12
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """ok: the program ran to its end without an exception. value: what `call` returned, as a float.

    error: the exception, or "timeout", or "killed" (by a limit, or it left the interpreter on its own).
    locks: names of the protections that held, empty where the child did not live to say.
    """

    ok: bool
    value: float | None = None
    error: str | None = None
    locks: tuple[str, ...] = ()


def run_program(program: str, call: str | None = None, limits: Limits | None = None) -> Run:
    """Run a Python program in a child process, then call its function `call()` if one is named. Never raises
    for what the program does. May be called from several threads at once."""
    limits = limits or Limits()
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="et2l-sandbox-", ignore_cleanup_errors=True) as folder:
        request = Path(folder) / "request.json"
        request.write_text(
            json.dumps(
                {
                    "program": program, "call": call, "token": token, "cpu_s": limits.cpu_s,
                    "memory_bytes": limits.memory_bytes, "file_bytes": limits.file_bytes,
                }
            ),
            encoding="utf-8",
        )  # fmt: skip
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(CHILD), str(request)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        try:
            reply, in_time = _read_reply(child, time.monotonic() + limits.wall_s)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.kill()
            child.wait()
            child.stdout.close()
    if not in_time:
        return Run(False, error="timeout")
    _, found, text = reply.partition(token.encode())
    if not found:
        return Run(False, error="killed")
    outcome = json.loads(text)
    return Run(outcome["ok"], outcome.get("value"), outcome.get("error"), tuple(outcome["locks"]))


def _read_reply(child: subprocess.Popen, deadline: float) -> tuple[bytes, bool]:
    """What the child wrote until it closed its end, at most MAX_REPLY_BYTES; False when the deadline came
    first."""
    reply = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and len(reply) < MAX_REPLY_BYTES:
            if not selector.select(left):
                break
            part = os.read(child.stdout.fileno(), 4096)
            if not part:
                return reply, True
            reply += part
    return reply, False
