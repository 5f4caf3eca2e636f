"""`assistant log`: list and show what was said. Its other commands are in the `log_` files beside this one."""

from dataclasses import asdict
from datetime import datetime

import click

from assistant.cli import (
    log_curate,
    log_doubles,
    log_exchange,
    log_meaning,
    log_redact,
    log_reply,
    log_search,
    log_upkeep,
)
from assistant.cli.filter_options import filter_options
from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, print_json, print_table
from assistant.safe_text import printable, shorten
from assistant.store.search.filter import EVERYTHING, Filter


@click.group("log")
def command() -> None:
    """Find, judge, import, export and keep what was said."""


for _command in (
    *(log_exchange.import_, log_exchange.export_),
    *(log_search.search_, log_search.next_, log_meaning.index, log_doubles.doubles_),
    *(log_curate.rate, log_curate.decide, log_curate.tag, log_curate.note),
    log_reply.replay,
    log_redact.redact,
    *(log_curate.correct, log_curate.prefer, log_curate.undo),
    *(log_upkeep.backup, log_upkeep.restore, log_upkeep.check, log_upkeep.vacuum, log_upkeep.stats, log_upkeep.delete),
):
    command.add_command(_command)


@command.command("list")
@click.option("-n", "--limit", default=20, show_default=True, help="How many at most; 0 for all.")
@click.option("-s", "--search", default="", help="Only those whose title holds this text.")
@filter_options
@as_json
def list_(limit: int, search: str, filter_: Filter, as_json: bool) -> None:
    """List conversations: pinned ones first, then the newest first. Filters: those with a reply that passes."""
    from assistant.store import conversations
    from assistant.store.search import exchanges

    with opened_log() as db:
        holding = exchanges.conversations(filter_) if filter_ != EVERYTHING else None
        found = conversations.page(db, 0, limit if limit > 0 else -1, search, holding)
    if as_json:
        print_json([asdict(conversation) for conversation in found])
    elif not found:
        click.echo(
            "No conversations yet." if not search and filter_ == EVERYTHING else "No such conversation.", err=True
        )
    else:
        rows = [
            [str(one.id), _time(one.updated_ms), one.model, ("* " if one.pinned else "") + shorten(one.title, 60)]
            for one in found
        ]
        print_table(rows, ["id", "when", "model", "title"])


@command.command("show")
@click.argument("id_", type=int, metavar="ID")
@click.option("--provenance", is_flag=True, help="How the reply ID came about: model, template, sampling, seed, speed.")
@click.option("--tokens", is_flag=True, help="The reply ID, each token shaded by how probable it was.")
@click.option("--alternatives", is_flag=True, help="With --tokens: the likeliest in the place of each; asks the model.")
@as_json
def show(id_: int, provenance: bool, tokens: bool, alternatives: bool, as_json: bool) -> None:
    """Show the conversation ID: its open path as Markdown, or all of it with --json.

    With --provenance or --tokens ID is that of a reply, as `search` lists them.
    """
    from assistant.store.files.exports import export

    if provenance and (tokens or alternatives):
        raise click.UsageError("Give either --provenance or --tokens.")
    with opened_log() as db:
        if provenance:
            log_reply.show_provenance(db, id_, as_json=as_json)
        elif tokens or alternatives:
            log_reply.show_tokens(db, id_, alternatives=alternatives, as_json=as_json)
        elif as_json:
            print_json(export.as_json(db, id_))
        else:
            click.echo(printable(export.as_markdown(db, id_)), nl=False)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000).strftime("%Y-%m-%d %H:%M")
