"""Curation: ratings, keep or skip, tags, notes, corrections and preferences, and the journal that undoes each of them.

A correction is a message of its own beside the reply it corrects. The journal names for every act what was there
before and what after, as JSON; it refers to the message with a cascade, so what is deleted leaves nothing in it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from sqlite_utils import Database

from assistant import ratings
from assistant.errors import StoreError
from assistant.store import conversations, messages
from assistant.store.conversations import now_ms
from assistant.store.database import execute, select, transaction
from assistant.store.judgements import curation_many
from assistant.store.judgements.curation_many import Change, Told, quiet

Decision = Literal["undecided", "keep", "skip"]
DECISIONS: tuple[str, ...] = get_args(Decision)

MANY = "many"
"""Kind of an act on many replies."""
ACTS_KEPT = 1000
"""So many acts can be undone; the journal doesn't grow beyond them."""

TAG_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person thinks of one message. `rating` is the number of one of `ratings.EVERY`."""

    rating: int = ratings.NONE.number
    decision: str = "undecided"
    note: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preference:
    """One vote between two replies to the same prompt. Of a tie, neither is better. `blind`: the makers were hidden.

    `chosen_first`: whether the chosen one was shown as the first; None where they were not shown side by side.
    """

    id: int
    chosen_id: int
    rejected_id: int
    tie: bool
    blind: bool
    created_ms: int
    chosen_first: bool | None = None


def judgement(db: Database, message_id: int) -> Judgement:
    """The judgement of a message; all defaults where there is none. Raises `StoreError` where there is no message."""
    found = _judgements(db, "WHERE m.id = ?", message_id)
    if not found:
        messages.get(db, message_id)  # raises
    return found.get(message_id, Judgement())


def judgements_of(db: Database, conversation_id: int) -> dict[int, Judgement]:
    """As `judgement`, for every judged or tagged message of a conversation, by its id."""
    return _judgements(db, "WHERE m.conversation_id = ?", conversation_id)


def _judgements(db: Database, where: str, value: int) -> dict[int, Judgement]:
    rows = select(
        db,
        "SELECT m.id, coalesce(j.rating, ?), j.decision, j.note, (SELECT json_group_array(tag) FROM "
        "(SELECT tag FROM tags WHERE message_id = m.id ORDER BY tag)) AS tagged "
        f"FROM messages m LEFT JOIN judgements j ON j.message_id = m.id {where} "
        "AND (j.message_id IS NOT NULL OR tagged <> '[]')",
        (ratings.NONE.number, value),
    )
    return {row[0]: Judgement(row[1], row[2] or "undecided", row[3] or "", _tags(row[4])) for row in rows}


def _tags(listed: str) -> tuple[str, ...]:
    return tuple(json.loads(listed))


def rate(db: Database, message_id: int, rating: int) -> None:
    """Give a reply the rating of this number; `NONE`'s takes it back. Raises `StoreError` for another or no reply."""
    _refuse_unknown_rating(rating)
    _reply(db, message_id)
    _judge(db, "rating", message_id, rating)


def _refuse_unknown_rating(number: object) -> None:
    if not ratings.is_known(number):
        raise StoreError(f"A rating is {ratings.described()}, not {number}.")


def decide(db: Database, message_id: int, decision: Decision) -> None:
    """Keep a reply for training, skip it, or leave it undecided."""
    if decision not in DECISIONS:
        raise StoreError(f"A decision is keep, skip or undecided, not {decision!r}.")
    _reply(db, message_id)
    _judge(db, "decision", message_id, decision)


def note(db: Database, message_id: int, text: str) -> None:
    """Write a note on a message; an empty one takes it away."""
    messages.get(db, message_id)
    _judge(db, "note", message_id, text)


def tag(db: Database, message_id: int, name: str) -> None:
    """Tag a message. Spaces around and doubled are taken off the name, and a leading #."""
    messages.get(db, message_id)
    name = tag_name(name)
    with transaction(db):
        if name not in tags_of(db, message_id):
            _act(db, "tag", message_id, None, name)


def untag(db: Database, message_id: int, name: str) -> None:
    """Take a tag off a message."""
    messages.get(db, message_id)
    name = tag_name(name)
    with transaction(db):
        if name in tags_of(db, message_id):
            _act(db, "tag", message_id, name, None)


