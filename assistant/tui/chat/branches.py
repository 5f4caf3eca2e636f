"""Every branch of a conversation as a tree: go to any message, or fork a conversation there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Static

from assistant.cli.output import counted
from assistant.safe_text import printable
from assistant.tui import keys
from assistant.tui.chat.branch_tree import BranchRow, BranchTree
from assistant.tui.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from sqlite_utils import Database


@dataclass(frozen=True, slots=True)
class Chosen:
    """The message to go to, or to fork a conversation at."""

    message_id: int
    fork: bool = False


@dataclass(frozen=True, slots=True)
class Branches:
    """The messages of a conversation, from top to bottom."""

    title: str
    rows: Sequence[BranchRow]


class BranchesScreen(Screen[Chosen | None]):
    """The messages of one conversation, the cursor on `message_id`. The result is what was chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = keys.BRANCHES
    AUTO_FOCUS = "BranchTree"
    DEFAULT_CSS = """
    BranchesScreen { background: $background; padding: 1 1 0 1; }
    BranchesScreen .heading { margin: 0 1 1 1; }
    BranchesScreen StatusLine { dock: bottom; }
    """

    def __init__(self, branches: Branches, message_id: int) -> None:
        super().__init__()
        self._title, self._rows = branches.title, branches.rows
        self._message_id = message_id

    def compose(self) -> ComposeResult:
        heading = f"Branches of {printable(self._title, newlines=False) or 'the conversation'}"
        yield Static(heading, classes="heading", markup=False)
        yield BranchTree()
        yield StatusLine()

    def on_mount(self) -> None:
        self._tree.show(self._rows, self._message_id)
        beside = sum(not row.on_open_path for row in self._rows)
        facts = [counted(len(self._rows), "message"), f"{beside:,} beside the open path" if beside else "one path"]
        self.query_one(StatusLine).facts = facts

    @property
    def _tree(self) -> BranchTree:
        return self.query_one(BranchTree)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return action != "sibling" or any(tree.versions > 1 for tree in self.query(BranchTree))

    @on(BranchTree.Opened)
    def action_open(self) -> None:
        if (row := self._tree.cursor_row) is not None:
            self.dismiss(Chosen(row.id))

    def action_fork(self) -> None:
        if (row := self._tree.cursor_row) is not None:
            self.dismiss(Chosen(row.id, fork=True))

    def action_sibling(self, step: int) -> None:
        self._tree.go_to_sibling(step)

    def action_leave(self) -> None:
        self.dismiss(None)


def read_branches(db: "Database", conversation_id: int) -> Branches:
    """Raises `StoreError` where there is no such conversation."""
    from assistant.store import branches, conversations
    from assistant.store.judgements import curation
    from assistant.tui.views import NOT_JUDGED, marks
    from assistant.tui.widgets.message import NAMES, STATES
    from prompts.reasoning import answer

    judged = curation.judgements_of(db, conversation_id)
    rows = [
        BranchRow(
            node.id,
            node.parent_id,
            NAMES.get(node.role, node.role),
            answer(node.head) if node.role == "assistant" else node.head,
            node.depth,
            node.begins,
            node.on_open_path,
            "  ".join(
                (
                    *((STATES[node.state],) if node.state in STATES else ()),
                    *marks(judged.get(node.id, NOT_JUDGED), correction=node.corrects_id is not None),
                )
            ),
        )
        for node in branches.tree(db, conversation_id)
    ]
    return Branches(conversations.get(db, conversation_id).title, rows)
