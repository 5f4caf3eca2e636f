"""Copy a text, or one of several code blocks."""

from collections.abc import Sequence

from textual.widget import Widget

from assistant.cli.output import counted
from assistant.tui.dialogs.pick import Choice, PickScreen


async def copy(widget: Widget, text: str, what: str) -> None:
    """Copy `text`, and say so."""
    from assistant.tui.chat import clipboard

    taken_by = await clipboard.copy(widget.app, text)
    widget.notify(f"Copied {what} to the clipboard of {taken_by}.", markup=False)


def copy_block(widget: Widget, blocks: Sequence[str]) -> None:
    """Copy the only code block, or let the reader pick one."""

    def chosen(number: str | None) -> None:
        if number is not None:
            widget.run_worker(copy(widget, blocks[int(number)], "the code block"))

    if not blocks:
        widget.notify("There is no code block in this message.")
    elif len(blocks) == 1:
        chosen("0")
    else:
        choices = [_choice(number, block) for number, block in enumerate(blocks)]
        widget.app.push_screen(PickScreen("Copy a code block", choices), chosen)


def _choice(number: int, block: str) -> Choice:
    first = next((line.strip() for line in block.splitlines() if line.strip()), "(empty)")
    return Choice(str(number), first, counted(len(block.splitlines()), "line"))
