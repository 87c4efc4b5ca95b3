"""What the wheel is built with, and that a wheel built otherwise is not taken for it."""

import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "requirements" / "native.py"
spec = importlib.util.spec_from_file_location("native", PATH)
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)

on_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not shutil.which("cc"), reason="needs a C compiler on x86-64"
)


def macros(*flags: str) -> str:
    command = ["cc", *flags, "-dM", "-E", "-x", "c", "/dev/null"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@on_x86
def test_the_flags_keep_amx_out_for_a_cpu_that_has_it():
    assert "__AMX_TILE__" in macros("-march=sapphirerapids")
    without = macros(*native.NO_AMX, "-march=sapphirerapids")
    assert "__AMX_" not in without
    assert "__AVX512VNNI__" in without  # and nothing else


@on_x86
def test_a_flag_given_before_march_native_wins_as_cmake_orders_them():
    """The flags stand before ggml's own -march=native on the command line; the reverse would undo them."""
    if "__AVX2__" not in macros("-march=native"):
        pytest.skip("no instruction set here to switch off")
    assert "__AVX2__" not in macros("-mno-avx2", "-march=native")


@on_x86
def test_this_compiler_gets_the_flags():
    assert native.amx_flags(["cc"]) == native.NO_AMX


def test_other_processors_get_no_flags(monkeypatch):
    monkeypatch.setattr(native.platform, "machine", lambda: "arm64")
    assert native.amx_flags(["cc"]) == ()


@on_x86
def test_a_compiler_that_refuses_the_flags_gets_none(tmp_path):
    picky = tmp_path / "cc"
    picky.write_text("#!/bin/sh\nexit 1\n")
    picky.chmod(0o755)
    assert native.amx_flags([str(picky)]) == ()


def key(monkeypatch: pytest.MonkeyPatch, **environ: str) -> str:
    with monkeypatch.context() as patch:
        for name in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS"):
            patch.delenv(name, raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        return native.wheel_key("1.0", native.build_environment())


def test_a_wheel_built_with_other_flags_is_another_wheel(monkeypatch):
    plain = key(monkeypatch)
    assert key(monkeypatch) == plain
    assert key(monkeypatch, CMAKE_ARGS="-DGGML_CUDA=on") != plain
    assert key(monkeypatch, CXXFLAGS="-O1") != plain


def test_the_users_flags_are_kept_behind_ours(monkeypatch):
    monkeypatch.setenv("CXXFLAGS", "-O1")
    flags = native.build_environment()["CXXFLAGS"].split()
    assert flags[-1] == "-O1"
    assert tuple(flags[:-1]) == native.amx_flags(native.c_compiler(native.os.environ))


def test_the_pinned_version_is_an_exact_one():
    assert native.pinned_version()[0].isdigit()
