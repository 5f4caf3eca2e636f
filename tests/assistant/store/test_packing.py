import math
import struct
import zlib
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.store.packing import pack, unpack


@given(st.lists(st.integers(0, 300_000)))
def test_ids_come_back(ids: list[int]) -> None:
    assert unpack("i", pack("i", ids)) == ids


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_numbers_that_are_no_ids_come_back(numbers: list[int]) -> None:
    assert unpack("i", pack("i", numbers)) == numbers


@given(st.lists(st.floats(-100, 0)))
def test_log_probabilities_come_back_near(numbers: list[float]) -> None:
    found = unpack("f", pack("f", numbers))
    assert found == pytest.approx(numbers, rel=0.032, abs=0.008)
    assert [math.exp(one) for one in found] == pytest.approx([math.exp(one) for one in numbers], abs=0.012)


def test_halves_and_quarters_come_back() -> None:
    numbers = [-0.0, -0.25, -0.5, -0.75, -1.0, -1.5, -2.0, -3.0, -16.0, -60.0]
    assert unpack("f", pack("f", numbers)) == numbers


def test_floats_of_8_bits_are_read() -> None:
    packed = bytes([5, 0, 128, 144, 152, 160, 184, 190, 255])
    assert unpack("f", packed) == [0.0, -0.25, -0.5, -0.75, -1.0, -3.0, -3.75]


def test_their_mean_comes_back_nearer() -> None:
    numbers = [-(((place * 0.618) % 1 * 3) ** 2) for place in range(200)]
    assert sum(unpack("f", pack("f", numbers))) == pytest.approx(sum(numbers), rel=0.002)


def test_what_was_packed_twice_is_the_same() -> None:
    once = unpack("f", pack("f", [-(place**2) / 1000 for place in range(240)]))
    assert unpack("f", pack("f", once)) == once


def test_what_is_no_probability_comes_back(numbers: tuple[float, ...] = (-math.inf, -1e30, 0.5, math.nan)) -> None:
    endless, huge, positive, none = unpack("f", pack("f", numbers))
    assert (endless, huge, positive, math.isnan(none)) == (-math.inf, -65504.0, 0.5, True)


@given(st.lists(st.integers(0, 2**31 - 1)), st.lists(st.floats(width=32, allow_nan=False)))
def test_plain_numbers_of_the_first_versions_are_read(ids: list[int], numbers: list[float]) -> None:
    assert unpack("i", array("i", ids).tobytes()) == ids
    assert unpack("f", array("f", numbers).tobytes()) == numbers


@given(st.lists(st.integers(0, 65_535), min_size=1))
def test_streams_of_zlib_are_read(ids: list[int]) -> None:
    plain = struct.pack(f"<{len(ids)}H", *ids)
    assert unpack("i", b"\x01" + zlib.compress(plain[::2] + plain[1::2])) == ids


def test_an_id_that_looks_like_a_stream_is_an_id() -> None:
    assert unpack("i", b"\x01\x78\x9c\x00" * 3) == [0x9C7801] * 3


def test_a_token_takes_two_and_a_half_bytes() -> None:
    ids = [min(int(1000 / (place % 97 + 1)), 49_151) for place in range(200)]
    logprobs = [-0.37 * (place % 89) / 7 for place in range(200)]
    assert len(pack("i", ids)) + len(pack("f", logprobs)) < 500
