"""The only door to llama_cpp: models, contexts, adapters and samplers as Python objects over its C functions.

Nothing here decides anything. A `Model` may be read from any thread (tokenising is thread-safe in llama.cpp);
loading adapters, a `Context` and a `Sampler` in use belong to the engine's thread. llama.cpp's own log goes
to Python's logging, under "llama.cpp".
"""

from __future__ import annotations

import ctypes
import json
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp as lib
import numpy as np
from llama_cpp._ggml import libggml

from proxy.engine.gbnf import check_gbnf
from proxy.engine.json_schema import bounded
from proxy.engine.mixer import Mixer

log = logging.getLogger("llama.cpp")

MAX_SEQUENCES = 256
"""LLAMA_MAX_SEQ: ids of sequences are below it."""


class LlamaError(Exception):
    """llama.cpp refused or failed; the message holds what it logged."""


class NoRoom(LlamaError):
    """llama_decode found no free KV cells for the batch; nothing was changed."""


# --- logging ------------------------------------------------------------------------------------------------

# ggml_log_level -> logging level. llama.cpp's "info" is a page per model load: debug for us.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, 4: logging.ERROR}
_CONTINUED = 5
_faults = threading.local()
"""`.lines`: error lines of this thread since the last call of `_forget_faults`, for exception messages."""
_started = threading.Lock()
_is_started = False


@lib.llama_log_callback
def _on_log(level: int, text: bytes, _user_data: object) -> None:
    level = _LEVELS.get(level, logging.DEBUG)
    if level >= logging.ERROR and (line := text.decode("utf-8", "replace").strip()):
        lines = getattr(_faults, "lines", None)
        if lines is not None and len(lines) < 8:
            lines.append(line)
            log.debug("%s", line)  # the exception will carry it
        else:
            log.error("%s", line)
    elif log.isEnabledFor(level) and (line := text.decode("utf-8", "replace").strip()):
        log.log(level, "%s", line)


class _Faults:
    """Collects what llama.cpp logs as errors while a call runs, so that the exception can say why."""

    def __enter__(self) -> _Faults:
        _faults.lines = self._lines = []
        return self

    def __exit__(self, *exc_info: object) -> None:
        _faults.lines = None

    def __str__(self) -> str:
        return "; ".join(self._lines) or "llama.cpp gave no reason"


def start() -> None:
    """Initialises the library once per process and sends its log to Python's."""
    global _is_started
    with _started:
        if not _is_started:
            lib.llama_log_set(_on_log, None)
            lib.llama_backend_init()
            _is_started = True


# --- models -------------------------------------------------------------------------------------------------


class Adapter:
    """A loaded LoRA adapter. Free it only when no context has it attached."""

    def __init__(self, model: Model, path: Path) -> None:
        with _Faults() as faults:
            handle = lib.llama_adapter_lora_init(model.handle, str(path).encode())
        if not handle:
            raise LlamaError(str(faults))
        self.handle = handle
        self.size_bytes = path.stat().st_size
        self.tensors: np.ndarray | None = None
        """Where its tensors lie in memory (see mixer.py); None until it has been computed with once."""

    def free(self) -> None:
        if self.handle:
            lib.llama_adapter_lora_free(self.handle)
            self.handle = None


