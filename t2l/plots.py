"""The door to matplotlib, which `make dev` brings: what a command measures is told without it, too."""

from __future__ import annotations

import sys
from types import ModuleType


def open_pyplot() -> ModuleType | None:
    """pyplot, drawing into files; None, and said on stderr, where matplotlib is not there."""
    try:
        import matplotlib  # takes a second

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as exc:
        print(f"no plot is drawn: {exc} (`make dev` installs matplotlib)", file=sys.stderr)
        return None
    return pyplot