def tag_name(name: str) -> str:
    """A tag as it is stored. Raises `StoreError` for an empty or very long one, or one with a comma."""
    clean = " ".join(name.replace("\0", " ").split()).removeprefix("#").strip()
    if not clean or len(clean) > TAG_CHARACTERS or "," in clean:
        raise StoreError(f"A tag has 1 to {TAG_CHARACTERS} characters and no comma, not {name[:80]!r}.")
    return clean


def tags_of(db: Database, message_id: int) -> list[str]:
    """The tags of a message, in order."""
    return [row[0] for row in select(db, "SELECT tag FROM tags WHERE message_id = ? ORDER BY tag", (message_id,))]


def all_tags(db: Database) -> dict[str, int]:
    """Every tag there is, with how many messages have it, the most used first."""
    return dict(select(db, "SELECT tag, count(*) FROM tags GROUP BY tag ORDER BY count(*) DESC, tag"))


def correct(db: Database, message_id: int, content: str) -> int:
    """The id of a new message that says `content` in place of a reply. It becomes the open one; the reply stays."""
    if not content.strip():
        raise StoreError("A correction needs a text.")
    with transaction(db):
        old = _reply(db, message_id)
        leaf = conversations.get(db, old.conversation_id).leaf_id
        correction = messages.add_correction(db, old, content)
        _journal(db, "correction", message_id, leaf, {"id": correction})
    return correction


def prefer(
    db: Database,
    chosen_id: int,
    rejected_id: int,
    *,
    tie: bool = False,
    blind: bool = False,
    chosen_first: bool | None = None,
) -> int:
    """The id of a vote for one reply over another to the same prompt. Votes add up; nothing is overwritten.

    Raises `StoreError` for a message that is no reply, twice the same one, or replies to different texts.
    """
    with transaction(db):
        chosen, rejected = _reply(db, chosen_id), _reply(db, rejected_id)
        if chosen_id == rejected_id or not _same_prompt(db, chosen, rejected):
            raise StoreError(f"Messages {chosen_id} and {rejected_id} are not two replies to the same prompt.")
        now = now_ms()
        values = {
            "chosen_id": chosen_id,
            "rejected_id": rejected_id,
            "tie": tie,
            "blind": blind,
            "created_ms": now,
            "chosen_first": chosen_first,
        }
        vote = _insert_preference(db, values)
        _journal(db, "preference", chosen_id, None, {"id": vote, **values})
    return vote


def judge_many(db: Database, message_ids: Sequence[int], change: Change, told: Told = quiet) -> int:
    """Make many replies say the same, as one act. How many have changed; those that said so already have not.

    The act is journaled first, and then the replies are changed some thousand at a time, so that a reply that is being
    written meanwhile isn't kept waiting: killed in between, the act is still undone as one. `told` hears how far it has
    come. Raises `StoreError` for a rating, decision or tag that there isn't.
    """
    if change.what == "rating":
        _refuse_unknown_rating(change.value)
    if change.what == "decision" and change.value not in DECISIONS:
        raise StoreError(f"A decision is keep, skip or undecided, not {change.value!r}.")
    if change.is_tag:
        change = replace(change, value=tag_name(change.value))
    with transaction(db):
        if not curation_many.differing(db, message_ids, change):
            return 0
        act = _journal(db, MANY, None, None, asdict(change))
        curation_many.collect(db, act, message_ids, change)
    return curation_many.apply(db, act, change, told)


def _same_prompt(db: Database, one: messages.StoredMessage, other: messages.StoredMessage) -> bool:
    """Siblings, or answers to messages of the same text: the same prompt asked of two models."""
    if one.parent_id == other.parent_id:
        return one.conversation_id == other.conversation_id
    if one.parent_id is None or other.parent_id is None:
        return False
    return messages.get(db, one.parent_id).content == messages.get(db, other.parent_id).content


def preferences(db: Database, message_id: int | None = None) -> list[Preference]:
    """All votes, or those in which one message took part, oldest first."""
    where = "" if message_id is None else "WHERE chosen_id = ? OR rejected_id = ?"
    values = () if message_id is None else (message_id, message_id)
    return [preference(row) for row in select(db, f"SELECT {VOTE} FROM preferences p {where} ORDER BY id", values)]


VOTE = "p.id, p.chosen_id, p.rejected_id, p.tie, p.blind, p.created_ms, p.chosen_first"
"""The columns of which `preference` makes a vote, of the table of preferences as `p`."""


