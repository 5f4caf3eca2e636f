import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.store.packing import pack, unpack


@given(st.lists(st.integers(0, 300_000)))
def test_ids_come_back(ids: list[int]) -> None:
    assert unpack("i", pack("i", ids)) == ids


@given(st.lists(st.floats(-100, 0)))
def test_log_probabilities_come_back_with_three_digits(numbers: list[float]) -> None:
    assert unpack("f", pack("f", numbers)) == pytest.approx(numbers, rel=5e-4, abs=1e-6)


def test_what_is_no_probability_comes_back(numbers: tuple[float, ...] = (-math.inf, -1e30, math.nan)) -> None:
    endless, huge, none = unpack("f", pack("f", numbers))
    assert (endless, huge, math.isnan(none)) == (-math.inf, -65504.0, True)


@given(st.lists(st.integers(0, 2**31 - 1)), st.lists(st.floats(width=32, allow_nan=False)))
def test_plain_numbers_of_the_first_versions_are_read(ids: list[int], numbers: list[float]) -> None:
    assert unpack("i", array("i", ids).tobytes()) == ids
    assert unpack("f", array("f", numbers).tobytes()) == numbers


def test_an_id_that_looks_like_a_stream_is_an_id() -> None:
    assert unpack("i", b"\x01\x78\x9c\x00" * 3) == [0x9C7801] * 3


def test_a_token_takes_three_bytes() -> None:
    ids = [min(int(1000 / (place % 97 + 1)), 49_151) for place in range(1000)]
    logprobs = [-0.37 * (place % 89) / 7 for place in range(1000)]
    assert len(pack("i", ids)) + len(pack("f", logprobs)) < 3_500
