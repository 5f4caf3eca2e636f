"""The tokens of a reply: each shaded by how unlikely it was, and what else could have stood in its place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from assistant import shades
from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.tui import keys
from assistant.tui.judging.token_text import LINE_END, TokenText
from assistant.tui.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from assistant.events import Token
    from assistant.tui.logs import Log, Logs

ABOUT = "Darker means less expected. Alternatives are below."
READING = "The model reads the reply again to list the alternatives …"


class TokensScreen(Screen[None]):
    """What the log has is shown at once; the alternatives come when the model has read the reply."""

    BINDINGS: ClassVar[list[BindingType]] = keys.TOKENS
    CSS_PATH = "tokens.tcss"
    AUTO_FOCUS = "TokenText"

    def __init__(self, logs: "Logs", log: "Log", message_id: int) -> None:
        super().__init__()
        self._logs = logs
        self._log = log
        self._message_id = message_id
        self._tokens: Sequence[Token] = ()
        self._told = READING

    def compose(self) -> ComposeResult:
        with Vertical(id="tokens"):
            yield Static("Tokens", classes="heading")
            yield Static(ABOUT, classes="quiet", id="about")
            yield TokenText()
            yield Static("", id="token")
            yield Static(READING, id="alternatives")
        yield StatusLine()

    @property
    def text(self) -> TokenText:
        return self.query_one(TokenText)

    def on_mount(self) -> None:
        self.run_worker(self._load())

    async def _load(self) -> None:
        from assistant.dialogue import reply_tokens

        try:
            self._show(await self._log.worker.ask(lambda db: reply_tokens.stored(db, self._message_id)))
            read = await self._logs.tokens(self._log, self._message_id)
            self._told = ""
            self._show(read)
        except AssistantError as error:
            self._told = printable(str(error))
            self._show(self._tokens)

    def _show(self, tokens: "Sequence[Token]") -> None:
        self._tokens = tokens
        self.text.show(tokens)
        self._show_token(self.text.cursor)

    @on(TokenText.Moved)
    def _moved(self, event: TokenText.Moved) -> None:
        self._show_token(event.index)

    def _show_token(self, index: int) -> None:
        here, below = Content(""), Content(self._told)
        if self._tokens:
            token = self._tokens[index]
            share = shades.percent(token.logprob) if token.logprob is not None else "not known"
            here = Content(f"{quoted(token.text)}  {share}  ")
            here += Content.styled(f"token {index + 1:,} of {len(self._tokens):,}", "$foreground 60%")
            below = below if self._told else _alternatives(token)
        self.query_one("#token", Static).update(here)
        self.query_one("#alternatives", Static).update(below)

    def action_leave(self) -> None:
        self.dismiss(None)


def _alternatives(token: "Token") -> Content:
    """A line for each, the one that was taken marked."""
    lines = [
        f"{shades.percent(top.logprob):<7}  {quoted(top.text)}{'  ◂' if top.id == token.id else ''}"
        for top in token.top
    ]
    return Content("\n".join(lines))


def quoted(text: str) -> str:
    """A token with its spaces and line ends to be seen."""
    if not text:
        return "(a part of a character)"
    return printable(text).replace("\n", LINE_END).replace(" ", "·")
