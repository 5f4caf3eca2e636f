"""A reply's tokens as one column."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.store.schema.sql_functions import surprise
from assistant.store.schema.token_data import LOWEST, pack, unpack, unpack_logprobs

TEXT = "The lighthouse keeper, 灯塔 of 1883,\n\n  saw it."
PIECES = "The| light|house| keeper|,| |灯|||塔| of| |1|88|3|,|\n\n|  saw| it|.|"
CUT = PIECES.split("|")
LENGTHS = [len(piece) for piece in CUT]
IDS = [500 + CUT.index(piece) if piece else 900 + place for place, piece in enumerate(CUT)]
LOGPROBS = [-0.5] * len(IDS)


@settings(deadline=None)
@given(st.data())
def test_whatever_was_packed_comes_back(data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="ab 1,\n灯塔é_", max_size=60) | st.text(max_size=30))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    lengths = [b - a for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    ids = data.draw(
        st.lists(st.integers(0, 5) | st.integers(0, 2**31 - 1), min_size=len(lengths), max_size=len(lengths))
    )
    assert unpack(text, pack(text, ids, [], lengths)) == (ids, [], lengths)


@given(st.lists(st.integers(-(2**31), 2**31 - 1)), st.lists(st.floats(-100, 0)), st.lists(st.integers(0, 2**20)))
def test_lists_of_different_lengths_come_back(ids: list[int], logprobs: list[float], lengths: list[int]) -> None:
    found = unpack(TEXT, pack(TEXT, ids, logprobs, lengths))
    assert (found[0], len(found[1]), found[2]) == (ids, len(logprobs), lengths)


@given(st.lists(st.floats(-100, 0)))
def test_log_probabilities_come_back_near(numbers: list[float]) -> None:
    found = unpack_logprobs(pack("", [], numbers, []))
    assert found == pytest.approx(numbers, rel=0.032, abs=0.008)
    assert [math.exp(one) for one in found] == pytest.approx([math.exp(one) for one in numbers], abs=0.012)


def test_halves_and_quarters_come_back() -> None:
    numbers = [-0.0, -0.25, -0.5, -0.75, -1.0, -1.5, -2.0, -3.0, -16.0, -60.0]
    assert unpack_logprobs(pack("", [], numbers, [])) == numbers


def test_their_mean_comes_back_nearer() -> None:
    numbers = [-(((place * 0.618) % 1 * 3) ** 2) for place in range(200)]
    assert surprise(pack("", [], numbers, [])) == pytest.approx(-sum(numbers) / 200, rel=0.002)


def test_what_was_packed_twice_is_the_same() -> None:
    once = unpack_logprobs(pack("", [], [-(place**2) / 1000 for place in range(240)], []))
    assert unpack_logprobs(pack("", [], once, [])) == once


def test_what_is_no_log_probability_is_the_nearest() -> None:
    assert unpack_logprobs(pack("", [], [-math.inf, -1e30, 0.5, math.nan], [])) == [LOWEST, LOWEST, 0.0, 0.0]


def test_no_tokens_take_no_bytes() -> None:
    assert pack(TEXT, [], [], []) == b""
    assert unpack(TEXT, b"") == ([], [], [])
    assert surprise(b"") is surprise(None) is None


def test_the_id_of_a_piece_that_comes_again_is_written_once() -> None:
    twice, lengths = TEXT * 2, LENGTHS[:-1] * 2
    again = pack(twice, IDS[:-1] * 2, [], lengths)
    others = pack(twice, [*IDS[:-1], *(one + 1000 for one in IDS[:-1])], [], lengths)
    assert unpack(twice, again)[0] == IDS[:-1] * 2
    assert len(again) < len(others) - 15


def test_another_text_has_no_ids() -> None:
    packed = pack(TEXT, IDS, LOGPROBS, LENGTHS)
    assert unpack(TEXT, packed) == (IDS, LOGPROBS, LENGTHS)
    assert unpack("", packed) == ([], LOGPROBS, LENGTHS)


def test_a_token_takes_three_bytes() -> None:
    text = "".join(f"w{place % 97} " for place in range(200))
    lengths = [len(f"w{place % 97} ") for place in range(200)]
    ids = [min(int(1000 / (place % 97 + 1)), 49_151) for place in range(200)]
    logprobs = [-0.37 * (place % 89) / 7 for place in range(200)]
    assert len(pack(text, ids, logprobs, lengths)) < 600
