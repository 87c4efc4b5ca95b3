"""Builds made for the running server: `et2l merge` in a child process, at a low priority.

A child, because a merge and its probe are seconds of work for every core, want memory of their own, and must not
take the server with them. One at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adapters.errors
from adapters.errors import AdapterError, BuildNotFound
from proxy.config import ENV_FILE, BuildsConfig

if TYPE_CHECKING:  # imports torch, which is loaded while the model is
    from adapters.builds import Build

FAILED = "the merge did not come to an end"


class BuildJobs:
    """Makes and finds builds. Any thread may call; who comes second waits for the first."""

    def __init__(self, config: BuildsConfig, base: Path, niceness: int = 10) -> None:
        """niceness: of the child; answers come first, and the merge still gets on where every core is busy."""
        self.niceness = niceness
        self.config = config
        self.base = base
        self._turn = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._closed = False

    def build(self, digest: str, adapter: Path) -> Build:
        """The build of an adapter in the configured store type, made now if it is not there.

        adapter: its folder in the store. Raises AdapterError: BuildRefused, DiskFull, ...
        """
        from adapters.builds import Builds

        with self._turn:
            builds = Builds(self.config.path, self.config.max_bytes)
            try:
                return builds.use(digest, self.config.store)
            except BuildNotFound:
                self._merge(digest, adapter)
            return builds.use(digest, self.config.store)

    def close(self) -> None:
        """Ends a merge under way, which removes what it wrote."""
        self._closed = True
        child = self._child
        if child is not None:
            child.terminate()

    def _merge(self, digest: str, adapter: Path) -> None:
        command = [sys.executable, "-m", "proxy.cli", "merge", digest, "--base", str(self.base.absolute()), "--json"]
        environment = {
            **os.environ,
            "ET2L__CACHE__STORE_PATH": str(adapter.parent.absolute()),
            "ET2L__BUILDS__PATH": str(self.config.path.absolute()),
            "ET2L__BUILDS__MAX_BYTES": str(self.config.max_bytes),
            "ET2L__BUILDS__STORE": self.config.store,
        }
        if named := os.environ.get(ENV_FILE):
            environment[ENV_FILE] = str(Path(named).absolute())  # the child runs in another folder
        with subprocess.Popen(
            command,
            cwd=Path(__file__).parents[1],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C goes to the server, which ends the child itself
        ) as child:
            os.setpriority(os.PRIO_PROCESS, child.pid, self.niceness)
            self._child = child
            if self._closed:
                child.terminate()
            said, errors = child.communicate()
            self._child = None
        if child.returncode:
            raise error_of(said, errors)


def error_of(said: str, errors: str) -> AdapterError:
    """The exception a failed `et2l merge --json` tells of, as one of ours."""
    try:
        told: dict[str, Any] = json.loads(said)["error"]
        kind, message = getattr(adapters.errors, told["type"]), told["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return AdapterError(f"{FAILED}: {errors.strip()[-500:] or 'it was killed'}")
    error = kind.__new__(kind)  # DiskFull and others are made of more than a message
    Exception.__init__(error, message)
    return error
