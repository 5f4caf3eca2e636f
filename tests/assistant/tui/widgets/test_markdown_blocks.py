"""Markdown as lines of text."""

import pytest
from textual.content import Content

from assistant.tui.widgets.markdown_blocks import code_blocks, render
from assistant.tui.widgets.rows import Line, wrap


def lines(source: str, width: int = 40) -> list[Line]:
    return [line for block in render(source) for line in block.lines(width)]


def shown(source: str, width: int = 40) -> list[str]:
    return [line.content.plain for line in lines(source, width)]


def styles(source: str) -> dict[str, str]:
    content = lines(source)[0].content
    return {content.plain[span.start : span.end]: str(span.style) for span in content.spans}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("one\ntwo", ["one", "two"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("- a\n- b\n  - c", [" • a", " • b", "    ◦ c"]),
        ("9. a\n10. b", [" 9. a", "10. b"]),
        ("1. a\n\n   b", [" 1. a", "    ", "    b"]),
        ("> a\n> - b", ["▎ a", "▎  • b"]),
        ("---", ["─" * 40]),
        ("    code", [" code"]),
        ("```\na\tb\n```", [" a   b"]),
        ("<b>bold</b>", ["<b>bold</b>"]),
        ("[bold]no[/bold]", ["[bold]no[/bold]"]),
        ("[text](http://a.b)", ["text (http://a.b)"]),
        ("<http://a.b>", ["http://a.b"]),
        ("![alt](pic.png)", ["image: alt (pic.png)"]),
        ("[x]\n\n[x]: http://a.b", ["x (http://a.b)"]),
        ("a &#27;[31mb &#x9b;1m", ["a \ufffd[31mb \ufffd1m"]),
        ("-", [" • "]),
        ("", []),
    ],
)
def test_what_is_shown(source: str, expected: list[str]) -> None:
    assert shown(source) == expected


def test_a_table_stands_in_columns_of_wide_characters() -> None:
    assert shown("| name | n |\n|---|--:|\n| 灯塔 | 1 |\n| a | 200 |") == [
        "name    n",
        "────  ───",
        "灯塔    1",
        "a     200",
    ]


def test_a_table_too_wide_is_wrapped_in_its_widest_column() -> None:
    table = "| a | b |\n|---|---|\n| x | one two three four five |"
    assert shown(table, 12) == ["a  b", "─  ─────────", "x  one two", "   three", "   four five"]


def test_wrapped_lines_stand_under_their_text() -> None:
    assert shown("- one two three", 10) == [" • one two", "   three"]


@pytest.mark.parametrize("width", [1, 2, 5, 17, 80])
def test_no_line_is_wider_than_the_room(width: int) -> None:
    source = "# 标题 title\n\n> - 灯塔 lighthouse\n\n```py\nx = '鲸鱼' * 10\n```\n\n1. one `code` two"
    assert max(line.content.cell_length for line in lines(source, max(width, 10))) <= max(width, 10)


def test_styles_name_what_the_text_is() -> None:
    assert styles("**b** *i* ~~s~~ `c`") == {"b": ".strong", "i": ".em", "s": ".strike", "c": ".code-inline"}


def test_code_is_coloured_by_its_language() -> None:
    assert any("$" in str(span.style) for span in lines("```python\ndef f(): pass\n```")[0].content.spans)
    assert lines("```nonesuch\ndef f(): pass\n```")[0].content.spans == []


def test_code_blocks_are_exactly_what_was_written() -> None:
    source = "a\n\n```py\nx\n\n\ty  \n```\n- i\n\n  ```\n  z\n  ```\n"
    assert code_blocks(source) == ["x\n\n\ty  \n", "z\n"]


@pytest.mark.parametrize("text", ["a" * 9_000, "word " * 2_000, "灯" * 5_000])
def test_wrapping_a_long_line_loses_nothing(text: str) -> None:
    pieces = wrap(Content(text), 50)
    assert "".join(piece.plain for piece in pieces).replace(" ", "") == text.replace(" ", "")
    assert max(piece.cell_length for piece in pieces) <= 50
