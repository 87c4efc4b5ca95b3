from proxy.engine.api import Chunk, Stream, TokenLogprob, TopToken, Usage
from proxy.replies import CompletionReply, Prompt, ReplyHead, token_text

HEAD = ReplyHead("cmpl-1", "m", "fp", include_usage=False, created=1)


def test_part_of_a_character_is_spelled_in_bytes_as_openai_does():
    assert token_text(TokenLogprob(1, b"\xe4\xbd", -1.0)) == "bytes:\\xe4\\xbd"
    assert token_text(TokenLogprob(1, "é".encode(), -1.0)) == "é"


def test_the_likelier_of_two_tokens_with_the_same_text_is_kept():
    stream = Stream()
    reply = CompletionReply(HEAD, (stream,), {}, prompts=(Prompt("", ""),), n=1, echo=False, logprobs=True)
    top = (TopToken(1, b"a", -0.5), TopToken(2, b"a", -2.0))
    reply.feed(0, Chunk(0, "a", logprobs=(TokenLogprob(1, b"a", -0.5, top),), finish_reason="stop"))
    assert reply.body()["choices"][0]["logprobs"]["top_logprobs"] == [{"a": -0.5}]


def test_usage_adds_up_over_all_prompts():
    streams = (Stream(), Stream())
    streams[0].usage, streams[1].usage = Usage(3, 1, 4), Usage(5, 2, 6)
    reply = CompletionReply(HEAD, streams, {}, prompts=(Prompt("", ""),) * 2, n=1, echo=False, logprobs=False)
    assert reply.body()["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 10,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
