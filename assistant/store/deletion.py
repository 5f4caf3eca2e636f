"""Delete means delete: rows, their words in the index, the bytes in the file and in its -wal.

`conversations.delete` hides for a while; what is done here can't be undone. Backups are told of, not touched.
"""

from collections.abc import Sequence
from pathlib import Path

from sqlite_utils import Database

from assistant.store import messages
from assistant.store.conversations import now_ms
from assistant.store.database import execute, path_of, select, transaction
from assistant.store.schema import derived

AT_START_S = 0.2
"""How long the start of a program may be held up."""


def delete_conversations(db: Database, ids: Sequence[int]) -> int:
    """Delete these conversations. How many there were."""
    with transaction(db):
        gone = sum(erase(db, conversation_id) for conversation_id in ids)
        erase_unused(db)
    if gone:
        leave_no_bytes(db)
    return gone


def purge_hidden(db: Database, *, older_than_ms: int = 0) -> int:
    """Really delete what was hidden at least `older_than_ms` ago. How many conversations went.

    For the start of a program: what takes long in a large log is left to the next starts.
    """
    before = now_ms() - older_than_ms
    rows = select(db, "SELECT id FROM conversations WHERE deleted_ms <= ?", (before,))
    if not rows:
        derived.go_on_forgetting(db, within_s=AT_START_S)
        derived.forget_vectors(db)
        return 0
    with transaction(db):
        gone = sum(erase(db, row[0]) for row in rows)
        erase_unused(db)
    leave_no_bytes(db, within_s=AT_START_S)
    return gone


def erase(db: Database, conversation_id: int) -> int:
    """Delete one conversation, in a transaction of the caller's. How many there were."""
    # Loose first: deleting a message deletes its answers, and SQLite follows such a chain no deeper than 1,000.
    execute(db, "UPDATE messages SET parent_id = NULL WHERE conversation_id = ?", (conversation_id,))
    return int(execute(db, "DELETE FROM conversations WHERE id = ?", (conversation_id,)).rowcount)


def delete_message(db: Database, message_id: int) -> int:
    """Delete a message and all that was said after it, on every branch. How many messages went.

    Where the open path led through it, the newest branch that is left is open. Raises `StoreError` for no message.
    """
    with transaction(db):
        root = messages.get(db, message_id)
        ids = below(db, message_id)
        for one in ids:
            execute(db, "UPDATE messages SET parent_id = NULL WHERE id = ?", (one,))
        for one in ids:
            execute(db, "DELETE FROM messages WHERE id = ?", (one,))
        _open_what_is_left(db, root.conversation_id, root.parent_id)
        erase_unused(db)
    leave_no_bytes(db)
    return len(ids)


def erase_last(db: Database, message_id: int) -> None:
    """Delete a message that nothing answers, in a transaction of the caller's."""
    one = messages.get(db, message_id)
    execute(db, "DELETE FROM messages WHERE id = ?", (message_id,))
    _open_what_is_left(db, one.conversation_id, one.parent_id)


def below(db: Database, message_id: int) -> list[int]:
    """A message and all that was said after it."""
    rows = select(
        db,
        "WITH RECURSIVE below(id) AS (SELECT id FROM messages WHERE id = ? UNION ALL "
        "SELECT m.id FROM messages m JOIN below ON m.parent_id = below.id) SELECT id FROM below",
        (message_id,),
    )
    return [row[0] for row in rows]


def _open_what_is_left(db: Database, conversation_id: int, parent_id: int | None) -> None:
    if select(db, "SELECT leaf_id FROM conversations WHERE id = ?", (conversation_id,))[0][0] is not None:
        return  # another branch is open
    if parent_id is None:
        rows = select(db, "SELECT max(id) FROM messages WHERE conversation_id = ?", (conversation_id,))
        parent_id = rows[0][0]
    if parent_id is not None:
        messages.open_leaf(db, conversation_id, messages.newest_leaf(db, parent_id))


def ended_before(db: Database, time_ms: int) -> list[int]:
    """The conversations, hidden ones too, in which nothing was said at `time_ms` or later.

    One that went on is whole: what was said after the date means nothing without what came before.
    """
    rows = select(db, "SELECT id FROM conversations WHERE updated_ms < ? ORDER BY id", (time_ms,))
    return [row[0] for row in rows]


def erase_unused(db: Database) -> None:
    """Delete the settings that no reply was made with, and the templates that nobody tested or saved either: their text
    may be a person's own."""
    used = ("provenances", "template_tests", "template_saves")
    for table, uses in (
        ("provenances", ["outcomes WHERE provenance_id = provenances.id"]),
        ("templates", [f"{by} WHERE template_hash = templates.hash" for by in used]),
    ):
        unused = " AND ".join(f"NOT EXISTS (SELECT 1 FROM {use})" for use in uses)
        execute(db, f"DELETE FROM {table} WHERE {unused}")


def leave_no_bytes(db: Database, *, within_s: float | None = None) -> None:
    """Overwrite what is left of deleted rows: in the index, whose pages keep deleted words, in the -wal file, and the
    vectors of what they meant."""
    derived.forget(db, within_s=within_s)
    derived.forget_vectors(db)
    select(db, "PRAGMA wal_checkpoint(TRUNCATE)")


def copies(db: Database) -> list[Path]:
    """Files beside the log that may still hold what was deleted: backups, and damaged logs that were set aside."""
    file = Path(path_of(db))
    return sorted(one for one in file.parent.glob(f"{file.stem}.*{file.suffix}") if one != file)
