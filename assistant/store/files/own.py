"""Our own export: one conversation a line, the whole tree with all that is known of each reply and thought of it.

Imported, it gives the same log back, under new ids. A vote against a reply of another conversation comes in
where that is in the file too.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, fields
from typing import Any, TypeVar

from assistant import ratings
from assistant.store.files.exports import stored
from assistant.store.files.exports.stored import Stored
from assistant.store.files.imports.file_format import Format
from assistant.store.files.transcript import NOT_JUDGED, Transcript, Turn, Vote, WrongShape
from assistant.store.files.values.fields import (
    LAST_MS,
    Fields,
    checked,
    given,
    kind_of,
    list_of,
    needed,
    object_of,
    time_ms,
)
from assistant.store.judgements.curation import Judgement
from assistant.store.messages import Outcome, Provenance, StoredMessage

FORMAT = "assistant-conversation/1"

_CONVERSATION = frozenset({"format", "messages", "votes", "id", *stored.FIELDS})
_MESSAGE = frozenset({"judgement", "reply", *StoredMessage.__slots__})
_STATES = ("complete", "growing", "cut", "stopped", "interrupted", "failed")
_DECISIONS = ("undecided", "keep", "skip")
Made = TypeVar("Made", Provenance, Outcome)


def is_one(value: object) -> bool:
    """Whether a value of a file is a conversation of this format."""
    format_ = value.get("format") if isinstance(value, dict) else None
    return isinstance(format_, str) and format_.startswith("assistant-conversation/")


def write(conversation: Stored) -> Iterator[str]:
    """The conversation as one line."""
    yield json.dumps(as_object(conversation), ensure_ascii=False) + "\n"


def as_object(conversation: Stored) -> dict[str, Any]:
    """The conversation as one JSON object."""
    told = dict(conversation.fields)
    del told["content_hash"]
    for name in ("inputs", "sampling"):
        told[name] = json.loads(told[name])
    for name in ("pinned", "title_is_automatic"):
        told[name] = bool(told[name])
    told["messages"] = [_message(conversation, row) for row in conversation.rows]
    told["votes"] = [
        {
            "chosen_id": vote.chosen_id,
            "rejected_id": vote.rejected_id,
            "tie": vote.tie,
            "blind": vote.blind,
            "created_ms": vote.created_ms,
            "chosen_first": vote.chosen_first,
        }
        for vote, _ in conversation.votes
    ]
    return {"format": FORMAT, **told}


def _message(conversation: Stored, row: StoredMessage) -> dict[str, Any]:
    told: dict[str, Any] = {name: getattr(row, name) for name in row.__slots__ if name != "conversation_id"}
    judgement = conversation.judgement(row.id)
    if judgement != NOT_JUDGED:
        told["judgement"] = asdict(judgement)
    if reply := conversation.replies.get(row.id):
        told["reply"] = {"provenance": _plain(reply.provenance), "outcome": _plain(reply.outcome)}
    return told


def _plain(made: Provenance | Outcome) -> dict[str, Any]:
    """As `asdict`, which copies every number of long lists."""
    return {field.name: getattr(made, field.name) for field in fields(made)}


def read(value: Mapping[str, Any], place: str) -> Transcript:
    """One conversation. Raises `WrongShape`."""
    if value.get("format") != FORMAT:
        raise WrongShape(f"it is of the format {value.get('format')!r:.60}, written by a newer version")
    left: Counter[str] = Counter()
    rows = [checked(row, "a message", dict) for row in needed(value, "messages", list)]
    title = given(value, "title", "")
    inputs = object_of(value, "inputs")
    Fields(value).count_unread(left, _CONVERSATION)
    return Transcript(
        name=title or place,
        turns=[_turn(row, left) for row in rows],
        title=title,
        title_is_automatic=given(value, "title_is_automatic", not title),
        created_ms=time_ms(value.get("created_ms")),
        updated_ms=time_ms(value.get("updated_ms")),
        pinned=given(value, "pinned", False),
        model=given(value, "model", ""),
        template=given(value, "template", ""),
        inputs={name: checked(text, f"input {name}", str) for name, text in inputs.items()},
        sampling=_sampling(value),
        draft=given(value, "draft", ""),
        system=given(value, "system", ""),
        source=given(value, "source", ""),
        source_id=given(value, "source_id", ""),
        votes=[_vote(checked(one, "a vote", dict)) for one in list_of(value, "votes")],
        leaf=_key(value, "leaf_id"),
        exact=True,
        left=left,
    )


def _key(value: Mapping[str, Any], name: str) -> str | None:
    found = value.get(name)
    return None if found is None else str(checked(found, name, int))


def _ms(value: Mapping[str, Any], name: str) -> int | None:
    """Our own times are milliseconds, whatever their size."""
    found = value.get(name)
    return found if isinstance(found, int) and 0 <= found < LAST_MS else None


def _turn(row: Mapping[str, Any], left: Counter[str]) -> Turn:
    role, state = needed(row, "role", str), given(row, "state", "complete")
    if role not in ("user", "assistant") or state not in _STATES:
        raise WrongShape(f"a message has the role {role!r:.40} and the state {state!r:.40}")
    Fields(row, "messages.").count_unread(left, _MESSAGE)
    reply = object_of(row, "reply") if role == "assistant" else {}
    return Turn(
        key=str(needed(row, "id", int)),
        parent=_key(row, "parent_id"),
        role=role,
        content=needed(row, "content", str),
        created_ms=_ms(row, "created_ms"),
        updated_ms=_ms(row, "updated_ms"),
        state="interrupted" if state == "growing" else state,  # its writer is not here
        error=given(row, "error", ""),
        judgement=_judgement(object_of(row, "judgement")),
        corrects=_key(row, "corrects_id"),
        provenance=_true(_provenance(reply), left) if reply else None,
        outcome=_made(Outcome, object_of(reply, "outcome")) if reply else None,
    )


def _provenance(reply: Mapping[str, Any]) -> Provenance:
    made: dict[str, Any] = needed(reply, "provenance", dict)
    return _made(Provenance, {"seed": None, **made, "sampling": _sampling(made)})


def _sampling(value: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling settings, held to be plain values or lists of them."""
    settings = object_of(value, "sampling")
    for name, setting in settings.items():
        for one in setting if isinstance(setting, list) else [setting]:
            if isinstance(one, dict | list):
                raise WrongShape(f"the sampling setting {name!r:.40} is {kind_of(one)}")
    return settings


