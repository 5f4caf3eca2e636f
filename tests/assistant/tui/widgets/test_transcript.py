"""The transcript in a running app."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.message import Message
from textual.pilot import Pilot
from textual.selection import SELECT_ALL, Selection

from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.transcript import Transcript
from tests.assistant.tui.waiting import wait_until


class Shown(App[None]):
    """A transcript and the messages it posts."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[Message] = []

    def compose(self) -> ComposeResult:
        yield Transcript()

    def on_transcript_message_selected(self, message: Transcript.MessageSelected) -> None:
        self.posted.append(message)

    def on_transcript_leave_down(self, message: Transcript.LeaveDown) -> None:
        self.posted.append(message)

    def on_transcript_sibling_wanted(self, message: Transcript.SiblingWanted) -> None:
        self.posted.append(message)


@asynccontextmanager
async def transcript(
    views: Iterable[MessageView] = (), size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Transcript, Pilot[Any], Shown]]:
    app = Shown()
    async with app.run_test(size=size) as pilot:
        widget = app.query_one(Transcript)
        await wait_until(pilot, lambda: widget.size.height == size[1])
        widget.show(list(views))
        await pilot.pause()
        yield widget, pilot, app


def message(number: int, text: str | None = None, **more: Any) -> MessageView:
    text = f"text of {number}\n\n- item\n- **item**" if text is None else text
    return MessageView(number, "user" if number % 2 else "assistant", text, "14:02", **more)


def screen(widget: Transcript) -> list[str]:
    return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]


def conversation(count: int) -> list[MessageView]:
    return [message(i, "word " * (i * 37 % 400)) for i in range(1, count + 1)]


async def test_messages_with_their_headers() -> None:
    views = [
        message(1, "[bold]hi[/]\n  there"),
        message(2, "**yes**", sibling=2, siblings=3, state="stopped"),
        message(4, "half", state="failed", note="The engine stopped."),
    ]
    async with transcript(views, size=(60, 14)) as (widget, pilot, app):
        app.screen.set_focus(None)
        await pilot.pause()
        assert screen(widget) == [
            "  you" + "14:02".rjust(53),
            "  [bold]hi[/]",
            "    there",
            "",
            "  assistant · 2 of 3 ‹ › · stopped" + "14:02".rjust(24),
            "  yes",
            "",
            "  assistant · failed" + "14:02".rjust(38),
            "  half",
            "  The engine stopped.",
            "",
            "",
            "",
            "",
        ]


async def test_control_characters_never_reach_the_screen() -> None:
    views = [message(1, "a\x1b[31mb\x07\x9b1m"), message(2, "c\x1b]0;title\x07d &#27;[1m", note="e\x1b[2J")]
    async with transcript(views) as (widget, _, _):
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for line in screen(widget) for c in line)


async def test_a_long_conversation_opens_at_its_end_with_little_work() -> None:
    views = [message(i) for i in range(5001)]
    async with transcript(views) as (widget, _, _):
        assert screen(widget)[-3:] == ["▌  • item", "▌  • item", ""]
        laid_out = sum(entry._laid_out is not None for entry in widget._entries)  # type: ignore[union-attr]
        assert 0 < laid_out < 20


async def test_scrolling_up_never_jumps() -> None:
    async with transcript(conversation(60)) as (widget, pilot, _):
        app_lines = screen(widget)
        for _ in range(60):
            before, at = app_lines, widget.scroll_offset.y
            widget.scroll_to(y=at - 3, animate=False)
            await pilot.pause()
            app_lines = screen(widget)
            assert app_lines[3:] == before[:-3]


async def test_home_and_end_reach_the_true_ends() -> None:
    async with transcript(conversation(300)) as (widget, pilot, _):
        await pilot.press("home")
        await wait_until(pilot, lambda: widget.scroll_offset.y == 0)
        assert widget.selected == 1
        assert screen(widget)[0].split() == ["▌", "you", "14:02"]
        await pilot.press("end")
        await wait_until(pilot, lambda: widget.selected == 300)
        assert widget.scroll_offset.y == widget.max_scroll_y


async def test_a_reply_is_followed_at_the_end_only() -> None:
    async with transcript(conversation(20)) as (widget, pilot, _):
        widget.start_stream(message(22, "", state="growing"))
        for i in range(40):
            await widget.append(22, f"line {i}\n\n")
        await wait_until(pilot, lambda: "line 39" in widget.view(22).text)
        assert widget.scroll_offset.y == widget.max_scroll_y
        widget.scroll_to(y=widget.scroll_offset.y - 10, animate=False)
        await pilot.pause()
        before = screen(widget)
        for i in range(40, 60):
            await widget.append(22, f"line {i}\n\n")
        await wait_until(pilot, lambda: "line 59" in widget.view(22).text)
        assert screen(widget) == before
        await widget.end_stream(message(22, "".join(f"line {i}\n\n" for i in range(60))))
        assert screen(widget)[2:] == before[2:]


async def test_a_reply_that_has_ended_looks_as_if_it_had_never_streamed() -> None:
    text = (
        "# Title\n\n"
        + "".join(f"{i}. item\n" for i in range(1, 15))
        + "\n```py\nx = 1\n```\nend [r]\n\n[r]: http://a.b"
    )
    async with transcript([message(1)], size=(80, 60)) as (widget, pilot, app):
        app.screen.set_focus(None)
        widget.start_stream(message(2, "", state="growing"))
        for c in text:
            await widget.append(2, c)
        await widget.end_stream(message(2, text))
        await pilot.pause()
        streamed = screen(widget)
        widget.show([message(1), message(2, text)])
        await pilot.pause()
        assert streamed == screen(widget)


