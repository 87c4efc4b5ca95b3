"""A base model that may lie in several files (`-00001-of-00002.gguf`): one tensor table over all of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.errors import BaseModelCorrupt
from adapters.file_digest import file_sha256
from adapters.gguf_file import BaseModel
from adapters.gguf_io import read_header

SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")
"""What llama.cpp's gguf-split writes into each part; a file that holds everything has none of them."""

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True, slots=True, eq=False)
class BaseFiles:
    """A base model and the file each of its tensors lies in.

    model: with the tensors of all parts, each `TensorInfo.offset` counted in the tensor's own file, and for a
    model in parts the digest over the parts' digests. model.path: the first part, which holds the metadata.
    """

    model: BaseModel
    file_of: Mapping[str, Path]

    @classmethod
    def read(cls, path: Path) -> BaseFiles:
        """Read a model from its file or, for a model in parts, from any of them. Raises BaseModelCorrupt."""
        parts = _parts(path)
        model = BaseModel.read(parts[0])
        if len(parts) == 1:
            return cls(model, dict.fromkeys(model.tensors, path))
        tensors, file_of = {}, {}
        for part in parts:
            try:
                header = read_header(part)
            except (OSError, ValueError) as exc:
                raise BaseModelCorrupt(f"base model {path}, part {part.name}: {exc}") from exc
            tensors |= header.tensors
            file_of |= dict.fromkeys(header.tensors, part)
        promised = model.header.metadata.get("split.tensors.count", len(tensors))
        if promised != len(tensors):
            raise BaseModelCorrupt(f"base model {path}: its parts hold {len(tensors)} tensors of {promised}")
        digest = hashlib.sha256("".join(file_sha256(part) for part in parts).encode()).hexdigest()
        return cls(replace(model, digest=digest, header=replace(model.header, tensors=tensors)), file_of)


def _parts(path: Path) -> list[Path]:
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match[3])
    return [path.with_name(f"{match[1]}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]