class Model:
    """A GGUF model: its weights and its vocabulary.

    The memory is freed with the object, and not before: any thread may still be tokenising with it.
    """

    def __init__(self, path: Path, *, gpu_layers: int = 0) -> None:
        """Maps the file into memory. gpu_layers: -1 = all. Raises LlamaError."""
        start()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        # Weights repacked for the CPU's kernels are faster, but with AMX a build by GCC 12 crashes in them.
        params.use_extra_bufts = b"AMX_INT8 = 1" not in lib.llama_print_system_info()
        with _Faults() as faults:
            self.handle = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self.handle:
            raise LlamaError(f"{path}: {faults}")
        weakref.finalize(self, lib.llama_model_free, self.handle)
        self.path = path
        self.vocab = lib.llama_model_get_vocab(self.handle)
        self.n_vocab: int = lib.llama_vocab_n_tokens(self.vocab)
        self.train_context: int = lib.llama_model_n_ctx_train(self.handle)
        self.splits_sequences = not (
            lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle)
        )
        """Whether a sequence's memory can be cut and shared at any token; recurrent state cannot."""
        self.end_tokens = frozenset(token for token in range(self.n_vocab) if lib.llama_vocab_is_eog(self.vocab, token))
        self._pieces: list[bytes | None] = [None] * self.n_vocab

    def tokenize(self, text: str, *, special: bool, add_bos: bool) -> tuple[int, ...]:
        raw = text.encode("utf-8", "surrogatepass")
        room = len(raw) + 8
        while True:
            tokens = (ctypes.c_int32 * room)()
            count = lib.llama_tokenize(self.vocab, raw, len(raw), tokens, room, add_bos, special)
            if count >= 0:
                return tuple(tokens[:count])
            if count == -(2**31):
                raise LlamaError(f"a text of {len(raw)} bytes is too long to tokenise")
            room = -count

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for in an answer; b"" for control tokens."""
        piece = self._pieces[token]
        if piece is None:
            piece = self._pieces[token] = self.spell(token, special=False)
        return piece

    def spell(self, token: int, *, special: bool) -> bytes:
        """The bytes of one token; control tokens by their name if `special`."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = lib.llama_token_to_piece(self.vocab, token, buffer, room, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    @property
    def chat_template(self) -> str | None:
        """The Jinja text in the file, or None."""
        template = lib.llama_model_chat_template(self.handle, None)
        return template.decode("utf-8", "replace") if template else None

    def special_text(self, which: str) -> str:
        """Spelling of the bos, eos, ... token; "" where the model has none."""
        token = getattr(lib, f"llama_vocab_{which}")(self.vocab)
        return self.spell(token, special=True).decode("utf-8", "replace") if token >= 0 else ""


# --- contexts -----------------------------------------------------------------------------------------------