def preference(row: Sequence[Any]) -> Preference:
    """The vote that a row of `VOTE` holds."""
    identity, chosen_id, rejected_id, tie, blind, created_ms, first = row
    chosen_first = None if first is None else bool(first)
    return Preference(identity, chosen_id, rejected_id, bool(tie), bool(blind), created_ms, chosen_first)


def _reply(db: Database, message_id: int) -> messages.StoredMessage:
    """The reply of that id. Raises `StoreError` for what a person said and for one that still grows."""
    row = messages.get(db, message_id)
    if row.role != "assistant":
        raise StoreError(f"Message {message_id} is not a reply.")
    if row.state == "growing":
        raise StoreError(f"Reply {message_id} is still being written; stop it or wait for its end.")
    return row


def _judge(db: Database, column: str, message_id: int, value: Any) -> None:
    with transaction(db):
        before = getattr(judgement(db, message_id), column)
        if before != value:
            _act(db, column, message_id, before, value)


# -- the journal --------------------------------------------------------------------------------------------------


def undo(db: Database, told: Told = quiet) -> str:
    """Undo the last judgement that stands, and say in words which; empty where there is none."""
    return _step(db, "SELECT {} FROM acts WHERE NOT undone ORDER BY id DESC LIMIT 1", told, undone=True)


def redo(db: Database, told: Told = quiet) -> str:
    """Redo what was undone last, and say in words what; empty where there is none. Any new act forgets these."""
    return _step(db, "SELECT {} FROM acts WHERE undone ORDER BY id LIMIT 1", told, undone=False)


def stepped_on(db: Database, *, undone: bool) -> int | None:
    """The message of the act that was undone last, or of the last one that stands; None for an act of many."""
    query = "undone ORDER BY id" if undone else "NOT undone ORDER BY id DESC"
    rows = select(db, f"SELECT message_id FROM acts WHERE {query} LIMIT 1")
    return rows[0][0] if rows else None


def _step(db: Database, query: str, told: Told, *, undone: bool) -> str:
    """Undo or redo the first act of a query that is still about something; the others are forgotten."""
    while True:
        with transaction(db):
            rows = select(db, query.format("id, kind, message_id, before, after"))
            if not rows:
                return ""
            act_id, kind, message_id, *texts = rows[0]
            before, after = (json.loads(text) for text in texts)
            execute(db, "UPDATE acts SET undone = ? WHERE id = ?", (undone, act_id))
            if kind == MANY:
                said = ""
            elif kind in _AGAIN:
                back, again = _AGAIN[kind]
                said = (back if undone else again)(db, act_id, message_id, before, after)
            else:
                said = _put(db, kind, message_id, *((after, before) if undone else (before, after)))
        if kind == MANY:  # in several transactions
            said = _step_many(db, act_id, Change(**after), told, undone=undone)
        if said:
            return said
        execute(db, "DELETE FROM acts WHERE id = ?", (act_id,))


def _act(db: Database, kind: str, message_id: int, before: Any, after: Any) -> None:
    _put(db, kind, message_id, before, after)
    _journal(db, kind, message_id, before, after)


def _step_many(db: Database, act_id: int, change: Change, told: Told, *, undone: bool) -> str:
    count = (curation_many.take_back if undone else curation_many.apply)(db, act_id, change, told)
    replies = f"{count:,} {'reply' if count == 1 else 'replies'}"
    what = {"tag": f"tag {change.value!r} on", "untag": f"tag {change.value!r} off"}.get(change.what)
    what = what or f"{change.what} {_word(change.what, change.value)} of"
    return f"{what} {replies} {'taken back' if undone else 'put back'}" if count else ""


def _journal(db: Database, kind: str, message_id: int | None, before: Any, after: Any) -> int:
    execute(db, "DELETE FROM acts WHERE undone")
    act = execute(
        db,
        "INSERT INTO acts (kind, message_id, before, after, done_ms) VALUES (?, ?, ?, ?, ?)",
        (kind, message_id, json.dumps(before), json.dumps(after), now_ms()),
    ).lastrowid
    assert act is not None
    execute(db, "DELETE FROM acts WHERE id <= ?", (act - ACTS_KEPT,))
    return act


