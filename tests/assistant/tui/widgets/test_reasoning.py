"""Taking a reply apart into reasoning and answer."""

import pytest

from assistant.tui.widgets.reasoning import Parts, Reasoning, split


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("answer", Parts("", "answer")),
        ("<think>why</think>\n\nanswer", Parts("why", "answer")),
        ("\n<think>\nwhy\n</think>answer", Parts("why", "answer")),
        ("<think>never ends", Parts("never ends", "", thinking=True)),
        ("see <think>this</think>", Parts("", "see <think>this</think>")),
        ("<thi", Parts("", "<thi")),
    ],
)
def test_a_whole_reply(text: str, parts: Parts) -> None:
    assert split(text) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<thi", Parts("", "")),
        ("<think>why</thi", Parts("why", "", thinking=True)),
        ("<think>a < b", Parts("a < b", "", thinking=True)),
    ],
)
def test_half_a_tag_is_not_shown_while_a_reply_grows(text: str, parts: Parts) -> None:
    assert split(text, growing=True) == parts


def test_what_a_fold_says() -> None:
    reasoning = Reasoning()
    assert reasoning.blocks(thinking=False) == []
    reasoning.update("one\ntwo")
    reasoning.unfolded = True
    lines = [line.content.plain for block in reasoning.blocks(thinking=True) for line in block.lines(40)]
    assert lines == ["▾ thinking…", "  one", "  two"]
    reasoning.duration_s = 3.14
    reasoning.unfolded = False
    assert [block.lines(40)[0].content.plain for block in reasoning.blocks(thinking=False)] == ["▸ thought for 3.1 s"]
