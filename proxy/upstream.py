"""Other language models, for the enhancer's rewrite: any that litellm knows, or the local base model itself.

The one door to litellm, whose import takes seconds: it is imported when the first rewrite asks for it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from proxy.config import EnhancerConfig
from proxy.engine.api import EngineApi, EngineError, Generation, Sampling
from t2l.enhancer import Complete, RewriteFailed

MAX_REWRITE_TOKENS = 256
REST_S = 30.0
"""For which an LLM that failed is not asked again."""


def open_rewriter(config: EnhancerConfig, engine: Callable[[], EngineApi] | None) -> Complete | None:
    """The enhancer's LLM, as enhancer.llm says. engine: gives the local model, waiting for it where it is
    still loading; None where there is none (the command line without a server), and then "local" means rules
    alone.
    """
    if config.llm == "off" or (config.llm == "local" and engine is None):
        return None
    if config.llm == "local":
        assert engine is not None
        return resting(lambda prompt: complete_locally(engine(), prompt, config.llm_timeout_s))
    return resting(lambda prompt: complete_upstream(config.llm, prompt, config.llm_timeout_s))


def resting(complete: Complete, seconds: float = REST_S) -> Complete:
    """One that after a failure fails at once for so long: nobody else is to wait for what does not answer."""
    until, failure = 0.0, ""

    def asked(prompt: str) -> str:
        nonlocal until, failure
        if time.monotonic() < until:
            raise RewriteFailed(f"not asked, after {failure}")
        try:
            return complete(prompt)
        except RewriteFailed as exc:
            until, failure = time.monotonic() + seconds, str(exc)
            raise

    return asked


def complete_locally(engine: EngineApi, prompt: str, timeout_s: float) -> str:
    """The base model's answer, without an adapter. Raises RewriteFailed."""
    try:
        tokens = engine.chat_tokens([{"role": "user", "content": prompt}])
        stream = engine.submit(
            Generation(tokens, max_tokens=MAX_REWRITE_TOKENS, sampling=Sampling(temperature=0), incremental=False)
        )
        late = threading.Timer(timeout_s, stream.close)
        late.start()
        try:
            text = "".join(chunk.text for chunk in stream)
        finally:
            late.cancel()
    except EngineError as exc:
        raise RewriteFailed(f"the local model: {exc}") from exc
    if stream.closed:
        raise RewriteFailed(f"the local model took more than {timeout_s} s")
    return text


def complete_upstream(model: str, prompt: str, timeout_s: float) -> str:
    """A litellm model's answer; keys come from the environment, as litellm says. Raises RewriteFailed."""
    # Else importing litellm asks GitHub for a price list, and waits for it where there is no network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    try:
        answer = litellm.completion(
            model=model,
            messages=[{"role": "user", "content": prompt}],
            temperature=0,
            max_tokens=MAX_REWRITE_TOKENS,
            timeout=timeout_s,
            num_retries=0,
        )
        text = answer.choices[0].message.content
    except Exception as exc:  # litellm raises whatever its many providers' clients do
        raise RewriteFailed(f"{model}: {exc}") from exc
    if not text:
        raise RewriteFailed(f"{model} answered nothing")
    return text
