"""`assistant log redact`: personal data in the log, looked through, and taken out of it when that is asked for."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from assistant.cli.filter_options import filter_options
from assistant.cli.log_upkeep import agree, tell_copies, yes
from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, counted, print_json
from assistant.safe_text import printable, shorten
from assistant.store.search.filter import EVERYTHING, Filter

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.redaction.apply import Applied
    from assistant.store.redaction.redactor import Redactor
    from assistant.store.redaction.review import Found

KINDS = ("word", "secret", "email", "iban", "card", "id", "phone", "ip", "address", "name")
"""Those of `assistant.redaction`, which is not imported here; a test holds them to be the same."""

words_option = click.option(
    "--word", "words", multiple=True, help="Redact this too; redact_words of config.toml holds."
)
kinds_option = click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only such; given several times, any of them."
)


def redactor(db: "Database", words: Sequence[str], kinds: Sequence[str] = ()) -> "Redactor":
    """For one command: with the words given and those of config.toml."""
    from assistant import settings
    from assistant.paths import Paths
    from assistant.store.redaction.redactor import Redactor

    chosen = settings.load(Paths.from_environment().config_file)
    return Redactor(db, words=(*words, *chosen.redact_words), kinds=kinds or KINDS)


@click.command("redact")
@click.argument("conversation_ids", type=int, nargs=-1)
@kinds_option
@words_option
@click.option("--review", is_flag=True, help="Ask of each value whether it is personal, and remember what is not.")
@click.option("--not-personal", multiple=True, metavar="VALUE", help="Remember that this is none; no list follows.")
@click.option("--personal", multiple=True, metavar="VALUE", help="Forget that this is none.")
@click.option("--apply", is_flag=True, help="Put placeholders into the log itself, for good.")
@yes
@filter_options
@as_json
def redact(
    conversation_ids: tuple[int, ...],
    kinds: tuple[str, ...],
    words: tuple[str, ...],
    review: bool,
    not_personal: tuple[str, ...],
    personal: tuple[str, ...],
    apply: bool,
    yes: bool,
    as_json: bool,
    filter_: Filter,
) -> None:
    """List the personal data in the log, or in these conversations: what `export --redact` would replace.

    Found are mail addresses, telephone numbers, national ids, cards, IBANs, IP addresses, keys and passwords, postal
    addresses, and names where somebody tells theirs. Other names are found as --word. With filters: in conversations
    that hold such a reply.

    --apply rewrites the log: messages, titles, notes, tags, index and free space. It can't be undone. Backups are not
    touched, but named.
    """
    if not_personal or personal:
        _decide(not_personal, personal, words, as_json=as_json)
        return
    with opened_log() as db:
        ids = _ids(db, conversation_ids)
        found = _found(db, ids, redactor(db, words, kinds), filter_)
        if review:
            _ask(db, found, words)
        elif apply:
            _apply(
                db, ids, found, redactor(db, words, kinds), filter_, whole=not conversation_ids, yes=yes, json=as_json
            )
        elif as_json:
            print_json([asdict(one) for one in found])
        else:
            _list(found)


def _ids(db: "Database", asked: tuple[int, ...]) -> list[int]:
    from assistant.store import conversations
    from assistant.store.redaction.review import everything

    return [conversations.get(db, one).id for one in asked] or everything(db)


def _found(db: "Database", ids: list[int], redactor: "Redactor", filter_: Filter) -> "list[Found]":
    from assistant.store.redaction.review import review

    return review(db, ids, redactor, filter_)


def _list(found: "list[Found]") -> None:
    for one in found:
        click.echo(f"{one.kind:<8} {one.count:>5,}  {_line(one.value)}")
        click.echo(f"                {_context(one)}")
    click.echo(f"{counted(len(found), 'value')}, {counted(sum(one.count for one in found), 'place')}", err=True)


def _context(one: "Found") -> str:
    place = one.places[0]
    where = f"conversation {place.conversation_id}" + (f", message {place.message_id}" if place.message_id else "")
    return f"{where}, {place.where}: {_line(place.before)}[{_line(place.value)}]{_line(place.after)}"


def _line(text: str) -> str:
    return " ".join(printable(text).splitlines())


def _decide(not_personal: tuple[str, ...], personal: tuple[str, ...], words: tuple[str, ...], *, as_json: bool) -> None:
    from assistant.store.redaction.redactor import decide

    with opened_log() as db:
        known = decide(db, not_personal, personal=False, words=words) + decide(db, personal, personal=True, words=words)
    if as_json:
        print_json({"not_personal": list(not_personal), "personal": list(personal)})
        return
    for value in not_personal:
        click.echo(f"{shorten(value, 60)} is left as it is from now on.")
    for value in personal:
        click.echo(f"{shorten(value, 60)} is redacted again.")
    if known < len(not_personal) + len(personal):
        click.echo("Note: not each of them is taken for personal data by itself.", err=True)


def _ask(db: "Database", found: "list[Found]", words: tuple[str, ...]) -> None:
    """One question for each value; what was answered stays, whenever it is broken off."""
    from assistant.store.redaction.redactor import decide

    for number, one in enumerate(found, start=1):
        click.echo(f"\n{number} of {len(found)}: {one.kind}, {counted(one.count, 'place')}\n  {_context(one)}")
        answer = click.prompt("Personal?", type=click.Choice(["y", "n", "q"]), default="y")
        if answer == "q":
            return
        if answer == "n":
            decide(db, [one.value], personal=False, words=words)


def _apply(
    db: "Database",
    ids: list[int],
    found: "list[Found]",
    redactor: "Redactor",
    filter_: Filter,
    *,
    whole: bool,
    yes: bool,
    json: bool,
) -> None:
    from assistant.store.files.exports import stored
    from assistant.store.redaction.apply import apply

    agree(f"Replace {counted(len(found), 'value')} in the log itself, for good?", yes=yes)
    if filter_ != EVERYTHING:
        ids = [one.fields["id"] for one in stored.read(db, ids, filter_=filter_)]
        whole = False
    done = apply(db, ids, redactor, whole=whole)
    if json:
        print_json({**asdict(done), "copies": list(map(str, done.copies))})
    else:
        _tell(done)
    if not done.erased:
        raise click.exceptions.Exit(1)


def _tell(done: "Applied") -> None:
    values, places = counted(done.values, "value"), counted(done.places, "place")
    click.echo(f"{values} replaced in {places} of {counted(done.conversations, 'conversation')}.")
    if not done.erased:
        click.echo(
            "Another program is reading the log, so the old bytes still lie in its -wal file. "
            "Close it, then: assistant log vacuum",
            err=True,
        )
    tell_copies([str(copy) for copy in done.copies])
