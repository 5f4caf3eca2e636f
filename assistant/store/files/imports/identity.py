"""Whether two conversations say the same: a hash of who said what in answer to what, and under which system message.

Titles, times, models and judgements are not part of it, nor is the order of branches: the same conversation from two
formats, or continued from a copy, is told by what was said alone.
"""

import hashlib
from collections.abc import Iterable, Iterator

from sqlite_utils import Database

from assistant.store.database import select
from assistant.store.files.exports import stored
from assistant.store.files.exports.stored import Stored
from assistant.store.files.transcript import Transcript

HASH_BYTES = 16

# Every imported message has the name that its file gave it.
_GREW_HERE = (
    "SELECT id FROM conversations c WHERE deleted_ms IS NULL AND (content_hash IS NULL "
    "OR EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = c.id AND m.source_id IS NULL)) ORDER BY id"
)

Said = tuple[object, object, str, str]
"""(key, key of the parent or None, role, content), parents first."""


def hash_of(said: Iterable[Said], system: str) -> str:
    """The hash, in hex."""
    places: dict[object, bytes] = {None: b""}
    for key, parent, role, content in said:
        text = content.encode("utf-8", "replace")
        places[key] = hashlib.blake2b(places[parent] + role[:1].encode() + text, digest_size=HASH_BYTES).digest()
    del places[None]
    whole = hashlib.blake2b(b"".join(sorted(places.values())), digest_size=HASH_BYTES)
    whole.update(b"\0" + system.strip().encode("utf-8", "replace"))
    return whole.hexdigest()


def of_transcript(settled: Transcript) -> str:
    """The hash of a conversation that `settle` has put in order."""
    if not settled.turns:
        return _of_nothing(settled.title, settled.created_ms)
    return hash_of(((turn.key, turn.parent, turn.role, turn.content) for turn in settled.turns), settled.system)


def _of_nothing(title: str, created_ms: int | None) -> str:
    """Where nothing was said, the title and the time tell one from another."""
    return hash_of([], f"{created_ms} {title}")


def of_the_log(db: Database) -> Iterator[str]:
    """The hashes of the conversations that were not imported or went on since: each whole, and its open path, as it
    may be exported."""
    ids = select(db, _GREW_HERE)
    for conversation in stored.read(db, (row[0] for row in ids)):
        if not conversation.rows:
            yield _of_nothing(conversation.fields["title"], conversation.fields["created_ms"])
            continue
        path = [(row.id, row.parent_id, row.role, row.content) for row in conversation.path]
        yield hash_of(_whole(conversation), conversation.fields["system"])
        yield hash_of(path, conversation.system)
        yield hash_of(path, "")


def _whole(conversation: Stored) -> Iterator[Said]:
    return ((row.id, row.parent_id, row.role, row.content) for row in conversation.rows)
