"""A program with one more screen, in a process of its own: python -m tests.assistant.tui.documents HOME

What a new screen needs beside this file is the line in `ROOMS`, and a section in `keys` where it has keys of its own.
"""

import asyncio
import sys
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tui.rooms import ROOMS, Room
from assistant.tui.window import Window

NAME = "documents"


class DocumentsScreen(Screen[str]):
    """The result is a title."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("t", "take", "take")]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def compose(self) -> ComposeResult:
        yield Static(self._title)

    def action_take(self) -> None:
        self.dismiss(self._title)


def screen(window: Window) -> DocumentsScreen:
    """The model, as a title."""
    return DocumentsScreen(window.logs.model())


def left(window: Window, title: str | None) -> None:
    """Put the title into the composer."""
    window.chat.view.writing.fill(title or "")


async def main() -> None:
    """Open the screen with its key, take its result, and print what shows that it is a screen like the others."""
    ROOMS[NAME] = Room(NAME, "f11", "documents", "tests.assistant.tui.documents", kept=False)
    from assistant.tui import keys
    from assistant.tui.app import AssistantApp
    from tests.assistant.tui.waiting import wait_until

    said: list[tuple[str, object]] = []
    app = AssistantApp(Paths(Path(sys.argv[1], "config"), Path(sys.argv[1], "data")), Settings())
    async with app.run_test() as pilot:
        await wait_until(pilot, lambda: app.chat.is_attached_to_logs)
        said.append(("palette", [one.help for one in app.get_system_commands(app.screen) if one.title == NAME]))
        said.append(("help", [one.key for one in keys.bindings(keys.SECTIONS["Chat"]) if one.id == f"chat.{NAME}"]))
        await pilot.press("f11")
        await wait_until(pilot, lambda: app.screen is not app.chat)
        said.append(("shown", type(app.screen).__name__))
        await pilot.press("t")
        await wait_until(pilot, lambda: app.screen is app.chat and bool(app.chat.view.composer.text))
        said.append(("result", app.chat.view.composer.text))
        await app.action_quit()
    sys.stdout.write("\n".join(f"{what} {value}" for what, value in said))


if __name__ == "__main__":
    asyncio.run(main())
