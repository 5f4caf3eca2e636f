"""Conversations of the log as text in one of the formats, a piece at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from sqlite_utils import Database

from assistant.store.files import markdown, own
from assistant.store.files.exports import csv_table, html_page, kto, openai, preference, sharegpt, stored
from assistant.store.files.exports.stored import Stored
from assistant.store.search.filter import EVERYTHING, Filter

if TYPE_CHECKING:
    from assistant.store.redaction.redactor import Redactor

_WRITERS: dict[str, Callable[[Stored], Iterator[str]]] = {
    "json": own.write,
    "openai": openai.write,
    "sharegpt": sharegpt.write,
    "preference": preference.write,
    "kto": kto.write,
    "markdown": markdown.write,
    "html": html_page.write,
    "csv": csv_table.write,
}
FORMATS = tuple(_WRITERS)
_TO_READ = ("markdown", "html")
_HEADS = {"html": html_page.head, "csv": csv_table.head}
_TAILS = {"html": html_page.tail}


def export(
    db: Database,
    ids: Iterable[int],
    format_: str,
    filter_: Filter = EVERYTHING,
    redactor: "Redactor | None" = None,
    among: Mapping[int, Iterable[int]] | None = None,
) -> Iterator[str]:
    """The conversations of these ids in that format, memory bounded by a batch of them.

    With a filter, those that hold a reply which passes; data sets (openai, sharegpt, preference, kto, csv) then have
    such replies alone, with what led to them, on whatever branch. `among` is another filter: the replies of each
    conversation that pass it, such as `search.all_replies` finds. A redactor's placeholders stand for personal data.
    """
    if format_ in _HEADS:
        yield _HEADS[format_]()
    write = _WRITERS[format_]
    first = True
    for conversation in stored.read(db, ids, filter_=filter_, among=among, whole=format_ == "json"):
        if redactor is not None:
            from assistant.store.redaction.exported import redacted  # 80 ms of patterns

            conversation = redacted(conversation, redactor)
        if format_ in _TO_READ and not conversation.path:  # nothing was said in it
            continue
        if format_ == "markdown" and not first:
            yield "\n"
        first = False
        yield from write(conversation)
    if format_ in _TAILS:
        yield _TAILS[format_]()
