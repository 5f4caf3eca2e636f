"""The composer in a running app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from assistant.tui.chat.composer import Composer
from tests.assistant.tui.waiting import wait_until


class Typing(App[None]):
    """A composer that is cleared when it is sent, as the screen does."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.left_up = 0
        self.slashes = 0

    def compose(self) -> ComposeResult:
        yield Composer(placeholder="Type a message")

    def on_composer_submitted(self, message: Composer.Submitted) -> None:
        self.sent.append(message.text)
        self.query_one(Composer).clear()

    def on_composer_leave_up(self) -> None:
        self.left_up += 1

    def on_composer_slash_typed(self) -> None:
        self.slashes += 1


@asynccontextmanager
async def composer(size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[Composer, Pilot[Any], Typing]]:
    app = Typing()
    async with app.run_test(size=size) as pilot:
        widget = app.query_one(Composer)
        widget.focus()
        await pilot.pause()
        yield widget, pilot, app


async def paste(widget: Composer, pilot: Pilot[Any], text: str) -> None:
    widget.post_message(events.Paste(text))
    await pilot.pause()


@pytest.mark.parametrize("newline", ["ctrl+j", "shift+enter"])
async def test_enter_sends_and_other_keys_make_a_new_line(newline: str) -> None:
    async with composer() as (widget, pilot, app):
        await pilot.press("h", "i", newline, "x", "enter")
        await wait_until(pilot, lambda: app.sent == ["hi\nx"])
        assert widget.text == ""


async def test_keys_after_enter_belong_to_the_next_message() -> None:
    async with composer() as (widget, pilot, app):
        for key in ("a", "enter", "b"):
            widget.post_message(events.Key(key, key if key.isalpha() and len(key) == 1 else "\r"))
        await wait_until(pilot, lambda: app.sent != [])
        assert app.sent == ["a"]


async def test_nothing_blank_is_sent() -> None:
    async with composer() as (_, pilot, app):
        await pilot.press("enter", "space", "ctrl+j", "enter")
        assert app.sent == []


@pytest.mark.parametrize("text", ["你好\r", "one\ntwo\n", "a\r\nb\r\n"])
async def test_a_paste_never_sends(text: str) -> None:
    async with composer() as (widget, pilot, app):
        await paste(widget, pilot, text)
        assert widget.text == text.replace("\r\n", "\n").replace("\r", "\n")
        assert app.sent == []


MEGABYTES = {
    "lines": "line of text\n" * 80_000,
    "one line of Chinese": "鲸鱼" * 170_000,
    "one word": "a" * 1_000_000,
    "marks of other pastes": "[pasted 1,140,000 characters #2]" * 40_000,
}


@pytest.mark.parametrize("name", MEGABYTES)
async def test_a_megabyte_arrives_whole_and_stays_editable(name: str) -> None:
    text = MEGABYTES[name]
    async with composer() as (widget, pilot, app):
        await pilot.press("x")
        await paste(widget, pilot, text)
        await paste(widget, pilot, text)
        await pilot.press("y")
        assert widget.text == f"x{text}{text}y"
        await pilot.press("backspace", "backspace")
        assert widget.text == f"x{text}"
        await pilot.press("ctrl+z", "enter")
        await wait_until(pilot, lambda: app.sent != [])
        assert app.sent[0].startswith(f"x{text}{text}")


async def test_a_long_draft_is_kept_whole() -> None:
    async with composer() as (widget, pilot, _):
        draft = "line\n" * 30_000
        widget.text = draft
        await pilot.pause()
        assert widget.text == draft
        assert widget.document.line_count == 1


async def test_no_control_characters_get_in() -> None:
    async with composer() as (widget, pilot, _):
        await paste(widget, pilot, "a\x1b[31mb\x00\x07\x9b2Jc\td")
        assert widget.text == "abc\td"
        widget.text = "\x1b]0;x\x07ok"
        assert widget.text == "ok"


async def test_up_and_slash_in_the_empty_composer_are_for_the_screen() -> None:
    async with composer() as (widget, pilot, app):
        await pilot.press("up", "slash")
        await wait_until(pilot, lambda: (app.left_up, app.slashes) == (1, 1))
        assert widget.text == ""
        await pilot.press("a", "slash", "up")
        assert (widget.text, app.left_up, app.slashes) == ("a/", 1, 1)


async def test_the_cursor_stands_behind_wide_characters() -> None:
    async with composer() as (widget, pilot, app):
        start = widget.cursor_screen_offset
        for character in "你好":
            app.post_message(events.Key(character, character))
        await wait_until(pilot, lambda: widget.text == "你好")
        assert widget.cursor_screen_offset.x - start.x == 4


async def test_undo_brings_a_sent_text_back() -> None:
    async with composer() as (widget, pilot, app):
        await pilot.press("h", "i", "enter")
        await wait_until(pilot, lambda: app.sent == ["hi"])
        await pilot.press("ctrl+z")
        await wait_until(pilot, lambda: widget.text == "hi")


@pytest.mark.parametrize(("size", "highest"), [((60, 20), 6), ((300, 100), 33)])
async def test_it_grows_to_a_third_of_the_screen(size: tuple[int, int], highest: int) -> None:
    async with composer(size) as (widget, pilot, _):
        assert widget.outer_size.height == 3
        for lines in (2, 200):
            await paste(widget, pilot, "line\n" * lines)
            await wait_until(pilot, lambda: widget.outer_size.height > 3)
        await wait_until(pilot, lambda: widget.outer_size.height == highest)