def _put(db: Database, kind: str, message_id: int, before: Any, after: Any) -> str:
    """Make a tag, rating, decision or note what `after` says; in words, what changed."""
    if kind == "tag":
        if after is not None:
            execute(db, "INSERT OR IGNORE INTO tags (message_id, tag) VALUES (?, ?)", (message_id, after))
            return f"tag {after!r} put on message {message_id}"
        execute(db, "DELETE FROM tags WHERE message_id = ? AND tag = ?", (message_id, before))
        return f"tag {before!r} taken off message {message_id}"
    assert kind in ("rating", "decision", "note")
    execute(
        db,
        f"INSERT INTO judgements (message_id, {kind}) VALUES (?, ?) "
        f"ON CONFLICT (message_id) DO UPDATE SET {kind} = excluded.{kind}",
        (message_id, after),
    )
    if kind == "note":
        return f"note of message {message_id} " + ("set" if after else "taken away")
    return f"{kind} of message {message_id} set to {_word(kind, after)}"


def _word(kind: str, value: Any) -> Any:
    return ratings.of(value).word if kind == "rating" else value


def _uncorrect(db: Database, act_id: int, message_id: int, leaf: int | None, after: dict[str, Any]) -> str:
    """Take a correction out again; its text waits in the journal. One that was answered stays, as a plain sibling."""
    rows = select(db, "SELECT content, conversation_id FROM messages WHERE id = ?", (after["id"],))
    if not rows:
        return ""
    content, conversation_id = rows[0]
    answered = bool(select(db, "SELECT 1 FROM messages WHERE parent_id = ? LIMIT 1", (after["id"],)))
    if answered:
        execute(db, "UPDATE messages SET corrects_id = NULL WHERE id = ?", (after["id"],))
    else:
        waiting = json.dumps({"id": after["id"], "content": content})
        execute(db, "UPDATE acts SET after = ? WHERE id = ?", (waiting, act_id))
        execute(db, "DELETE FROM messages WHERE id = ?", (after["id"],))
    _open(db, conversation_id, leaf, message_id)
    return f"correction of message {message_id} " + ("no longer open: it was answered" if answered else "taken back")


def _open(db: Database, conversation_id: int, leaf: int | None, otherwise: int) -> None:
    """Open `leaf` again, or the newest branch below `otherwise` where that is gone."""
    there = leaf is not None and select(db, "SELECT 1 FROM messages WHERE id = ?", (leaf,))
    leaf_id = leaf if there and leaf is not None else messages.newest_leaf(db, otherwise)
    messages.open_leaf(db, conversation_id, leaf_id)


def _recorrect(db: Database, act_id: int, message_id: int, _leaf: int | None, after: dict[str, Any]) -> str:
    old = messages.get(db, message_id)
    if "content" in after:
        messages.add_correction(db, old, after["content"], row_id=after["id"])
        execute(db, "UPDATE acts SET after = ? WHERE id = ?", (json.dumps({"id": after["id"]}), act_id))
    elif select(db, "SELECT 1 FROM messages WHERE id = ?", (after["id"],)):
        execute(db, "UPDATE messages SET corrects_id = ? WHERE id = ?", (message_id, after["id"]))
        messages.open_leaf(db, old.conversation_id, messages.newest_leaf(db, after["id"]))
    else:
        return ""
    return f"correction of message {message_id} put back"


def _unprefer(db: Database, _act_id: int, _message_id: int, _before: None, after: dict[str, Any]) -> str:
    gone = execute(db, "DELETE FROM preferences WHERE id = ?", (after["id"],)).rowcount
    return f"vote between messages {after['chosen_id']} and {after['rejected_id']} taken back" if gone else ""


def _reprefer(db: Database, _act_id: int, _message_id: int, _before: None, after: dict[str, Any]) -> str:
    if len(select(db, "SELECT 1 FROM messages WHERE id IN (?, ?)", (after["chosen_id"], after["rejected_id"]))) < 2:
        return ""
    _insert_preference(db, after)
    return f"vote between messages {after['chosen_id']} and {after['rejected_id']} put back"


def _insert_preference(db: Database, values: dict[str, Any]) -> int:
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    return execute(db, f"INSERT INTO preferences ({names}) VALUES ({marks})", list(values.values())).lastrowid or 0


_Step = Callable[[Database, int, int, Any, Any], str]
_AGAIN: dict[str, tuple[_Step, _Step]] = {
    "correction": (_uncorrect, _recorrect),
    "preference": (_unprefer, _reprefer),
}