def _vote(value: Mapping[str, Any]) -> Vote:
    return Vote(
        str(needed(value, "chosen_id", int)),
        str(needed(value, "rejected_id", int)),
        given(value, "tie", False),
        given(value, "blind", False),
        _ms(value, "created_ms"),
        None if value.get("chosen_first") is None else given(value, "chosen_first", False),
    )


def _judgement(value: Mapping[str, Any]) -> Judgement:
    rating, decision = given(value, "rating", ratings.NONE.number), given(value, "decision", "undecided")
    if not ratings.is_known(rating) or decision not in _DECISIONS:
        raise WrongShape(f"a judgement has the rating {rating} and the decision {decision!r:.40}")
    tags = tuple(checked(tag, "a tag", str) for tag in list_of(value, "tags"))
    return Judgement(rating, decision, given(value, "note", ""), tags)


def _true(provenance: Provenance, left: Counter[str]) -> Provenance:
    """The provenance, with the hash that its template's text really has. Without the text the hash is all we know."""
    text = provenance.template_text
    real = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if text and provenance.template_hash != real:
        left["template hashes that were not those of the text, put right"] += 1
        return Provenance(**{**_plain(provenance), "template_hash": real})
    return provenance


def _made(kind: type[Made], value: Mapping[str, Any]) -> Made:
    """A `Provenance` or `Outcome` of what the file says, each field held to be of its kind."""
    return kind(**{one.name: _checked(one, value[one.name]) for one in fields(kind) if one.name in value or _need(one)})


def _need(field: "Field[Any]") -> bool:
    if field.default is MISSING and field.default_factory is MISSING:
        raise WrongShape(f"a reply has no {field.name!r}")
    return False


def _checked(field: "Field[Any]", value: Any) -> Any:
    name = str(field.type)
    if "Sequence" in name:
        return [_number(one, field.name, whole="int" in name, bits=32) for one in checked(value, field.name, list)]
    if "str" in name and "dict" not in name:
        return checked(value, field.name, str)
    if "dict" in name:
        return checked(value, field.name, dict)
    if value is None and "None" in name:
        return None
    return _number(value, field.name, whole="int" in name, bits=64)


def _number(value: Any, name: str, *, whole: bool, bits: int) -> int | float:
    """A number that SQLite, or a list of 32-bit ones, can hold."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise WrongShape(f"{name!r} is {kind_of(value)}, not a{' whole' if whole else ''} number")
    if abs(value) >= 2 ** (bits - 1) or not math.isfinite(value):
        raise WrongShape(f"{name!r} is {value!r:.40}, too large a number")
    return value


CONVERSATION = Format("json", "our own export", is_one, lambda value, origin: read(value, origin.place))
