"""`assistant log`: list, show, import and export what was said."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from assistant.cli.exchange import export_, import_
from assistant.cli.output import as_json, print_json, print_table
from assistant.paths import Paths
from assistant.safe_text import printable, shorten

if TYPE_CHECKING:
    from sqlite_utils import Database


@click.group("log")
def command() -> None:
    """List, show, import and export what was said."""


command.add_command(import_)
command.add_command(export_)


@contextmanager
def _log() -> "Iterator[Database]":
    from assistant.store.database import open_database

    db = open_database(Paths.from_environment().create().database)
    try:
        yield db
    finally:
        db.close()


@command.command("list")
@click.option("-n", "--limit", default=20, show_default=True, help="How many at most; 0 for all.")
@click.option("-s", "--search", default="", help="Only those whose title holds this text.")
@as_json
def list_(limit: int, search: str, as_json: bool) -> None:
    """List conversations: pinned ones first, then the newest first."""
    from assistant.store import conversations

    with _log() as db:
        found = conversations.page(db, 0, limit if limit > 0 else -1, search)
    if as_json:
        print_json([asdict(conversation) for conversation in found])
    elif not found:
        click.echo("No conversations yet." if not search else f"No conversation's title holds {search!r}.", err=True)
    else:
        rows = [
            [str(one.id), _time(one.updated_ms), one.model, ("* " if one.pinned else "") + shorten(one.title, 60)]
            for one in found
        ]
        print_table(rows, ["id", "when", "model", "title"])


@command.command("show")
@click.argument("conversation_id", type=int)
@as_json
def show(conversation_id: int, as_json: bool) -> None:
    """Show one conversation: its open path as Markdown, or all of it with --json."""
    from assistant.store import export

    with _log() as db:
        if as_json:
            print_json(export.as_json(db, conversation_id))
        else:
            click.echo(printable(export.as_markdown(db, conversation_id)), nl=False)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000).strftime("%Y-%m-%d %H:%M")
