"""Base and retrained answer the same prompt, blind and side by side. The vote counts in the next proof."""

from typing import TYPE_CHECKING

from textual.app import App

from assistant.errors import StoreError
from assistant.tui.background import in_background
from assistant.tui.judging.comparing import pair
from assistant.tui.judging.dialogs import TextDialog
from assistant.tui.log_worker import LogWorker

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.dialogue.exchange import Maker
    from assistant.tui.logs import Logs
    from assistant.tui.replies import Begin, Replies


def prompt_dialog(prompt: str) -> TextDialog:
    """The result is what both are asked, or None."""

    def checked(text: str) -> str:
        if not text.strip():
            raise StoreError("The prompt is empty. Write what both should answer, or leave with esc.")
        return text

    return TextDialog("Ask both", "a conversation of its own is kept", prompt, checked)


def try_side_by_side(
    app: App[object], logs: "Logs", replies: "Replies", *, model: str, adapter: str, prompt: str
) -> None:
    """Let the reader change the prompt; both answer it, and the better one is voted for."""

    def asked(text: str | None) -> None:
        if text is not None:
            in_background(app, lambda: _make(app, logs, replies, model, adapter, text))

    app.push_screen(prompt_dialog(prompt), asked)


async def _make(app: App[object], logs: "Logs", replies: "Replies", model: str, adapter: str, text: str) -> None:
    from assistant.dialogue.exchange import Maker
    from assistant.tui.judging.make_replies import MakeScreen

    log, template = logs.saved, logs.settings.template
    talk, said = await log.worker.act(lambda db: _ask(db, model, template, text))
    makers = Maker(model, template, {}, {}), Maker(model, template, {}, {}, adapter)

    def begin(maker: "Maker") -> "Begin":
        return lambda dialogue: dialogue.answer(said, maker)

    def made(ids: tuple[int, int] | None) -> None:
        if ids is not None:
            in_background(app, lambda: _compare(app, log.worker, *ids))

    app.push_screen(MakeScreen(log, talk, makers, begin, replies), made)


def _ask(db: "Database", model: str, template: str, text: str) -> tuple[int, int]:
    """(id of a new conversation, id of its first message)."""
    from assistant.store import conversations, messages

    talk = conversations.create(db, model=model, template=template).id
    said = messages.add_user(db, talk, None, text)
    conversations.title_from(db, talk, text)
    return talk, said


async def _compare(app: App[object], worker: LogWorker, one: int, other: int) -> None:
    from assistant.tui.judging import acts
    from assistant.tui.judging.compare import CompareScreen

    shown = await pair(worker, one, other)

    def vote(better: int | None) -> None:
        in_background(app, lambda: worker.act(lambda db: acts.vote(db, shown.ids, better)))

    app.push_screen(CompareScreen(shown, vote))
