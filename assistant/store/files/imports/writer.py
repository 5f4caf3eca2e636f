"""Settled conversations into the log, in batches within one transaction of the caller's.

Ids are dealt out here: the caller holds the write lock, so nobody else takes them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlite_utils import Database

from assistant.store.conversations import title_of
from assistant.store.database import execute, execute_many, select
from assistant.store.files.transcript import NOT_JUDGED, Transcript, Turn, Vote
from assistant.store.judgements.curation import TAG_CHARACTERS
from assistant.store.messages import FIGURES, NO_TEMPLATE_HASH, Outcome, Provenance
from assistant.store.schema.token_data import pack

BATCH_ROWS = 2000

# In the order in which they are inserted: what is known of a message comes before it, so that the triggers that derive
# one table from all of these make each row once, in its last state.
_COLUMNS = {
    "conversations": "id title title_is_automatic created_ms updated_ms pinned model template inputs sampling draft "
    "leaf_id system source source_id content_hash",
    "templates": "hash name text first_used_ms",
    "replies": "message_id model adapter_hash template_hash sampling seed inputs version "
    "token_data " + " ".join(FIGURES),
    "judgements": "message_id rating decision note",
    "tags": "message_id tag",
    "messages": "id conversation_id parent_id role content created_ms updated_ms state error corrects_id source_id",
    "preferences": "chosen_id rejected_id tie blind created_ms chosen_first",
}
_TABLES = {name: columns.split() for name, columns in _COLUMNS.items()}
_NO_FIGURES = Outcome()


class Writer:
    """Rows that wait to be inserted. `flush` must be called at the end."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._rows: dict[str, list[Sequence[Any]]] = {table: [] for table in _TABLES}
        self._waiting = 0
        self._conversation_id = _last_id(db, "conversations")
        self._first_id = self._conversation_id + 1
        self._message_id = _last_id(db, "messages")
        self._first_message_id = self._message_id + 1
        self.votes_across: list[tuple[int, Vote, int]] = []
        """(chosen message, vote, when) for votes against a reply of another conversation."""
        # A conversation and its leaf refer to each other: what refers to what is checked when all is there.
        execute(db, "PRAGMA defer_foreign_keys = ON")

    @property
    def conversations(self) -> tuple[int, int]:
        """The ids of the first and the last conversation that came in."""
        return self._first_id, self._conversation_id

    @property
    def messages(self) -> tuple[int, int]:
        """The ids of the first and the last message that came in."""
        return self._first_message_id, self._message_id

    def add(self, settled: Transcript, content_hash: str) -> None:
        """Store one conversation, which `settle` has put in order."""
        # What was deleted, but not purged yet, no longer counts as there.
        execute(
            self._db,
            "UPDATE conversations SET content_hash = NULL WHERE content_hash = ? AND deleted_ms IS NOT NULL",
            (content_hash,),
        )
        self._conversation_id += 1
        ids = {turn.key: self._message_id + number for number, turn in enumerate(settled.turns, start=1)}
        self._message_id += len(ids)
        self._rows["conversations"].append(self._conversation(settled, ids, content_hash))
        for turn in settled.turns:
            self._turn(turn, ids, settled, self._conversation_id)
        self._rows["preferences"] += [
            _vote(ids[vote.chosen], ids[vote.rejected], vote, settled.updated_ms or 0)
            for vote in settled.votes
            if vote.chosen in ids and vote.rejected in ids and ids[vote.chosen] != ids[vote.rejected]
        ]
        if settled.exact:  # its names are those of one log: unique in the file
            self.votes_across += [
                (ids[vote.chosen], vote, settled.updated_ms or 0)
                for vote in settled.votes
                if vote.chosen in ids and vote.rejected not in ids
            ]
        self._waiting += len(ids) + 1
        if self._waiting >= BATCH_ROWS:
            self.flush()

    def go_on(self, settled: Transcript, conversation_id: int) -> int:
        """Add the turns that a conversation has not, each below what it answers. How many there were.

        The open path goes on with it where it ends in what was imported.
        """
        self.flush()
        ids = names_in(self._db, conversation_id)
        new = [turn for turn in settled.turns if turn.key not in ids]
        ids |= {turn.key: self._message_id + number for number, turn in enumerate(new, start=1)}
        self._message_id += len(new)
        for turn in new:
            self._turn(turn, ids, settled, conversation_id)
        self._waiting += len(new)
        self.flush()
        execute(
            self._db,
            # The hash is that of what was imported first; without one it is made of what is there.
            "UPDATE conversations SET content_hash = NULL, updated_ms = max(updated_ms, ?), leaf_id = CASE "
            "WHEN (SELECT source_id FROM messages WHERE id = leaf_id) IS NULL THEN leaf_id ELSE ? END WHERE id = ?",
            (settled.updated_ms, ids[settled.leaf or settled.turns[-1].key], conversation_id),
        )
        return len(new)

    def flush(self) -> None:
        """Insert what waits."""
        for table, rows in self._rows.items():
            if rows:
                names = _TABLES[table]
                either = "INSERT OR IGNORE" if table in ("templates", "tags") else "INSERT"
                marks = ", ".join("?" * len(names))
                execute_many(self._db, f"{either} INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
                rows.clear()
        self._waiting = 0

    def _conversation(self, settled: Transcript, ids: Mapping[str, int], content_hash: str) -> tuple[Any, ...]:
        title = " ".join(settled.title.split()) or _automatic_title(settled.turns)
        return (
            self._conversation_id,
            title,
            settled.title_is_automatic,
            settled.created_ms,
            settled.updated_ms,
            settled.pinned,
            # Elsewhere's model can't answer here: only our own export says which one goes on.
            settled.model if settled.exact else "",
            settled.template,
            json.dumps(dict(settled.inputs), ensure_ascii=False),
            json.dumps(dict(settled.sampling), ensure_ascii=False),
            settled.draft,
            None if settled.leaf is None else ids[settled.leaf],
            settled.system,
            settled.source,
            settled.source_id,
            content_hash,
        )

    def _turn(self, turn: Turn, ids: Mapping[str, int], settled: Transcript, conversation_id: int) -> None:
        message_id = ids[turn.key]
        created = turn.created_ms
        self._rows["messages"].append(
            (
                message_id,
                conversation_id,
                None if turn.parent is None else ids[turn.parent],
                turn.role,
                turn.content,
                created,
                created if turn.updated_ms is None else turn.updated_ms,
                turn.state,
                turn.error,
                ids.get(turn.corrects) if turn.corrects is not None else None,
                turn.key,
            )
        )
        if turn.role == "assistant":
            self._reply(message_id, turn, settled)
        if turn.judgement != NOT_JUDGED:
            self._judge(message_id, turn)

    def _reply(self, message_id: int, turn: Turn, settled: Transcript) -> None:
        """What made the reply, where that is known: of another program's the model alone."""
        made = turn.provenance
        model = turn.model or ("" if settled.exact else settled.model)
        if made is None and not model:
            return
        made = made or Provenance(model, "", NO_TEMPLATE_HASH, "", {}, None)
        outcome = turn.outcome or _NO_FIGURES
        self._rows["templates"].append((made.template_hash, made.template, made.template_text, turn.created_ms))
        self._rows["replies"].append(
            (
                message_id,
                made.model,
                made.adapter_hash,
                made.template_hash,
                json.dumps(made.sampling, ensure_ascii=False),
                made.seed,
                json.dumps(made.inputs, ensure_ascii=False),
                made.version,
                pack(turn.content, outcome.token_ids, outcome.logprobs, outcome.token_lengths),
                *(getattr(outcome, name) for name in FIGURES),
            )
        )

    def _judge(self, message_id: int, turn: Turn) -> None:
        one = turn.judgement
        if one.rating or one.note or one.decision != "undecided":
            self._rows["judgements"].append((message_id, one.rating, one.decision, one.note))
        self._rows["tags"] += [(message_id, tag) for tag in map(_tag, one.tags) if tag]


def store_votes_across(db: Database, votes: Sequence[tuple[int, Vote, int]], first_message_id: int) -> int:
    """Store the votes whose rejected reply came in, at `first_message_id` or later. How many were not."""
    query = (
        "SELECT source_id, max(id) FROM messages WHERE id >= ? AND source_id IN (SELECT value FROM json_each(?)) "
        "GROUP BY source_id HAVING count(*) = 1"
    )
    ids = dict(select(db, query, (first_message_id, json.dumps([vote.rejected for _, vote, _ in votes]))))
    rows = [_vote(chosen, ids[vote.rejected], vote, at) for chosen, vote, at in votes if vote.rejected in ids]
    columns = _COLUMNS["preferences"].replace(" ", ", ")
    execute_many(db, f"INSERT INTO preferences ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)
    return len(votes) - len(rows)


def _vote(chosen: int, rejected: int, vote: Vote, at_ms: int) -> tuple[Any, ...]:
    return chosen, rejected, vote.tie, vote.blind, vote.created_ms or at_ms, vote.chosen_first


def names_in(db: Database, conversation_id: int) -> dict[str, int]:
    """The names that the messages of a conversation have in the file they came from -> their ids."""
    query = "SELECT source_id, id FROM messages WHERE conversation_id = ? AND source_id IS NOT NULL"
    return dict(select(db, query, (conversation_id,)))


def _tag(name: str) -> str:
    """A tag as `curation.tag_name` has it, cut where that would refuse it."""
    return " ".join(name.replace("\0", " ").replace(",", " ").split()).removeprefix("#").strip()[:TAG_CHARACTERS]


def _automatic_title(turns: Sequence[Turn]) -> str:
    return next((title_of(turn.content) for turn in turns if turn.role == "user"), "")


def _last_id(db: Database, table: str) -> int:
    """The highest id that was ever dealt out."""
    rows = select(db, f"SELECT max(seq) FROM sqlite_sequence WHERE name = '{table}'")
    return int(rows[0][0] or 0)
