"""Streams are keyed by name and can be read from anywhere."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.chance import WordStream

WHOLE = WordStream(1, "symbol", "BTC/USD", "price").words(0, 200)
RECORDED = ["0xe2383ad167ec9f12", "0x766488e6a7b77273", "0x64fc7dc0ac1b144d"]


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 50)), max_size=6))
def test_words_are_the_same_wherever_reading_begins(reads: list[tuple[int, int]]) -> None:
    stream = WordStream(1, "symbol", "BTC/USD", "price")

    for first, count in reads:
        assert stream.words(first, count).tolist() == WHOLE[first : first + count].tolist()


def test_words_do_not_change_between_releases() -> None:
    # Recorded journals and replays rest on these words: a change here breaks every one of them.
    assert [hex(word) for word in WHOLE[:3].tolist()] == RECORDED


def test_seed_and_every_name_make_another_stream() -> None:
    streams = [
        WordStream(1, "symbol", "BTC/USD", "price"),
        WordStream(2, "symbol", "BTC/USD", "price"),
        WordStream(1, "symbol", "ETH/USD", "price"),
        WordStream(1, "symbol", "BTC/USD", "jumps"),
        WordStream(1, "symbol", "BTC", "/USD", "price"),
    ]

    firsts = [stream.words(0, 1).tolist()[0] for stream in streams]

    assert len(set(firsts)) == len(streams)


def test_words_are_raw_64_bit_integers() -> None:
    assert WHOLE.dtype == np.uint64
    assert WHOLE.max() > 2**63
