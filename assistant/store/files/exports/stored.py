"""Conversations as the log has them, read a batch at a time for whoever writes them out."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

from sqlite_utils import Database

from assistant.store import messages
from assistant.store.database import select
from assistant.store.files.transcript import NOT_JUDGED
from assistant.store.judgements.curation import VOTE, Judgement, Preference, preference
from assistant.store.messages import ReplyInfo, StoredMessage
from assistant.store.search import exchanges
from assistant.store.search.filter import EVERYTHING, Filter
from prompts import template as templates
from prompts.errors import PromptError
from prompts.render import render

BATCH = 200
"""Conversations read at once: enough that a query's own cost vanishes, and a few megabytes at most."""

_COLUMNS = (
    "id title title_is_automatic created_ms updated_ms pinned model template inputs sampling leaf_id draft "
    "system source source_id content_hash"
)
FIELDS = tuple(_COLUMNS.split())
_MESSAGE = [f"m.{name}" for name in StoredMessage.__slots__]


@dataclass(frozen=True)
class Stored:
    """One conversation whole. `rows` are all its messages, oldest first; `fields` its own columns, by name."""

    fields: Mapping[str, Any]
    rows: Sequence[StoredMessage]
    judgements: Mapping[int, Judgement]
    replies: Mapping[int, ReplyInfo]
    """Of every reply; empty where `read` was not asked for the whole."""
    models: Mapping[int, str]
    votes: Sequence[tuple[Preference, str]]
    """Those in which a message of it was chosen, with the text of the rejected one, which may lie elsewhere."""
    made_under: Mapping[int, str]
    """Message id -> text of the template a reply was made with."""
    chosen: frozenset[int] | None = None
    """The replies that a filter lets through; None without a filter."""
    given_system: str | None = None
    """What `system` says instead of what follows from the rest."""

    @cached_property
    def by_id(self) -> dict[int, StoredMessage]:
        return {row.id: row for row in self.rows}

    @cached_property
    def path(self) -> list[StoredMessage]:
        """The open path, from the root."""
        return self.path_to(self.fields["leaf_id"])

    @cached_property
    def system(self) -> str:
        """The system message: the conversation's own, else that of the template its last open reply was made with."""
        if self.given_system is not None:
            return self.given_system
        if self.fields["system"]:
            return str(self.fields["system"])
        made = next(filter(None, map(self.template_of, reversed(self.path))), "")
        return _system_of(made, self.fields["inputs"]) if made else ""

    def template_of(self, row: StoredMessage) -> str:
        """The text of the template that a reply was made with, or the reply that it corrects; empty for none."""
        known = (self.made_under.get(one, "") for one in (row.id, row.corrects_id) if one is not None)
        return next(filter(None, known), "")

    @cached_property
    def paths(self) -> list[list[StoredMessage]]:
        """The open path; with a filter, that to each chosen reply, unless it leads on to another chosen one."""
        if self.chosen is None:
            return [self.path] if self.path else []
        return self.paths_to(self.chosen)

    def paths_to(self, ids: Iterable[int]) -> list[list[StoredMessage]]:
        """The path to each of these messages, unless it leads on to another one of them."""
        paths = [self.path_to(one) for one in sorted(ids)]
        behind = {row.id for path in paths for row in path[:-1]}
        return [path for path in paths if path[-1].id not in behind]

    def is_chosen(self, message_id: int) -> bool:
        """Whether the filter lets a reply through."""
        return self.chosen is None or message_id in self.chosen

    def path_to(self, message_id: int | None) -> list[StoredMessage]:
        """The messages from the root to that one; none for None."""
        path = []
        while message_id is not None:
            path.append(self.by_id[message_id])
            message_id = path[-1].parent_id
        return path[::-1]

    def messages(self, path: Sequence[StoredMessage] | None = None) -> list[dict[str, str]]:
        """The open path, or another, as OpenAI has it: the system message first, empty messages left out."""
        said = [{"role": row.role, "content": row.content} for row in (self.path if path is None else path)]
        system = [{"role": "system", "content": self.system}] if self.system else []
        return system + [one for one in said if one["content"].strip()]

    def judgement(self, message_id: int) -> Judgement:
        """What is thought of one of its messages."""
        return self.judgements.get(message_id, NOT_JUDGED)


@lru_cache(maxsize=256)
def _system_of(template_text: str, inputs: str) -> str:
    """The system message that a template makes of a conversation's inputs; empty where it no longer can."""
    try:
        template = templates.parse(template_text, name="stored")
        known = {one.name for one in template.inputs}
        values = {name: value for name, value in json.loads(inputs).items() if name in known}
        first = next(iter(render(template, [], values)), None)
    except PromptError:
        return ""
    return first.content if first is not None and first.role == "system" else ""


