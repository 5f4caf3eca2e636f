"""The dialogs of curating: what they take, and what they refuse."""

from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Label, TextArea

from assistant.errors import StoreError
from assistant.tui.dialogs.dialog import Dialog
from assistant.tui.dialogs.pick import Choice
from assistant.tui.judging.dialogs import correct_dialog, note_dialog, tag_dialog, tags_found
from tests.assistant.tui.waiting import wait_until

TAGS = [Choice(tag, f"#{tag}") for tag in ("story", "encode", "旅行")]


class Asking(App[None]):
    """Shows one dialog."""

    def __init__(self, dialog: Dialog[str]) -> None:
        super().__init__()
        self.dialog = dialog
        self.results: list[str | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.dialog, self.results.append)


async def answered(dialog: Dialog[str], *keys: str, text: str | None = None) -> str | None:
    """The result of a dialog after some keys."""
    app = Asking(dialog)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        if text is not None:
            dialog.query_one(TextArea).load_text(text)
        await pilot.press(*keys)
        await wait_until(pilot, lambda: bool(app.results))
    return app.results[0]


async def test_a_correction_is_the_edited_text() -> None:
    assert await answered(correct_dialog("one"), "ctrl+g", text="two\n鲸鱼") == "two\n鲸鱼"


@pytest.mark.parametrize(("text", "words"), [("  ", "needs a text"), ("one", "Nothing is changed")])
async def test_a_correction_that_says_nothing_is_refused_and_stays(text: str, words: str) -> None:
    app = Asking(dialog := correct_dialog("one"))
    async with app.run_test(size=(80, 24)) as pilot:
        await refused(pilot, dialog, text, words)
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.results == [None])


async def refused(pilot: Pilot[Any], dialog: Dialog[str], text: str, words: str) -> None:
    await pilot.pause()
    dialog.query_one(TextArea).load_text(text)
    await pilot.press("ctrl+g")
    problem = dialog.query_one(".problem", Label)
    await wait_until(pilot, lambda: words in str(problem.render()))
    assert dialog.query_one(TextArea).text == text


async def test_an_empty_note_takes_it_away() -> None:
    assert await answered(note_dialog("old"), "ctrl+g", text=" ") == ""


async def test_enter_makes_a_new_line_in_a_note() -> None:
    assert await answered(note_dialog(""), "a", "enter", "b", "ctrl+g") == "a\nb"


@pytest.mark.parametrize(
    ("keys", "tag"),
    [
        ("stor", "story"),  # one that is there
        ("code", "code"),  # a new one comes before those that only hold its letters
        ("#new one", "new one"),
        ("旅", "旅行"),
    ],
)
async def test_a_tag_is_chosen_or_made(keys: str, tag: str) -> None:
    pressed = [{"#": "number_sign", " ": "space"}.get(key, key) for key in keys]
    assert await answered(tag_dialog(["story"], {"encode": 3, "旅行": 1, "story": 1}), *pressed, "enter") == tag


def test_a_tag_with_its_whole_name_comes_first() -> None:
    both = [Choice("storytelling", "#storytelling"), *TAGS]
    assert [choice.value for choice in tags_found(both, "story")] == ["story", "storytelling"]


def test_what_is_no_tag_is_refused() -> None:
    with pytest.raises(StoreError, match="no comma"):
        tags_found(TAGS, "a, b")
