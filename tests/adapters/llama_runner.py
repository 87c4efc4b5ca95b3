"""Next-token logits from llama.cpp, by its low-level API: what a GGUF adapter does, with nothing of ours between."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp
import numpy as np


class LlamaRunner:
    """One model and one context. Keys and values are kept in float32, so that they add no error of their own."""

    def __init__(self, path: Path, threads: int = 1, context: int = 128):
        llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.use_extra_bufts = False  # a wheel built by GCC 12 with AMX crashes in those
        options.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        assert self._model, f"llama.cpp cannot load {path}"
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        assert self._context, f"llama.cpp cannot make a context for {path}"
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._size = llama_cpp.llama_vocab_n_tokens(self._vocab)

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def tokenize(self, text: str) -> list[int]:
        raw = text.encode()
        tokens = (llama_cpp.llama_token * len(raw))()
        count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), tokens, len(raw), False, False)
        assert count > 0, f"llama_tokenize returned {count}"
        return list(tokens[:count])

    def logits(self, tokens: list[int], adapter: Path | None = None) -> np.ndarray:
        """(len(tokens), vocabulary) float32: after each token."""
        with self._attached(adapter):
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
            batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
                batch.seq_id[i][0] = 0
            status = llama_cpp.llama_decode(self._context, batch)
            llama_cpp.llama_batch_free(batch)
            assert status == 0, f"llama_decode returned {status}"
            pointer = llama_cpp.llama_get_logits(self._context)
            return np.ctypeslib.as_array(pointer, shape=(len(tokens), self._size)).copy()

    @contextmanager
    def _attached(self, path: Path | None) -> Iterator[None]:
        if path is None:
            yield
            return
        adapter = llama_cpp.llama_adapter_lora_init(self._model, str(path).encode())
        assert adapter, f"llama.cpp cannot load the adapter {path}"
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapter)
        llama_cpp.llama_set_adapters_lora(self._context, adapters, 1, (ctypes.c_float * 1)(1.0))
        try:
            yield
        finally:
            llama_cpp.llama_set_adapters_lora(self._context, None, 0, None)
            llama_cpp.llama_adapter_lora_free(adapter)


@llama_cpp.llama_log_callback
def _SILENT(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    pass
