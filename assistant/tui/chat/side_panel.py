"""The side list: what it is, a way to a new conversation, a search line, the conversations, and an undo."""

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widgets import Input, Static

from assistant.safe_text import shorten
from assistant.tui.chat.conversation_list import ConversationList


class SidePanel(Vertical):
    """Everything beside the open conversation."""

    DEFAULT_CSS = """
    SidePanel {
        width: 28;
        padding: 0 1 0 0;
        & > .caption { padding: 0 1; color: $foreground 60%; }
        & > #new { padding: 0 1; height: 1; width: auto; }
        & > #new:hover { background: $surface; }
        & > #search, & > #search:focus { border: none; height: 1; padding: 0 1; background: $background; }
        & > #search { margin-bottom: 1; }
        & > #search:focus { background: $surface; }
        & > #undo { height: auto; padding: 0 1; color: $foreground 60%; display: none; }
    }
    """

    class SearchChanged(Message):
        """Another text is searched for, in `SidePanel.search`."""

    def compose(self) -> ComposeResult:
        yield Static("Conversations", classes="caption")
        yield Static(Content("+ new").stylize(Style.from_meta({"@click": "screen.new"})), id="new")
        yield Input(placeholder="/ search", id="search")
        yield ConversationList(id="conversations")
        yield Static("", id="undo")

    @property
    def conversations(self) -> ConversationList:
        return self.query_one(ConversationList)

    @property
    def search(self) -> str:
        """What is searched for."""
        return self.query_one("#search", Input).value.strip()

    def focus_search(self) -> None:
        """Go to the search line."""
        self.query_one("#search", Input).focus()

    def offer_undo(self, title: str | None) -> None:
        """Say that a conversation was deleted and can be brought back; None: nothing to undo any more."""
        undo = self.query_one("#undo", Static)
        undo.display = title is not None
        if title is not None:
            text = (
                Content(f'Deleted "{shorten(title, 14)}".\nPress ')
                + Content.styled("u", "$accent")
                + Content(" to undo.")
            )
            undo.update(text.stylize(Style.from_meta({"@click": "screen.undo_delete"})))

    @on(Input.Changed, "#search")
    def _search_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.SearchChanged())

    @on(Input.Submitted, "#search")
    def _to_results(self, event: Input.Submitted) -> None:
        event.stop()
        self.conversations.focus()

    def on_key(self, event: events.Key) -> None:
        """Down leaves the search line for its results, escape gives the search up."""
        search = self.query_one("#search", Input)
        if not search.has_focus:
            return
        if event.key == "down":
            event.stop()
            self.conversations.focus()
        elif event.key == "escape" and search.value:
            event.stop()
            search.value = ""
