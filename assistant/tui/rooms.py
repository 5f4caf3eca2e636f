"""The screens beside the chat, a line for each: it gives the screen its key, its place in the palette, its picture."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """A screen that a key of the chat opens.

    `module` has a function `screen(window)`, which makes the screen, and may have `left(window, result)`, which is
    called with the screen's result.
    """

    name: str
    key: str
    about: str
    module: str
    kept: bool = True
    """One screen is kept until the program ends, and keeps its place; else each visit makes a new one. A kept screen
    has a coroutine `close()`."""
    needs_priority: bool = False
    """The key would else be taken by the widget that has the focus."""


ROOMS = {
    room.name: room
    for room in (
        Room("models", "f4", "models", "assistant.tui.models.screen", kept=False),
        Room("train", "f7", "train the model", "assistant.tui.train.screen", needs_priority=True),
        Room("prompts", "f6", "prompts: try, test, write", "assistant.tui.prompts.screen", needs_priority=True),
        Room("log", "f8", "the log: search and curate", "assistant.tui.log.screen"),
    )
}
