"""What can go wrong with an adapter, in terms a caller can act on. Status codes live in proxy/errors.py."""

from pathlib import Path


class AdapterError(Exception):
    """Base of this package's errors."""


class AdapterNotFound(AdapterError):
    """No adapter of that digest is stored."""


class AdapterCorrupt(AdapterError):
    """A stored or given adapter cannot be read; the message names the file and what is wrong with it."""


class AdapterMismatch(AdapterError):
    """An adapter does not fit the base model: other digest, architecture, tensor name or shape."""


class AdapterUnsupported(AdapterError):
    """An adapter file asks for something a plain LoRA cannot do (DoRA, trained biases, ...), by name."""


class BaseModelCorrupt(AdapterError):
    """The base model's GGUF file is missing, not GGUF, truncated, or of an architecture we do not know."""


class CacheUnavailable(AdapterError):
    """The cache database cannot be used now: locked for too long, disk full, no right to write."""


class CacheCorrupt(AdapterError):
    """The cache database cannot be read; the message says how to rebuild it."""


class GgmlUnavailable(AdapterError):
    """llama-cpp-python's ggml library cannot be loaded, or lacks a tensor type; the message says which."""


class BuildRefused(AdapterError):
    """A merged build does not hold what the adapter says (gain, or answers that differ); it was deleted.

    details: the table of tensors, where the merge came that far.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class BuildBusy(AdapterError):
    """Another process is writing the same build."""


class BuildNotFound(AdapterError):
    """No build of that adapter is there."""


class DiskFull(AdapterError):
    """The disk has no room for a build. Nothing was changed; the half-written file is gone."""

    def __init__(self, path: Path, needed_bytes: int, free_bytes: int, *, what: str = "the disk") -> None:
        super().__init__(f"{path} needs {needed_bytes} bytes and {what} has {free_bytes} free")
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