class Context:
    """KV cells for many sequences over one model, one batch to fill, and the logits of the last decode.

    Fill `tokens`, `positions`, `sequences` and `wanted` (numpy views, batch_tokens long) and call
    `decode(count)`.
    """

    def __init__(
        self,
        model: Model,
        *,
        context_tokens: int,
        batch_tokens: int,
        max_sequences: int,
        max_outputs: int,
        threads: int,
        mixer: Mixer | None = None,
    ) -> None:
        """max_outputs: most tokens of one batch whose logits are wanted. Raises LlamaError."""
        params = lib.llama_context_default_params()
        params.n_ctx = context_tokens
        params.n_batch = params.n_ubatch = batch_tokens
        params.n_seq_max = max_sequences
        # The default reserves logits for every token of a batch: 300 MB with this vocabulary, never used.
        params.n_outputs_max = max_outputs
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.kv_unified = True  # one pool of cells: sequences of any length, prefixes shared without a copy
        params.swa_full = True  # keep the cells outside a sliding window, or no prefix could be reused
        params.no_perf = True
        if mixer is not None:
            params.cb_eval = ctypes.cast(mixer.callback, lib.ggml_backend_sched_eval_callback)
            params.cb_eval_user_data = mixer.user_data
        self.mixer = mixer
        with _Faults() as faults:
            self.handle = lib.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise LlamaError(f"no context of {context_tokens} tokens: {faults}")
        self.model = model
        self.context_tokens: int = lib.llama_n_ctx(self.handle)
        self.max_outputs = max_outputs
        self._memory = lib.llama_get_memory(self.handle)
        self._attached: tuple[Adapter, ...] = ()
        self._outputs = 0

        # The batch's arrays live here for as long as the context; llama_decode reads them in place.
        self.tokens = np.zeros(batch_tokens, np.int32)
        self.positions = np.zeros(batch_tokens, np.int32)
        self.sequences = np.zeros(batch_tokens, np.int32)
        self.wanted = np.zeros(batch_tokens, np.int8)
        self._one_sequence_each = np.ones(batch_tokens, np.int32)
        base = self.sequences.ctypes.data
        self._sequence_pointers = base + 4 * np.arange(batch_tokens, dtype=np.uintp)
        self._batch = lib.llama_batch(
            n_tokens=0,
            token=_pointer(self.tokens, ctypes.c_int32),
            pos=_pointer(self.positions, ctypes.c_int32),
            n_seq_id=_pointer(self._one_sequence_each, ctypes.c_int32),
            seq_id=ctypes.cast(self._sequence_pointers.ctypes.data, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=_pointer(self.wanted, ctypes.c_int8),
        )

    def close(self) -> None:
        if self.handle:
            lib.llama_free(self.handle)
            self.handle = None

    def attach(self, adapters: tuple[Adapter, ...]) -> None:
        """Makes exactly these adapters count, at scale 1, from the next decode on."""
        if adapters == self._attached:
            return
        count = len(adapters)
        handles = (lib.llama_adapter_lora_p_ctypes * max(count, 1))(*[adapter.handle for adapter in adapters])
        scales = (ctypes.c_float * max(count, 1))(*[1.0] * count)
        if lib.llama_set_adapters_lora(self.handle, handles, count, scales) != 0:
            raise LlamaError(f"{count} adapters could not be attached")
        self._attached = adapters

    def detach(self, adapter: Adapter) -> None:
        """Call before freeing an adapter: the context must not hold it."""
        if adapter in self._attached:
            self.attach(())

    def decode(self, count: int) -> None:
        """Computes the first `count` tokens of the batch.

        Raises NoRoom (nothing changed) or LlamaError (the sequences of the batch may hold part of it).
        """
        self._batch.n_tokens = count
        self._outputs = int(np.count_nonzero(self.wanted[:count]))
        with _Faults() as faults:
            code = lib.llama_decode(self.handle, self._batch)
        if code == 1:
            raise NoRoom(f"no KV cells for a batch of {count} tokens")
        if code != 0:
            raise LlamaError(f"llama_decode returned {code}: {faults}")

    def logits(self) -> np.ndarray:
        """(wanted tokens, n_vocab) float32 of the last decode, in batch order; valid until the next."""
        shape = (self._outputs, self.model.n_vocab)
        pointer = lib.llama_get_logits(self.handle)
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        buffer = (ctypes.c_float * (shape[0] * shape[1])).from_address(address)
        return np.frombuffer(buffer, np.float32).reshape(shape)

    def remove(self, sequence: int, start: int = 0, end: int = -1) -> bool:
        """Forgets a sequence's cells at positions [start, end), -1 = to its end. False: it cannot be cut there."""
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start if start else -1, end))

    def share(self, source: int, target: int, end: int) -> None:
        """Lets `target` own the cells of `source` at positions [0, end) too; nothing is copied."""
        lib.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def save(self, sequence: int) -> np.ndarray | None:
        """A copy of a sequence's cells, (bytes,) uint8, for `load`; None where there is no memory for it."""
        try:
            state = np.empty(lib.llama_state_seq_get_size(self.handle, sequence), np.uint8)
        except MemoryError:
            return None
        with _Faults():
            written = lib.llama_state_seq_get_data(self.handle, _pointer(state, ctypes.c_uint8), len(state), sequence)
        return state if written == len(state) else None

    def load(self, sequence: int, state: np.ndarray) -> bool:
        """Puts saved cells into an empty sequence. False: there are not enough free ones."""
        with _Faults():
            read = lib.llama_state_seq_set_data(self.handle, _pointer(state, ctypes.c_uint8), len(state), sequence)
        return read == len(state)

    def clear(self) -> None:
        """Forgets all cells."""
        lib.llama_memory_clear(self._memory, False)