async def test_reasoning_is_folded_apart_from_the_answer() -> None:
    async with transcript([message(1)]) as (widget, pilot, app):
        widget.start_stream(message(2, "", state="growing"))
        await widget.append(2, "<think>first thought")
        await wait_until(pilot, lambda: any("▸ thinking…" in line for line in screen(widget)))
        await widget.append(2, " and more</think>\n\nThe answer")
        await wait_until(pilot, lambda: any("▸ thought for 0." in line for line in screen(widget)))
        assert not any("first thought" in line for line in screen(widget))
        await widget.end_stream(message(2, widget.view(2).text))
        assert widget.answer(2) == "The answer"
        app.screen.set_focus(widget)
        widget.select(2)
        await pilot.press("space")
        await wait_until(pilot, lambda: any("first thought and more" in line for line in screen(widget)))
        y = next(y for y, line in enumerate(screen(widget)) if "▾ thought" in line)
        await pilot.click(Transcript, offset=(4, y))
        await wait_until(pilot, lambda: not any("first thought" in line for line in screen(widget)))


async def test_a_large_message_shows_its_head_until_it_is_unfolded() -> None:
    text = "".join(f"line {i}\n" for i in range(20_000))
    async with transcript([message(1, text)], size=(80, 210)) as (widget, pilot, _):
        folded = next(line for line in screen(widget) if "more lines" in line)
        assert folded.strip("▌ ") == "… 19,800 more lines"
        await pilot.press("space")
        await wait_until(pilot, lambda: widget.virtual_size.height > 20_000)
        await pilot.press("end")
        await wait_until(pilot, lambda: any("line 19999" in line for line in screen(widget)))
        assert widget.answer(1) == text


async def test_up_and_down_move_the_selection() -> None:
    async with transcript([message(i) for i in range(1, 5)]) as (_, pilot, app):
        await pilot.press("up", "up", "down", "down", "down")
        await wait_until(pilot, lambda: any(isinstance(m, Transcript.LeaveDown) for m in app.posted))
        chosen = [m.message_id for m in app.posted if isinstance(m, Transcript.MessageSelected)]
        assert chosen == [4, 3, 2, 3, 4]


async def test_a_click_selects_and_an_arrow_asks_for_the_sibling() -> None:
    async with transcript([message(1), message(2, "x", sibling=2, siblings=3)]) as (widget, pilot, app):
        await pilot.click(Transcript, offset=(5, 1))
        await wait_until(pilot, lambda: widget.selected == 1)
        y, header = next((y, line) for y, line in enumerate(screen(widget)) if "›" in line)
        await pilot.click(Transcript, offset=(header.index("›"), y))
        await wait_until(pilot, lambda: bool(app.posted) and isinstance(app.posted[-1], Transcript.SiblingWanted))
        assert app.posted[-1] == Transcript.SiblingWanted(2, 1)


async def test_messages_can_be_updated_and_taken_away() -> None:
    async with transcript([message(i) for i in range(1, 7)]) as (widget, _, _):
        widget.update(message(2, "another text"))
        widget.remove_from(4)
        widget.notice("12 older messages are left out of the prompt")
        lines = "\n".join(screen(widget))
        assert "another text" in lines
        assert "text of 4" not in lines
        assert "12 older messages" in lines
        assert widget.selected is None
        with pytest.raises(KeyError):
            widget.view(4)


async def test_code_blocks_and_answers_are_what_was_written() -> None:
    async with transcript([message(2, "<think>```\nno\n```</think>a\n```py\nx\x1b\n```\n")]) as (widget, _, _):
        assert widget.code_blocks(2) == ["x\x1b\n"]
        assert widget.answer(2) == "a\n```py\nx\x1b\n```\n"


@pytest.mark.parametrize("size", [(60, 20), (300, 100), (12, 5)])
async def test_every_size(size: tuple[int, int]) -> None:
    async with transcript(conversation(30), size=size) as (widget, pilot, _):
        widget.scroll_to(y=widget.max_scroll_y // 2, animate=False)
        await pilot.pause()
        top = screen(widget)[0].strip("▌ ")
        await pilot.resize_terminal(size[0] + 20, size[1])
        await wait_until(pilot, lambda: widget.size.width == size[0] + 20)
        assert max(len(line) for line in screen(widget)) <= size[0] + 20
        assert any(word in "".join(screen(widget)) for word in top.split() or [""])


async def test_selected_text_is_copied_without_the_wrapping() -> None:
    async with transcript([message(1, "word " * 30)], size=(40, 12)) as (widget, _, _):
        got = widget.get_selection(Selection(Offset(0, 1), None))
        assert got is not None
        assert got[0].strip() == ("word " * 30).strip()
        whole = widget.get_selection(SELECT_ALL)
        assert whole is not None
        assert whole[0].startswith("you")


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "nord", "ansi-dark", "monokai"])
async def test_every_theme_draws(theme: str) -> None:
    text = "# t\n**b** `c` [l](http://a)\n```py\ndef f(): return 1 # c\n```"
    async with transcript([message(1), message(2, text)]) as (widget, pilot, app):
        app.theme = theme
        await pilot.pause()
        assert any("def f" in line for line in screen(widget))
