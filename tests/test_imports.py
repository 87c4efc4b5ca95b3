"""Imports point one way, and each foreign library has one door. Read from the import lines of every module."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("proxy", "t2l", "adapters")
"""Each may import itself and what stands after it."""

DOORS = {
    "llama_cpp": {"proxy/engine/llama.py"},  # adapters/ggml.py loads the ggml library beside it, not the package
    "gguf": {"adapters/gguf_io.py"},
    "usearch": {"adapters/index.py"},
    "sqlite3": {"adapters/rows.py"},
    "sqlite_utils": {"adapters/rows.py", "adapters/migrations.py"},
    "sentence_transformers": {"t2l/embedder.py"},
    "litellm": {"proxy/upstream.py"},
    "matplotlib": {"t2l/plots.py"},
}


def modules() -> list[Path]:
    return sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


@cache
def imported(path: Path) -> set[str]:
    """Full names of the modules a file imports, at its top or inside functions; relative imports resolved."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            names.add(".".join((*package, node.module) if node.module else package))
    return names


def test_there_are_modules_to_read():
    assert {path.relative_to(ROOT).parts[0] for path in modules()} == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_no_module_imports_a_layer_above_its_own(layer: str):
    above = set(LAYERS[: LAYERS.index(layer)])
    upward = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules()
        if path.relative_to(ROOT).parts[0] == layer
        for name in imported(path)
        if name.split(".")[0] in above
    }
    assert not upward


def test_no_module_imports_the_tests_or_the_benchmarks():
    assert not {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules()
        for name in imported(path)
        if name.split(".")[0] in ("tests", "bench")
    }


@pytest.mark.parametrize("library", DOORS)
def test_a_foreign_library_comes_in_by_its_door_only(library: str):
    users = {
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if any(name.split(".")[0] == library for name in imported(path))
    }
    assert users <= DOORS[library]
    assert users, f"nothing imports {library}: take its line out of DOORS"


def test_the_reader_sees_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "t2l" / "train" / "x.py"
    path.parent.mkdir(parents=True)
    lines = [
        "import a.b",
        "from c import d",
        "def f():",
        "  from .. import g",
        "  from . import h",
        "  from .i import j",
    ]
    path.write_text("\n".join(lines))
    assert imported(path) == {"a.b", "c", "t2l", "t2l.train", "t2l.train.i"}
