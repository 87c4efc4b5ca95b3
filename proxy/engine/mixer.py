"""Tokens of different adapters in one llama_decode: builds and steers mixer.c, which says how it works.

Where it cannot be built (no C compiler) the engine serves one adapter per step instead: the same answers,
slower.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adapters.native import NativeUnavailable, built

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("mixer.c")
MOST_TENSORS = 65536
"""Adapted tensors of one adapter that can be told apart; large models have a few hundred."""
_OFF, _LEARN, _MASK = 0, 1, 2


class MixerUnavailable(Exception):
    """The native part could not be built or does not fit this llama.cpp; the message says why."""


class _State(ctypes.Structure):
    """struct mixer."""

    _fields_ = [
        ("source_offset", ctypes.c_uint64),
        ("name", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("elements", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("mode", ctypes.c_int32),
        ("capacity", ctypes.c_int32),
        ("n_learned", ctypes.c_int32),
        ("learned", ctypes.c_void_p),
        ("n_known", ctypes.c_int32),
        ("known", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("n_tokens", ctypes.c_int32),
        ("n_outputs", ctypes.c_int32),
        ("token_uses", ctypes.c_void_p),
        ("output_uses", ctypes.c_void_p),
        ("n_masked", ctypes.c_int32),
        ("n_faults", ctypes.c_int32),
    ]


class Mixer:
    """One context's evaluation callback. Owned by the engine's thread; must outlive the context.

    First `learn` each adapter in a step of its own, then `mix` several.
    """

    def __init__(self, ggml: ctypes.CDLL) -> None:
        """ggml: llama.cpp's own tensor library. Raises MixerUnavailable."""
        try:
            library = ctypes.CDLL(str(built(SOURCE)))
        except NativeUnavailable as exc:
            raise MixerUnavailable(str(exc)) from exc
        self.callback = ctypes.cast(library.mixer_callback, ctypes.c_void_p).value
        self._library = library
        self._learned = np.zeros(MOST_TENSORS, np.uint64)
        self._known = self._owner = self._token_uses = self._output_uses = np.zeros(0)
        self._state = _State(
            source_offset=_source_offset(ggml),
            name=_address(ggml, "ggml_get_name"),
            data=_address(ggml, "ggml_get_data"),
            elements=_address(ggml, "ggml_nelements"),
            rows=_address(ggml, "ggml_nrows"),
            capacity=MOST_TENSORS,
            learned=self._learned.ctypes.data,
        )
        self.user_data = ctypes.addressof(self._state)

    def off(self) -> None:
        """The next step has one adapter or none."""
        self._state.mode = _OFF

    def learn(self, wanted: np.ndarray) -> None:
        """In the next step exactly one adapter is attached; `learned` will say what belongs to it.

        wanted: (n_tokens,) whether a token's logits are wanted.
        """
        state = self._state
        state.mode = _LEARN
        state.n_learned = state.n_faults = 0
        state.n_tokens, state.n_outputs = len(wanted), int(np.count_nonzero(wanted))

    def learned(self) -> np.ndarray:
        """Addresses of the adapter's tensors that were applied, uint64; none if they cannot be told by token."""
        tensors = np.unique(self._learned[: self._state.n_learned])
        if self._state.n_faults or len(tensors) < self._state.n_learned:
            return np.zeros(0, np.uint64)
        return tensors

    def mix(self, tensors: Sequence[np.ndarray], users: np.ndarray, wanted: np.ndarray) -> None:
        """Prepares a step over several adapters.

        tensors: per adapter what `learned` said. users: (n_tokens,) index of the adapter each token uses, -1
        = none.
        wanted: (n_tokens,) whether a token's logits are wanted.
        """
        known = np.concatenate(tensors)
        owner = np.repeat(np.arange(len(tensors), dtype=np.int32), [len(part) for part in tensors])
        order = np.argsort(known)
        self._known, self._owner = known[order], owner[order]
        uses = users[None, :] == np.arange(len(tensors))[:, None]  # (adapters, n_tokens)
        self._token_uses = np.ascontiguousarray(uses, np.uint8)
        self._output_uses = np.ascontiguousarray(uses[:, wanted.astype(bool)], np.uint8)
        state = self._state
        state.n_known, state.known, state.owner = len(known), self._known.ctypes.data, self._owner.ctypes.data
        state.n_tokens, state.n_outputs = self._token_uses.shape[1], self._output_uses.shape[1]
        state.token_uses, state.output_uses = self._token_uses.ctypes.data, self._output_uses.ctypes.data
        state.n_masked = state.n_faults = 0
        state.mode = _MASK

    @property
    def kept_apart(self) -> bool:
        """Whether the step after `mix` masked every tensor of every adapter."""
        return self._state.n_faults == 0 and self._state.n_masked == self._state.n_known


def _address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value


class _InitParams(ctypes.Structure):
    """ggml_init_params."""

    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def _source_offset(ggml: ctypes.CDLL) -> int:
    """Where in a ggml_tensor the pointer to its first source lies: looked for in a product of two tensors."""
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    for name, arguments in (
        ("ggml_init", [_InitParams]),
        ("ggml_new_tensor_2d", [pointer, ctypes.c_int, size, size]),
        ("ggml_mul_mat", [pointer, pointer, pointer]),
    ):
        function = getattr(ggml, name)
        function.restype, function.argtypes = pointer, arguments
    ggml.ggml_free.restype, ggml.ggml_free.argtypes = None, [pointer]
    context = ggml.ggml_init(_InitParams(1 << 16, None, True))
    try:
        first, second = (ggml.ggml_new_tensor_2d(context, 0, 2, 2) for _ in range(2))
        product = ggml.ggml_mul_mat(context, first, second)
        words = (ctypes.c_uint64 * 40).from_address(product)
        places = [index for index in range(39) if words[index] == first and words[index + 1] == second]
        if len(places) != 1:
            raise MixerUnavailable("a tensor's sources are not where they are expected")
        return 8 * places[0]
    finally:
        ggml.ggml_free(context)
