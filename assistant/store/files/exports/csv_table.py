"""A table for a spreadsheet: a row for every message on whatever branch, `open` telling those of the open path.

A text that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP advises.
"""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime

from assistant.store.files.exports.stored import Stored
from assistant.store.messages import StoredMessage

_NAMES = "conversation_id title message_id parent_id open time role model rating decision tags note state content"
COLUMNS = _NAMES.split()
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def head() -> str:
    """The first line."""
    return ",".join(COLUMNS) + "\r\n"


def write(conversation: Stored) -> Iterator[str]:
    """The rows of one conversation (RFC 4180)."""
    table = io.StringIO()
    rows = csv.writer(table)
    open_ids = {row.id for row in conversation.path}
    title = _inert(conversation.fields["title"])
    for row in _wanted(conversation):
        judgement = conversation.judgement(row.id)
        rows.writerow(
            (
                row.conversation_id,
                title,
                row.id,
                row.parent_id,
                int(row.id in open_ids),
                datetime.fromtimestamp(row.created_ms / 1000, UTC).isoformat(timespec="milliseconds"),
                row.role,
                _inert(conversation.models.get(row.id, "")),
                judgement.rating,
                judgement.decision,
                _inert(", ".join(judgement.tags)),
                _inert(judgement.note),
                row.state,
                _inert(row.content),
            )
        )
    yield table.getvalue()


def _wanted(conversation: Stored) -> Iterator[StoredMessage]:
    """All messages; with a filter the chosen replies and what they answer."""
    chosen = conversation.chosen
    if chosen is None:
        yield from conversation.rows
        return
    wanted = chosen | {conversation.by_id[one].parent_id for one in chosen}
    yield from (row for row in conversation.rows if row.id in wanted)


def _inert(text: str) -> str:
    text = text.replace("\0", "")
    return f"'{text}" if text.startswith(_FORMULA) else text
