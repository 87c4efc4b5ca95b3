"""Small C sources of ours, compiled on first use for the processor at hand.

Whoever uses one has a slower way to the same result, for machines without a compiler.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

COMPILE_SECONDS = 60

_TUNED = ("-march=native",) if platform.machine().lower() in ("x86_64", "amd64") else ()
"""Elsewhere the vectors are in the baseline, and not every compiler knows the option."""


class NativeUnavailable(Exception):
    """A source could not be compiled; the message says why."""


def built(source: Path) -> Path:
    """The shared library of a C file, made once per version of the file and kind of processor, in the user's cache
    folder. Raises NativeUnavailable.
    """
    compiler = os.environ.get("CC", "cc")
    options = ("-O3", *_TUNED, "-shared", "-fPIC")
    known = hashlib.sha256("\0".join((compiler, *options, _processor())).encode() + source.read_bytes()).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "et2l"
    target = folder / f"{source.stem}-{known[:16]}{sysconfig.get_config_var('SHLIB_SUFFIX')}"
    if target.is_file():
        return target
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            fresh = Path(temporary) / target.name
            command = [compiler, *options, "-o", str(fresh), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
            if done.returncode != 0:
                raise NativeUnavailable(f"{compiler} failed: {done.stderr.strip()[:500]}")
            fresh.replace(target)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NativeUnavailable(f"{source.name} cannot be compiled: {exc}") from exc
    return target


@cache
def _processor() -> str:
    """What -march=native depends on: a home folder may be shared by machines that differ."""
    try:
        found = re.search(r"^(?:flags|Features)\s*:.*", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[0] if found else f"{platform.machine()} {platform.processor()}"
