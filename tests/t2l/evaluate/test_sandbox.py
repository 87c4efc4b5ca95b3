"""Untrusted programs: what they may do works, what they may not is contained, and no lie counts as
success."""

import os
import sys
import time
from pathlib import Path

import pytest

from t2l.evaluate.sandbox import Limits, run_program

QUICK = Limits(wall_s=30, cpu_s=1, memory_bytes=1 << 29)
linux = pytest.mark.skipif(sys.platform != "linux", reason="these locks are Linux's")


def test_a_program_that_ends_is_ok_and_its_functions_value_comes_back():
    assert run_program(
        "import math, re, collections, itertools, heapq, datetime, random, statistics\nx = 1"
    ).ok
    run = run_program("def solution():\n    return 6 * 7", call="solution")
    assert run.ok and run.value == 42.0


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("def f(:", "SyntaxError"),
        ("import sys\nsys.exit(0)", "SystemExit"),
        ("def f(n): return f(n + 1)\nf(0)", "RecursionError"),
    ],
)
def test_a_failing_program_says_why(program, error):
    run = run_program(program)
    assert not run.ok and error in run.error


@pytest.mark.parametrize("value", ["'text'", "None", "[1]"])
def test_a_function_that_returns_no_number_has_no_value(value):
    run = run_program(f"def f(): return {value}", call="f")
    assert not run.ok and run.value is None


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos._exit(0)",
        "import os\nfor fd in range(3, 20):\n    try: os.write(fd, b'{\"ok\": true}')\n"
        "    except OSError: pass\nos._exit(0)",
        "print('passed')\nraise SystemExit",
    ],
)
def test_a_program_cannot_claim_to_have_passed(program):
    assert not run_program(program).ok


def test_an_endless_loop_ends_by_its_cpu_limit():
    started = time.monotonic()
    run = run_program("while True: pass", limits=QUICK)
    assert not run.ok and run.error in ("killed", "timeout")
    assert time.monotonic() - started < 29


def test_sleeping_ends_by_the_wall_limit():
    assert run_program("import time\ntime.sleep(60)", limits=Limits(wall_s=1.0)).error == "timeout"


@pytest.mark.parametrize(
    "program", ["x = bytearray(4 << 30)", "x = []\nwhile True: x.append(' ' * (1 << 24))"]
)
def test_memory_is_bounded(program):
    # Half the usual memory and all the usual time: filling it must not meet the CPU limit first on a slow machine.
    assert "MemoryError" in run_program(program, limits=Limits(memory_bytes=1 << 29)).error


def test_a_big_file_is_not_written():
    assert not run_program("open('big', 'wb').write(b'x' * (1 << 26))").ok


def test_the_environment_is_empty_and_the_parents_cannot_be_read(monkeypatch):
    monkeypatch.setenv("ET2L_TEST_SECRET", "hush")
    run = run_program("import os\nassert 'ET2L_TEST_SECRET' not in os.environ")
    assert run.ok
    if sys.platform == "linux":
        reads = "import os\ntext = open(f'/proc/{os.getppid()}/environ').read()"
        assert not run_program(reads).ok


def test_the_parent_cannot_be_killed():
    run = run_program("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(os.getppid(), 0)")
    if "seccomp" in run_program("").locks:
        assert "PermissionError" in run.error
    assert os.getppid() > 0  # still here to say so


@linux
@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess\nsubprocess.run(['ls'])",
        "import os\nos.execv('/bin/ls', ['ls'])",
        "import threading\n[threading.Thread(target=print).start() for _ in range(99)]",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)",
        "import ctypes\nassert ctypes.CDLL(None).fork() >= 0",
        "import resource, os\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))",
    ],
)
def test_no_processes_threads_programs_or_sockets(program):
    """Refused by the kernel at once, not merely slow: the seccomp filter, or where there is none the process
    limit."""
    run = run_program(program, limits=QUICK)
    assert not run.ok and run.error not in ("timeout",)


@linux
def test_files_outside_python_are_neither_read_nor_written(tmp_path):
    if "landlock" not in run_program("").locks:
        pytest.skip("this kernel has no Landlock")
    secret = tmp_path / "secret"
    secret.write_text("hush")
    assert "PermissionError" in run_program(f"open({str(secret)!r}).read()").error
    assert "PermissionError" in run_program(f"open({str(tmp_path / 'new')!r}, 'w')").error
    assert "PermissionError" in run_program(f"import os\nos.unlink({str(secret)!r})").error
    assert secret.read_text() == "hush"


@linux
@pytest.mark.parametrize(
    "change", ["os.chmod({!r}, 0o777)", "os.utime({!r})", "os.truncate({!r}, 0)", "os.setxattr({!r}, 'user.x', b'')"]
)
def test_what_landlock_leaves_open_is_refused_too(tmp_path, change):
    """Modes, times, attributes; truncation on kernels before 6.2."""
    if "seccomp" not in run_program("").locks:
        pytest.skip("this kernel or machine has no seccomp filter")
    kept = tmp_path / "kept"
    kept.write_text("hush")
    before = kept.stat()
    assert "PermissionError" in run_program("import os\n" + change.format(str(kept))).error
    after = kept.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, 4)


@linux
def test_every_lock_this_kernel_has_is_on():
    locks = run_program("").locks
    assert {"rlimit_cpu", "rlimit_as", "rlimit_fsize", "rlimit_nproc", "no_new_privs"} <= set(locks)
    with open("/proc/self/status") as status:
        if any(line.startswith("Seccomp:") for line in status) and os.uname().machine in (
            "x86_64",
            "aarch64",
        ):
            assert "seccomp" in locks


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_program("while True: pass", limits=Limits(wall_s=0.5))
    run_program("x = 1")
    assert list(Path(tmp_path).iterdir()) == []
