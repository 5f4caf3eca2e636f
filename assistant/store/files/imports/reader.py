"""The conversations of a file, of whatever format it is.

Every value of a file is shown to every program's format, so that a file may mix them; a value that two programs could
have written is left out, with both named. A value that no program claims is a row of a data set, a message whose
conversation is gathered, or an object that holds conversations.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from assistant.errors import ImportRefused
from assistant.store.files import markdown
from assistant.store.files.databases.opened import opened, tables
from assistant.store.files.imports.file_format import Origin
from assistant.store.files.imports.formats import CONVERSATIONS, DATABASES, KNOWN, MESSAGES
from assistant.store.files.imports.gathered import Gathered
from assistant.store.files.rows import row
from assistant.store.files.rows.dataset_info import Columns
from assistant.store.files.transcript import LeftOut, Transcript, WrongShape
from assistant.store.files.values import parquet
from assistant.store.files.values.fields import Fields, kind_of
from assistant.store.files.values.json_values import Broken, BrokeOff, values
from assistant.store.files.values.message import conversation_of, is_message, sides
from assistant.store.files.values.source import Source


class UnknownFormat(ImportRefused):
    """A file that holds no conversation in a format that is known. `why` says what it is instead."""

    def __init__(self, source: Source, why: str) -> None:
        super().__init__(f"{source.label}: {why}. {KNOWN}")
        self.why = why


Read = tuple[str, Transcript | LeftOut | BrokeOff]
"""The name of a format, and what was read."""

_LOOKED_AT = 20
"""Values that are looked at before a file is refused for holding no conversation: the first ones may be broken."""
_DEPTH = 3
"""How deep objects with conversations may be nested."""


def read(source: Source, *, salvage: bool = False) -> Iterator[Read]:
    """The conversations of the file, one in memory at a time. `UnknownFormat` and `ImportRefused` may be raised."""
    if source.is_sqlite:
        yield from _database(source)
    elif source.is_parquet:
        yield from _json(source, parquet.rows(source))
    else:
        with source.text(salvage=salvage) as text:
            head = text.read(4096)
        with source.text(salvage=salvage) as text:
            source.done_bytes = 0
            if not head.strip():
                raise UnknownFormat(source, "it is empty")
            if head.lstrip().startswith(("{", "[")):
                yield from _json(source, values(text))
            elif markdown.is_one(head):
                yield from (("markdown", one) for one in markdown.read(text))
            else:
                raise UnknownFormat(source, "it is of no format that can be imported")


def _database(source: Source) -> Iterator[Read]:
    with opened(source.path) as db:
        there = tables(db)
        if "_sqlite_migrations" in there and {"replies", "outcomes"} & there.keys():
            raise ImportRefused(
                f"{source.label} is a log of this program. Export it with `ASSISTANT_HOME` set to its home and "
                "`assistant log export -o all.jsonl`, and import that."
            )
        found = [one for one in DATABASES if one.matches(there)]
        if not found:
            raise UnknownFormat(source, "it is a database of another program")
        for one in found:
            yield from ((one.name, transcript) for transcript in one.read(db))


def _json(source: Source, found: Iterator[tuple[str, Any]]) -> Iterator[Read]:
    columns = Columns(source)
    named = ((place, columns.renamed(value)) for place, value in found)
    looked_at = list(islice(named, _LOOKED_AT))
    if not any(isinstance(value, BrokeOff) or _is_known(value) for _, value in looked_at):
        raise UnknownFormat(source, f"it is JSON and holds no conversation: {_seen(looked_at)}")
    with closing(Gathered()) as gathered:
        for place, value in chain(looked_at, named):
            if isinstance(value, BrokeOff):
                yield "", value
            else:
                yield from _value(value, Origin(place, source), gathered)
        for format_, place, messages in gathered.groups():
            yield _gathered(format_, messages, Origin(f"the conversation that begins in {place}", source))


def _seen(looked_at: Sequence[tuple[str, Any]]) -> str:
    if not looked_at:
        return "it is an empty list"
    place, value = looked_at[0]
    if isinstance(value, Broken):
        return f"{place}: {value.reason}"
    if isinstance(value, dict):
        return f"its first object has {_names(value)}"
    return f"its first value is {kind_of(value)}"


def _names(value: Mapping[str, Any]) -> str:
    names = ", ".join(repr(name[:30]) for name in list(value)[:8])
    return f"the fields {names}" if names else "no fields"


def _is_known(value: object, depth: int = _DEPTH) -> bool:
    """Whether a value is a conversation or a part of one, or holds some."""
    if isinstance(value, list):
        return bool(value) and is_message(value[0])
    if not isinstance(value, dict):
        return False
    known = any(one.matches(value) for one in (*CONVERSATIONS, *MESSAGES)) or row.is_row(value)
    return known or is_message(value) or row.are_messages(value) or _wrapper(value, depth) is not None


def _wrapper(value: Mapping[str, Any], depth: int) -> tuple[str, list[Any]] | None:
    """(the field of an object that holds conversations, those conversations); None where none does.

    Of an object whose fields are all conversations the name is "".
    """
    if depth == 0:
        return None
    inners = list(value.values())
    if len(inners) > 1 and all(_is_conversation(one, depth - 1) for one in inners[:3]):
        return "", inners
    for name, inner in value.items():
        items = inner if isinstance(inner, list) else [inner]
        if items and _is_conversation(items[0], depth - 1) and not (name in row.MESSAGES and sides(items[0])):
            return name, items
    return None


def _is_conversation(value: object, depth: int) -> bool:
    return isinstance(value, dict) and not is_message(value) and _is_known(value, depth)


def _value(value: object, origin: Origin, gathered: Gathered, depth: int = _DEPTH) -> Iterator[Read]:
    name = f"{origin.place}, {title!r}" if (title := _title(value)) else origin.place
    try:
        if isinstance(value, dict):
            yield from _object(value, origin, gathered, depth)
        elif isinstance(value, list) and value and is_message(value[0]):
            yield "openai", row.messages_alone(value, origin.place)
        else:
            reason = value.reason if isinstance(value, Broken) else f"it is {kind_of(value)}, not an object"
            yield "", LeftOut(name, reason)
    except WrongShape as error:
        yield "", LeftOut(name, str(error))
    except RecursionError:  # quoting what is nested nearly as deeply as the decoder takes
        yield "", LeftOut(name, "it is nested too deeply")


def _object(value: dict[str, Any], origin: Origin, gathered: Gathered, depth: int) -> Iterator[Read]:
    whole = [one for one in CONVERSATIONS if one.matches(value)]
    parts = [one for one in MESSAGES if one.matches(value)]
    names = [*(one.name for one in whole), *(one.name for one in parts)]
    if len(names) > 1:
        raise WrongShape(
            f"it looks like a conversation of {' and of '.join(names)}. Import the files of each program by themselves"
        )
    if whole:
        yield whole[0].name, whole[0].read(value, origin)
    elif parts:
        gathered.add(parts[0].name, parts[0].key(value), value, origin.place)
    elif (wrapper := _wrapper(value, depth)) is not None and not _is_plain_row(value, wrapper[0]):
        yield from _wrapped(value, *wrapper, origin, gathered, depth)
    elif row.is_row(value):
        yield row.source_of(value), row.read(value, origin.place)
    elif row.are_messages(value):
        yield "openai", row.messages_alone(row.by_name(value), origin.place)
    elif is_message(value):
        gathered.add("openai", conversation_of(value), value, origin.place)
    else:
        raise WrongShape(f"it is no conversation: it has {_names(value)}")


def _is_plain_row(value: Mapping[str, Any], name: str) -> bool:
    """Whether a value is a row without the field of that name, too."""
    return row.is_row({other: inner for other, inner in value.items() if other != name})


def _wrapped(
    value: Mapping[str, Any], name: str, items: list[Any], origin: Origin, gathered: Gathered, depth: int
) -> Iterator[Read]:
    """The conversations in a field of an object. The other fields are added to a single conversation."""
    beside = {other: inner for other, inner in value.items() if name and other != name}
    if isinstance(value.get(name), dict):
        yield from _value({**beside, **value[name]}, origin, gathered, depth - 1)
        return
    left: Counter[str] = Counter()
    Fields(beside).count_unread(left)
    for number, item in enumerate(items, start=1):
        inner_origin = Origin(f"{origin.place}, {name[:30] or 'field'} {number}", origin.source)
        for format_, one in _value(item, inner_origin, gathered, depth - 1):
            if isinstance(one, Transcript):
                one, left = replace(one, left=Counter(one.left) + left), Counter()
            yield format_, one


def _title(value: object) -> str:
    title = value.get("title") or value.get("name") if isinstance(value, dict) else None
    return " ".join(title.split())[:60] if isinstance(title, str) else ""


def _gathered(format_: str, messages: list[Any], origin: Origin) -> Read:
    program = next((one for one in MESSAGES if one.name == format_), None)
    try:
        made = row.messages_alone(messages, origin.place) if program is None else program.read(messages, origin)
    except WrongShape as error:
        return "", LeftOut(origin.place, str(error))
    return format_, made
