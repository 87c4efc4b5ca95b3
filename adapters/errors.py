"""What can go wrong with an adapter, in terms a caller can act on. Status codes live in proxy/errors.py."""


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


class CacheCorrupt(AdapterError):
    """The cache database cannot be read; the message says how to rebuild it."""
