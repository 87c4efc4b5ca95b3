"""Decodes a few tokens and says how that went: `python -m proxy.decode_probe MODEL GPU_LAYERS`.

A process of its own because what it looks for ends the process: a llama.cpp library built for another CPU, or
by a compiler that breaks its AMX kernels, dies of a signal. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from proxy.engine import llama

PROMPT_TOKENS = 32
ANSWER_TOKENS = 8


def main() -> None:
    llama.start()
    system = llama.lib.llama_print_system_info().decode()
    gpu = bool(llama.lib.llama_supports_gpu_offload())
    # Said first: if decoding ends the process, the reader still learns what the library was built with.
    print(json.dumps({"system": system, "gpu": gpu}), flush=True)
    print(json.dumps(decode(Path(sys.argv[1]), int(sys.argv[2]))))


def decode(path: Path, gpu_layers: int) -> dict[str, float | bool]:
    """Read a prompt, answer greedily. finite: no logit was NaN or infinite."""
    model = llama.Model(path, gpu_layers=gpu_layers)
    sizes = {"context_tokens": 256, "batch_tokens": PROMPT_TOKENS, "max_sequences": 1, "max_outputs": 1}
    context = llama.Context(model, **sizes, threads=1)
    prompt = model.tokenize("one two three four " * PROMPT_TOKENS, special=False, add_bos=True)[
        :PROMPT_TOKENS
    ]
    feed(context, prompt, 0)
    finite = bool(np.isfinite(context.logits()).all())
    started = time.perf_counter()
    for position in range(len(prompt), len(prompt) + ANSWER_TOKENS):
        feed(context, [int(context.logits()[0].argmax())], position)
        finite = finite and bool(np.isfinite(context.logits()).all())
    speed = ANSWER_TOKENS / (time.perf_counter() - started)
    return {"finite": finite, "tokens_per_s": speed}


def feed(context: llama.Context, tokens: list[int] | tuple[int, ...], position: int) -> None:
    count = len(tokens)
    context.tokens[:count] = tokens
    context.positions[:count] = range(position, position + count)
    context.sequences[:count] = 0
    context.wanted[:count] = 0
    context.wanted[count - 1] = 1
    context.decode(count)


if __name__ == "__main__":
    main()