def _pointer(array: np.ndarray, kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


# --- samplers -----------------------------------------------------------------------------------------------

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data."""


class Candidates:
    """Tokens with logits, in the form samplers work on. One buffer per model, used again and again."""

    def __init__(self, n_vocab: int) -> None:
        self._data = np.zeros(n_vocab, _CANDIDATE)
        self._all_ids = np.arange(n_vocab, dtype=np.int32)
        self._array = lib.llama_token_data_array()
        self._pointer = ctypes.byref(self._array)

    def load(self, logits: np.ndarray, ids: np.ndarray | None = None) -> None:
        """logits: (n,) float32; ids: (n,) their tokens in rising order, None = all of the vocabulary."""
        count = len(logits)
        self._data["id"][:count] = self._all_ids if ids is None else ids
        self._data["logit"][:count] = logits
        self._array.data = ctypes.cast(self._data.ctypes.data, lib.llama_token_data_p)
        self._array.size = count
        self._array.selected = -1
        self._array.sorted = False

    def apply(self, sampler: Sampler) -> None:
        lib.llama_sampler_apply(sampler.handle, self._pointer)

    @property
    def selected(self) -> int:
        """The token the last sampler of a chain chose."""
        return int(self._array.data[self._array.selected].id)

    @property
    def first_logit(self) -> float:
        return float(self._array.data[0].logit)

    def logits(self, count: int) -> np.ndarray:
        """(count,) float32, in the order loaded, after a sampler that does not reorder (a grammar)."""
        return self._data["logit"][:count]


class Sampler:
    """A chain of llama.cpp's samplers, with its own random numbers and its own memory of tokens."""

    def __init__(self) -> None:
        self.handle = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())

    def add(self, name: str, *arguments: Any) -> Sampler:
        """Appends llama_sampler_init_<name>(*arguments)."""
        part = getattr(lib, f"llama_sampler_init_{name}")(*arguments)
        lib.llama_sampler_chain_add(self.handle, part)
        return self

    def add_grammar(self, model: Model, gbnf: str) -> Sampler:
        """Raises LlamaError where the text is not a grammar with a `root`, or beyond `check_gbnf`."""
        try:
            check_gbnf(gbnf)
            text = gbnf.encode()
        except ValueError as exc:
            raise LlamaError(str(exc)) from exc
        with _Faults() as faults:
            part = lib.llama_sampler_init_grammar(model.vocab, text, b"root")
        if not part:
            raise LlamaError(str(faults))
        lib.llama_sampler_chain_add(self.handle, part)
        return self

    def add_logit_bias(self, n_vocab: int, biases: Sequence[tuple[int, float]]) -> Sampler:
        array = (lib.llama_logit_bias * len(biases))(*[lib.llama_logit_bias(*pair) for pair in biases])
        return self.add("logit_bias", n_vocab, len(biases), array)

    def accept(self, token: int) -> None:
        lib.llama_sampler_accept(self.handle, token)

    def close(self) -> None:
        if self.handle:
            lib.llama_sampler_free(self.handle)
            self.handle = None


def new_mixer() -> Mixer:
    """Raises MixerUnavailable."""
    return Mixer(libggml)


def json_schema_to_gbnf(schema: Any) -> str:
    """GBNF text of a JSON schema by llama-cpp-python's converter, `bounded`. Raises LlamaError for what it cannot
    express.
    """
    try:
        return _schema_converter()(json.dumps(schema))
    except Exception as exc:  # the converter raises whatever its recursion meets
        raise LlamaError(f"{type(exc).__name__}: {exc}") from exc


@cache
def _schema_converter() -> Callable[[str], str]:
    from llama_cpp import llama_grammar

    llama_grammar._build_repetition = bounded(llama_grammar._build_repetition)
    return llama_grammar.json_schema_to_gbnf
