"""proxy/engine/text.py: whole characters, and no part of a stop string."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from proxy.engine.text import TextAssembler


def run(pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[list[str], list[int], str | None]:
    """Texts released after each piece and at the end, the tokens' numbers, and the stop met."""
    assembler: TextAssembler[int] = TextAssembler(stop)
    texts, tokens = [], []
    for number, piece in enumerate(pieces):
        released = assembler.push(piece, number)
        texts.append(released.text)
        tokens.extend(released.tokens)
        if assembler.stopped_by is not None:
            break
    released = assembler.finish()
    return [*texts, released.text], [*tokens, *released.tokens], assembler.stopped_by


def test_an_emoji_split_over_tokens_comes_out_whole():
    emoji = "🌊".encode()
    texts, tokens, _ = run([b"a", emoji[:1], emoji[1:3], emoji[3:], b"b"])
    assert texts == ["a", "", "", "🌊", "b", ""]
    assert tokens == [0, 1, 2, 3, 4]


def test_tokens_of_a_split_character_are_released_with_it():
    assembler: TextAssembler[str] = TextAssembler()
    first, second = "海".encode()[:2], "海".encode()[2:]
    assert assembler.push(first, "first").tokens == ()
    assert assembler.push(second, "second").tokens == ("first", "second")


def test_a_character_that_is_never_completed_is_replaced():
    texts, _, _ = run([b"a", "海".encode()[:2]])
    assert "".join(texts) == "a\ufffd"


def test_a_stop_string_across_tokens_is_cut_off_with_what_follows():
    texts, tokens, stop = run([b"one ", b"ST", b"O", b"Px", b"never"], stop=("STOP",))
    assert "".join(texts) == "one "
    assert tokens == [0]
    assert stop == "STOP"


def test_the_beginning_of_a_stop_string_is_held_back_only_while_it_may_be_one():
    texts, _, stop = run([b"a S", b"T", b"EP"], stop=("STOP",))
    assert texts == ["a ", "", "STEP", ""]
    assert stop is None


def test_the_stop_string_that_begins_first_wins_and_of_those_the_longest():
    assert run([b"xaab"], stop=("b", "aa", "aab"))[2] == "aab"


def test_what_was_held_back_comes_out_at_the_end():
    texts, tokens, stop = run([b"a", b"ST"], stop=("STOP",))
    assert "".join(texts) == "aST"
    assert tokens == [0, 1]
    assert stop is None


@given(
    text=st.text(alphabet="ab🌊海", max_size=24),
    cuts=st.lists(st.integers(0, 80), max_size=12),
    stop=st.lists(st.text(alphabet="ab🌊", min_size=1, max_size=3), max_size=2),
)
def test_however_the_bytes_are_cut_the_text_ends_where_the_first_stop_string_begins(text, cuts, stop):
    raw = text.encode()
    borders = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    pieces = [raw[a:b] for a, b in itertools.pairwise(borders)]
    texts, _, stopped = run(pieces, tuple(stop))
    # Bytes arrive in order, so the stop string that is complete first decides; among those the earliest
    # start.
    ends = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
    if not ends:
        assert stopped is None
        assert "".join(texts) == text
    else:
        assert stopped in stop
        joined = "".join(texts)
        assert text.startswith(joined + stopped)
        assert all(s not in joined for s in stop)
