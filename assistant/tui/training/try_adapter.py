"""Base and retrained answer the same prompt, blind and side by side. The vote counts in the next proof."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from textual.app import App

from assistant.errors import StoreError
from assistant.tui.judging.comparing import pair
from assistant.tui.judging.dialogs import TextDialog

if TYPE_CHECKING:
    from assistant.dialogue.exchange import Maker, Step
    from assistant.tui.logs import Logs
    from assistant.tui.replies import Replies


class PromptDialog(TextDialog):
    """The result is what both are asked, or None."""

    def __init__(self, prompt: str) -> None:
        super().__init__("Ask both", "a conversation of its own is kept", prompt)

    def checked(self, text: str) -> str:
        if not text.strip():
            raise StoreError("The prompt is empty. Write what both should answer, or leave with esc.")
        return text


def try_side_by_side(
    app: App[object], logs: "Logs", replies: "Replies", *, model: str, adapter: str, prompt: str
) -> None:
    """Let the reader change the prompt; both answer it, and the better one is voted for."""

    def asked(text: str | None) -> None:
        if text is not None:
            _make(app, logs, replies, model, adapter, text)

    app.push_screen(PromptDialog(prompt), asked)


def _make(app: App[object], logs: "Logs", replies: "Replies", model: str, adapter: str, text: str) -> None:
    from assistant.dialogue.exchange import Maker
    from assistant.store import conversations, messages
    from assistant.tui.judging.make_replies import MakeScreen

    log, template = logs.saved, logs.settings.template
    talk = conversations.create(log.db, model=model, template=template).id
    said = messages.add_user(log.db, talk, None, text)
    conversations.title_from(log.db, talk, text)
    makers = Maker(model, template, {}, {}), Maker(model, template, {}, {}, adapter)

    def begin(maker: "Maker") -> "AsyncGenerator[Step, None]":
        return log.dialogue.answer(said, maker)

    def made(ids: tuple[int, int] | None) -> None:
        if ids is not None:
            _compare(app, logs, *ids)

    app.push_screen(MakeScreen(log, talk, makers, begin, replies), made)


def _compare(app: App[object], logs: "Logs", one: int, other: int) -> None:
    from assistant.tui.judging import acts
    from assistant.tui.judging.compare import CompareScreen

    shown = pair(logs.saved.db, one, other)

    def vote(better: int | None) -> None:
        acts.vote(logs.saved.db, shown.ids, better)

    app.push_screen(CompareScreen(shown, vote))