def read(
    db: Database,
    ids: Iterable[int],
    *,
    filter_: Filter = EVERYTHING,
    among: Mapping[int, Iterable[int]] | None = None,
    whole: bool = False,
) -> Iterator[Stored]:
    """The conversations of these ids that hold a reply which passes, in their order.

    Without a filter all that are there. `among`: conversation -> the replies that pass another one.
    `whole` adds all that is known of each reply, its token probabilities too.
    """
    rest = iter(ids)
    while batch := list(islice(rest, BATCH)):
        yield from _batch(db, batch, filter_, among, whole)


def _batch(
    db: Database, ids: list[int], filter_: Filter, among: Mapping[int, Iterable[int]] | None, whole: bool
) -> Iterator[Stored]:
    chosen = None
    if filter_ != EVERYTHING or among is not None:
        chosen = _chosen(db, ids, filter_)
        if among is not None:
            chosen = _both(chosen, among)
        ids = [one for one in ids if one in chosen]
    there = f"({', '.join('?' * len(ids))})"
    found = {
        row[0]: dict(zip(FIELDS, row, strict=True))
        for row in select(db, f"SELECT {', '.join(FIELDS)} FROM conversations WHERE id IN {there}", ids)
    }
    rows: dict[int, list[StoredMessage]] = {one: [] for one in found}
    for row in select(
        db, f"SELECT {', '.join(_MESSAGE)} FROM messages m WHERE m.conversation_id IN {there} ORDER BY m.id", ids
    ):
        rows[row[1]].append(StoredMessage(*row))
    judgements = _judgements(db, there, ids)
    models, made_under = _made(db, there, ids)
    votes = _votes(db, there, ids)
    for one in ids:
        if one in found:
            replies = messages.replies_of(db, one) if whole else {}
            passed = None if chosen is None else frozenset(chosen[one])
            yield Stored(found[one], rows[one], judgements, replies, models, votes.get(one, ()), made_under, passed)


def _chosen(db: Database, ids: list[int], filter_: Filter) -> dict[int, list[int]]:
    """Conversation -> its replies that pass."""
    where, values = exchanges.joined(exchanges.conditions(filter_))
    marks = ", ".join("?" * len(ids))
    chosen: dict[int, list[int]] = {}
    for conversation_id, message_id in select(
        db,
        "SELECT conversation_id, message_id FROM exchanges INDEXED BY exchanges_conversation_id "
        f"WHERE conversation_id IN ({marks}) AND {where}",
        (*ids, *values),
    ):
        chosen.setdefault(conversation_id, []).append(message_id)
    return chosen


def _both(chosen: Mapping[int, list[int]], among: Mapping[int, Iterable[int]]) -> dict[int, list[int]]:
    both = {one: sorted(set(replies).intersection(among.get(one, ()))) for one, replies in chosen.items()}
    return {one: replies for one, replies in both.items() if replies}


def _judgements(db: Database, there: str, ids: list[int]) -> dict[int, Judgement]:
    mine = f"JOIN messages m ON m.id = message_id WHERE m.conversation_id IN {there}"
    tags: dict[int, list[str]] = {}
    for message_id, tag in select(db, f"SELECT message_id, tag FROM tags {mine} ORDER BY tag", ids):
        tags.setdefault(message_id, []).append(tag)
    judged = {
        row[0]: row[1:] for row in select(db, f"SELECT message_id, rating, decision, note FROM judgements {mine}", ids)
    }
    return {
        one: _judgement(judged.get(one, (0, "undecided", "")), tags.get(one, ())) for one in judged.keys() | tags.keys()
    }


def _judgement(judged: tuple[Any, ...], tags: Iterable[str]) -> Judgement:
    rating, decision, note = judged
    return Judgement(rating, decision, note, tuple(tags))


def _made(db: Database, there: str, ids: list[int]) -> tuple[dict[int, str], dict[int, str]]:
    made = select(
        db,
        "SELECT r.message_id, r.model, t.text FROM replies r JOIN templates t ON t.hash = r.template_hash "
        f"JOIN messages m ON m.id = r.message_id WHERE m.conversation_id IN {there}",
        ids,
    )
    return {row[0]: row[1] for row in made}, {row[0]: row[2] for row in made if row[2]}


def _votes(db: Database, there: str, ids: list[int]) -> dict[int, list[tuple[Preference, str]]]:
    votes: dict[int, list[tuple[Preference, str]]] = {}
    for conversation_id, rejected, *vote in select(
        db,
        f"SELECT m.conversation_id, r.content, {VOTE} "
        "FROM messages m JOIN preferences p ON p.chosen_id = m.id JOIN messages r ON r.id = p.rejected_id "
        f"WHERE m.conversation_id IN {there} ORDER BY p.id",
        ids,
    ):
        votes.setdefault(conversation_id, []).append((preference(vote), rejected))
    return votes
