"""A text that grows looks as the whole text does, at each complete line and at the end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.tui.widgets import streaming_markdown
from assistant.tui.widgets.markdown_blocks import render
from assistant.tui.widgets.rows import Block
from assistant.tui.widgets.streaming_markdown import StreamingMarkdown

LIST = "".join(f"{i}. item **{i}**\n   - below\n" for i in range(7, 25))
TABLE = "| a | b |\n|---|--:|\n" + "".join(f"| row {i} | {i * i} |\n" for i in range(30))
FENCE = "```python\n" + "".join(f"x_{i} = {i}\n\n" for i in range(45)) + "```\n"
TEXTS = {
    "list": LIST,
    "loose list": LIST.replace("\n", "\n\n"),
    "table": TABLE,
    "fence": FENCE,
    "fence that stays open": FENCE[:-4],
    "fence in a list": "- item\n\n  ```\n  code\n  ```\n- next\n",
    "everything": f"# Title\nIntro:\n{LIST}\ntext\n\n{TABLE}\nmore\n> quote\n> - x\n\n{FENCE}\n---\n* a\n* b\n\nend\n",
    "heading under a dash": "Here are:\n- a\n- b\n",
    "underlined heading": "Title\n===\ntext\n",
    "an info string that is none": "word\n```py `x`\nmore\n",
    "Chinese": "灯塔\n\n1. 鲸鱼\n2. 旅行计划\n\n| 名 | 义 |\n|--|--|\n| 灯 | 光 |\n",
}


def shown(blocks: list[Block], width: int = 60) -> list[str]:
    return [line.content.plain for block in blocks for line in block.lines(width)]


@pytest.mark.parametrize("name", TEXTS)
def test_each_complete_line_is_shown_as_in_the_whole_text(name: str) -> None:
    text, growing = TEXTS[name], StreamingMarkdown()
    for end in range(1, len(text) + 1):
        growing.update(text[:end])
        if text[end - 1] == "\n":
            assert shown(growing.blocks) == shown(render(text[:end]))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*"-*#>|` \n1", ". ", "- ", "\n\n", "word ", "**b**", "```\n", "| a |\n", "|---|\n", "    ", "==="]
        ),
        max_size=40,
    )
)
def test_any_text_looks_the_same_at_its_end(pieces: list[str]) -> None:
    growing, text = StreamingMarkdown(), ""
    for piece in pieces:
        text += piece
        growing.update(text)
    text += "\n"
    growing.update(text)
    assert shown(growing.blocks) == shown(render(text))


def test_a_line_that_may_become_something_else_waits() -> None:
    growing = StreamingMarkdown()
    growing.update("Here are:\n-")
    assert shown(growing.blocks) == ["Here are:"]
    growing.update("Here are:\n- a")
    assert shown(growing.blocks) == ["Here are:", "", " • a"]


def test_a_text_whose_beginning_changes_is_shown_anew() -> None:
    growing = StreamingMarkdown()
    growing.update("- one\n- two\n")
    growing.update("- uno\n- two\n")
    assert shown(growing.blocks) == [" • uno", " • two"]


@pytest.mark.parametrize(
    ("text", "most_lines"), [(LIST * 8, 8), (TABLE + "| x | 1 |\n" * 200, 8), (FENCE[:-4] * 5, 30)]
)
def test_only_the_end_of_a_long_block_is_parsed(text: str, most_lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []

    def counting(source: str) -> object:
        parsed.append(source.count("\n"))
        return parse(source)

    parse = streaming_markdown.parse
    monkeypatch.setattr(streaming_markdown, "parse", counting)
    growing, source = StreamingMarkdown(), ""
    for line in text.splitlines(keepends=True):
        source += line
        growing.update(source)
    assert max(parsed) <= most_lines
