"""What can go wrong with an adapter, in terms a caller can act on. Status codes live in proxy/errors.py."""


class AdapterError(Exception):
    """Base of this package's errors."""


class AdapterNotFound(AdapterError):
    """No adapter of that digest is stored."""


class AdapterCorrupt(AdapterError):
    """A stored or given adapter cannot be read; the message names the file and what is wrong with it."""


class AdapterMismatch(AdapterError):
    """An adapter does not fit the base model: other digest, architecture, tensor name or shape."""


class CacheCorrupt(AdapterError):
    """The cache database cannot be read; the message says how to rebuild it."""
