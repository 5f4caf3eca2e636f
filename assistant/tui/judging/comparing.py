"""Compare two versions of a reply, blind."""

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual.widget import Widget

from assistant.errors import StoreError
from assistant.tui.background import in_background
from assistant.tui.dialogs.pick import Choice, PickScreen
from assistant.tui.judging.judging import Judging
from assistant.tui.log_worker import LogWorker

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.messages import StoredMessage
    from assistant.tui.judging.compare import Pair

FIRST_WORDS = 80
"""Characters of a version that are shown where one is chosen."""
NO_TEXTS = "There are no two versions with a text to compare."

GoTo = Callable[[int], Awaitable[None]]


async def compare_versions(widget: Widget, judging: Judging, message_id: int, go_to: GoTo) -> None:
    """Compare a reply with its only other version, or with one that the reader picks; then go to the better.

    Raises `StoreError` where no other version has a text.
    """
    worker = judging.worker
    versions = await worker.ask(lambda db: _versions(db, message_id))
    others = {number: row for number, row in enumerate(versions, 1) if row.id != message_id and _has_text(row)}

    def compared(better: int | None) -> None:
        in_background(widget, lambda: go_to(better or message_id))

    def chosen(other: str | None) -> None:
        if other is not None:
            in_background(widget, lambda: compare_blind(widget, judging, message_id, int(other), compared))

    if not others:
        raise StoreError(NO_TEXTS)
    if len(others) == 1:
        chosen(str(next(iter(others.values())).id))
    else:
        choices = [
            Choice(str(row.id), f"version {number}", row.content[:FIRST_WORDS]) for number, row in others.items()
        ]
        widget.app.push_screen(PickScreen("Compare with", choices), chosen)


def _versions(db: "Database", message_id: int) -> "list[StoredMessage]":
    from assistant.store import messages

    return [messages.get(db, one) for one in messages.siblings(db, message_id)]


async def compare_blind(
    widget: Widget, judging: Judging, one: int, other: int, done: Callable[[int | None], None] | None = None
) -> None:
    """Show two replies, and store the vote. `done` gets the better one. Raises as `pair`."""
    from assistant.tui.judging import acts
    from assistant.tui.judging.compare import CompareScreen

    shown = await pair(judging.worker, one, other)

    def vote(better: int | None) -> None:
        judging.act(lambda db: acts.vote(db, shown.ids, better))

    widget.app.push_screen(CompareScreen(shown, vote), done)


async def pair(worker: LogWorker, one: int, other: int) -> "Pair":
    """Two replies to the same prompt in random order. Raises `StoreError` where one is gone or has no text."""
    ids = (one, other) if random.random() < 0.5 else (other, one)
    return await worker.ask(lambda db: _pair(db, ids))


def _pair(db: "Database", ids: tuple[int, int]) -> "Pair":
    from assistant.store import messages
    from assistant.tui.judging.compare import Pair
    from assistant.tui.views import makers

    first, second = (messages.get(db, each) for each in ids)
    if not (_has_text(first) and _has_text(second)):
        raise StoreError(NO_TEXTS)
    prompt = "" if first.parent_id is None else messages.get(db, first.parent_id).content
    return Pair(ids, prompt, (first.content, second.content), makers(db, ids))


def _has_text(reply: "StoredMessage") -> bool:
    return reply.state != "growing" and bool(reply.content.strip())
