import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.safe_text import cell_width, printable, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\x00b\x08c\x7f", "abc"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("evil\u202etxt", "eviltxt"),
        ("half \ud83d", "half "),
        ("你好 👋", "你好 👋"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_printable_moves_the_cursor(text: str) -> None:
    shown = printable(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in shown)
    assert printable(shown) == shown


@given(st.text(), st.integers(2, 40))
def test_shorten_fits(text: str, cells: int) -> None:
    assert cell_width(shorten(text, cells)) <= cells


def test_shorten_keeps_wide_characters_whole() -> None:
    assert shorten("旅行计划", 5) == "旅行…"
    assert shorten("旅行计划", 8) == "旅行计划"
