"""All branches of a conversation as lines from top to bottom, with the open path as the line that goes straight down.

Where a message has several answers, the branches beside come first, each one step further in, and the branch that
the line follows comes last: the open one, and beside the open path the newest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from assistant.store import conversations
from assistant.store.database import select

HEAD_CHARACTERS = 200
"""First words that are read of a message. One that begins with reasoning is read whole: its answer comes after."""


@dataclass(frozen=True, slots=True)
class Node:
    """One message. `depth` is how many branchings away from the open path it is; `begins` of the first of a branch."""

    id: int
    parent_id: int | None
    role: str
    head: str
    """The first words, or all of it."""
    state: str
    corrects_id: int | None
    depth: int
    begins: bool
    on_open_path: bool


def tree(db: Database, conversation_id: int) -> list[Node]:
    """The messages of a conversation from top to bottom. Raises `StoreError` where there is no conversation."""
    leaf = conversations.get(db, conversation_id).leaf_id
    rows = select(
        db,
        "SELECT id, parent_id, role, CASE WHEN role = 'assistant' AND content LIKE '<think>%' THEN content "
        f"ELSE substr(content, 1, {HEAD_CHARACTERS}) END, state, corrects_id FROM messages "
        "WHERE conversation_id = ? ORDER BY id",
        (conversation_id,),
    )
    parents = {row[0]: row[1] for row in rows}
    answers: dict[int | None, list[int]] = {}
    for message_id, parent_id in parents.items():
        answers.setdefault(parent_id, []).append(message_id)
    open_path = _path(parents, leaf)
    by_id = {row[0]: row for row in rows}
    return [_node(by_id[one], depth, begins, one in open_path) for one, depth, begins in _ordered(answers, open_path)]


def _node(row: Sequence[Any], depth: int, begins: bool, on_open_path: bool) -> Node:
    message_id, parent_id, role, head, state, corrects_id = row
    return Node(message_id, parent_id, role, head, state, corrects_id, depth, begins, on_open_path)


def _path(parents: Mapping[int, int | None], leaf: int | None) -> set[int]:
    path = set()
    while leaf is not None:
        path.add(leaf)
        leaf = parents[leaf]
    return path


def _ordered(answers: Mapping[int | None, Sequence[int]], open_path: set[int]) -> Iterator[tuple[int, int, bool]]:
    """(message, depth, whether it begins a branch) from top to bottom. A path may be thousands deep: no recursion."""
    waiting = _branches(answers.get(None, ()), 0, open_path)
    while waiting:
        message_id, depth, begins = waiting.pop()
        yield message_id, depth, begins
        waiting += _branches(answers.get(message_id, ()), depth, open_path)


def _branches(ids: Sequence[int], depth: int, open_path: set[int]) -> list[tuple[int, int, bool]]:
    """The answers to one message, the one to be told first last."""
    if not ids:
        return []
    straight = next((one for one in ids if one in open_path), ids[-1])
    beside = [(one, depth + 1, True) for one in reversed(ids) if one != straight]
    return [(straight, depth, False), *beside]
