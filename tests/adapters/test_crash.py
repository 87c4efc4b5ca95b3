"""Killed at any moment of storing or removing, the cache has no row that points at nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def kills(mode: str, folder: Path, count: int) -> list[dict]:
    command = [sys.executable, "-m", "tests.adapters.crash_child", mode, str(folder), str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("mode", "count"), [("lines", 60), ("times", 15)])
def test_a_kill_leaves_no_row_without_its_files_and_a_cache_that_can_be_rebuilt(
    mode: str, count: int, tmp_path: Path
):
    reports = kills(mode, tmp_path, count)
    assert len(reports) == count
    for report in reports:
        assert report["killed"], report
        assert report["damaged"] == report["unreadable"] == [], report
        assert report["repaired"], report
        assert report["usable"], report
    assert any(report["inconsistent"] for report in reports), "no kill came at a moment that matters"
