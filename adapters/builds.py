"""The folder of merged builds: `<adapter digest>-<store>.gguf`, its record (.json) and its plot (.svg).

An adapter's digest holds its base model's, so the name is the whole key. A build counts from the moment its
record is there: the record is written last and removed first. What the folder holds beyond its budget is
removed, the least recently used first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.build_plot import plot
from adapters.build_report import MergeReport
from adapters.errors import BuildBusy, BuildNotFound, DiskFull
from adapters.gguf_rewrite import PartialFile
from adapters.lora import DIGEST_HEX

_NAME = re.compile(rf"([0-9a-f]{{{DIGEST_HEX}}})-([a-z0-9_]+)")


@dataclass(frozen=True, slots=True)
class Build:
    """One build on disk. record: what `MergeReport.to_json` gave. used: when it was last used, seconds since 1970."""

    name: str
    digest: str
    store: str
    path: Path
    size_bytes: int
    used: float
    record: dict[str, Any]


class Builds:
    """Builds under one folder. Safe for several processes: files appear and go by rename and unlink alone."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str, store: str) -> Path:
        """Where that build's file belongs."""
        return self.folder / f"{digest}-{store}.gguf"

    def get(self, digest: str, store: str) -> Build:
        """Raises BuildNotFound, also for one whose file is missing or not of the size its record says."""
        path = self.path(digest, store)
        try:
            record = json.loads(record_path(path).read_text())
            stat = path.stat()
            used = record_path(path).stat().st_mtime
        except (OSError, ValueError) as exc:
            raise BuildNotFound(f"no {store} build of adapter {digest}") from exc
        if stat.st_size != record.get("bytes"):
            raise BuildNotFound(f"{path} has {stat.st_size} bytes, {record.get('bytes')} were written")
        return Build(path.stem, digest, store, path, stat.st_size, used, record)

    def use(self, digest: str, store: str) -> Build:
        """`get`, and count it as used now."""
        build = self.get(digest, store)
        os.utime(record_path(build.path))
        return build

    def list(self) -> list[Build]:
        """All whole builds, the most recently used first."""
        found = []
        for record in self.folder.glob("*.json"):
            match = _NAME.fullmatch(record.stem)
            if match:
                try:
                    found.append(self.get(match[1], match[2]))
                except BuildNotFound:
                    continue
        return sorted(found, key=lambda build: build.used, reverse=True)

    def make_room(self, size_bytes: int, keep: Container[str] = ()) -> list[Build]:
        """Remove what killed merges left, and builds until one of that size fits the budget; returns the builds.

        keep: names of builds that must stay (the engine serves them). Raises DiskFull, having removed none,
        where that cannot be enough.
        """
        self._clean()
        builds = self.list()
        free = self.max_bytes - sum(build.size_bytes for build in builds)
        removed = []
        for build in reversed(builds):
            if free >= size_bytes:
                break
            if build.name not in keep:
                free += build.size_bytes
                removed.append(build)
        if free < size_bytes:
            raise DiskFull(self.folder, size_bytes, max(free, 0), what="the builds' budget (builds.max_bytes)")
        for build in removed:
            self.delete(build)
        return removed

    def _clean(self) -> None:
        for partial in self.folder.glob("*.gguf.partial"):
            with suppress(BuildBusy), PartialFile(partial.with_suffix("")):
                pass  # nobody is writing it: it is ours, and goes unpublished

    def delete(self, build: Build) -> None:
        """Record first: from then on the build is not there. A process that has the file mapped keeps it."""
        for path in (record_path(build.path), build.path, plot_path(build.path)):
            path.unlink(missing_ok=True)


def write_record(report: MergeReport) -> Path:
    """Write a finished build's record and plot beside it, the record last; returns the record's path.

    A failure takes the build with it: without its record nobody would count it, nor remove it.
    """
    record, drawn = record_path(report.path), plot_path(report.path)
    partial = record.with_name(record.name + ".partial")
    told = {**report.to_json(), "path": report.path.name}  # the folder may be moved as a whole
    try:
        drawn.write_text(plot(report.tensors), encoding="utf-8")
        partial.write_text(json.dumps(told, indent=1), encoding="utf-8")
        partial.replace(record)
    except BaseException:
        for path in (record, partial, drawn, report.path):
            path.unlink(missing_ok=True)
        raise
    return record


def record_path(build: Path) -> Path:
    return build.with_suffix(".json")


def plot_path(build: Path) -> Path:
    return build.with_suffix(".svg")
