"""What an answer at temperature 0 must be, whatever else was computed with it."""

from proxy.engine.api import AdapterFile, Generation, Placement
from proxy.engine.engine import Engine


def assert_most_likely(engine: Engine, prompt: str, adapter: AdapterFile | None, tokens: tuple[int, ...]) -> None:
    """Each token is the most likely one after those before it, as `engine` computes it from nothing.

    A tie is decided by the kernels' rounding (0.02 covers it many times over), and over a long answer of a
    random model there are such ties: texts cannot be compared.
    """
    whole = (*engine.tokenize(prompt), *tokens)
    stream = engine.submit(Generation(whole, Placement(adapter=adapter), 0, prompt_logprobs=True, top_logprobs=4))
    list(stream)
    for score in stream.prompt_logprobs[len(whole) - len(tokens) :]:
        # The answers were made with end tokens forbidden.
        best = max(top.logprob for top in score.top if not top.piece.startswith(b"<|"))
        assert score.logprob > best - 0.02
