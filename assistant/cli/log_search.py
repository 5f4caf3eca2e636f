"""`assistant log search` and `next`: exchanges found by their words, by all that is known of them, or by need."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from assistant import ratings
from assistant.cli.filter_options import filter_options
from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, print_json, print_table
from assistant.safe_text import printable, shorten
from assistant.store.search.filter import COLUMNS, Filter, Sort

if TYPE_CHECKING:
    from assistant.cli.log_meaning import By
    from assistant.store.search.exchanges import Exchange
    from assistant.store.search.search import Hit


@click.command("search")
@click.argument("words", nargs=-1)
@filter_options
@click.option(
    "--by",
    type=click.Choice(["words", "meaning", "both"]),
    default="words",
    show_default=True,
    help="What is compared: the words, what they mean, or both.",
)
@click.option("--sort", type=click.Choice(list(COLUMNS)), default="time", show_default=True, help="Column to sort by.")
@click.option("--ascending", is_flag=True, help="The smallest or oldest first.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many at most.")
@click.option("--offset", type=click.IntRange(0), default=0, help="How many to pass over; not together with words.")
@click.option("--before", type=int, help="Go on before this message, as next_before of --json tells.")
@as_json
def search_(
    words: tuple[str, ...],
    filter_: Filter,
    by: "By",
    sort: Sort,
    ascending: bool,
    limit: int,
    offset: int,
    before: int | None,
    as_json: bool,
) -> None:
    """Search what was said, or without WORDS list every exchange that passes.

    All words must occur, in any order; Chinese needs no spaces. "Quotes" hold a phrase together, a - before excludes
    (after --), OR between two is a choice. By meaning, WORDS are a sentence, and the nearest comes first; what is said
    while a window is open gets known by itself, all else by `assistant log index`.
    """
    from assistant.store.search import exchanges, search

    typed = " ".join(words)
    if by != "words":
        if sort != "time" or ascending or offset or before is not None:
            raise click.UsageError(f"--by {by} has an order of its own: leave --sort, --offset and the like away.")
        _search_meaning(typed, by, filter_, limit, as_json=as_json)
        return
    with opened_log() as db:
        if typed:
            found = search.search(
                db, typed, filter_, sort=sort, descending=not ascending, limit=limit, before=before, as_typed=False
            )
            count = search.count(db, typed, filter_, as_typed=False)
        else:
            rows = exchanges.page(db, filter_, sort=sort, descending=not ascending, limit=limit, offset=offset)
            count = exchanges.count(db, filter_)
    if not typed:
        _print_exchanges(rows, count, as_json=as_json)
    elif as_json:
        print_json({"count": count, "next_before": found.next_before, "hits": [asdict(hit) for hit in found.hits]})
    else:
        for hit in found.hits:
            click.echo(_told(hit))
        click.echo(f"{len(found.hits)} of {_counted(count)}", err=True)


def _search_meaning(typed: str, by: "By", filter_: Filter, limit: int, *, as_json: bool) -> None:
    from assistant.cli.log_meaning import find

    if not typed.strip():
        raise click.UsageError(f"--by {by} needs words to search for.")
    with opened_log() as db:
        hits = find(db, typed, by, filter_, limit).hits
    if as_json:
        print_json({"count": len(hits), "next_before": None, "hits": [asdict(hit) for hit in hits]})
        return
    for hit in hits:
        click.echo(_told(hit))
    click.echo(f"the {len(hits)} nearest" if hits else "Nothing like it.", err=True)


def _print_exchanges(rows: "list[Exchange]", count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"count": count, "exchanges": [asdict(row) for row in rows]})
        return
    if rows:
        headings = ["id", "when", "model", "you", "reply", "surprise", "rating", "tags"]
        print_table([_row(row) for row in rows], headings)
    click.echo(f"{len(rows)} of {count:,}", err=True)


def _row(row: "Exchange") -> list[str]:
    surprise = "" if row.surprise is None else f"{row.surprise:.2f}"
    texts = [shorten(" ".join(text.split()), 30) for text in (row.prompt, row.reply)]
    return [
        str(row.message_id),
        _time(row.created_ms),
        shorten(row.model, 24),
        *texts,
        surprise,
        ratings.of(row.rating).sign,
        ", ".join(row.tags),
    ]


def _told(hit: "Hit") -> str:
    rated = f"  {ratings.of(hit.exchange.rating).sign}" if hit.exchange else ""
    who = "you" if hit.role == "user" else "assistant"
    title = shorten(hit.title or f"conversation {hit.conversation_id}", 50)
    near = "" if hit.similarity is None else f"  {hit.similarity:.2f}"
    about = f"{hit.message_id}  {_time(hit.created_ms)}  {who}{rated}{near}  {title}"
    text = "".join(
        click.style(printable(part), bold=True) if is_hit else printable(part) for part, is_hit in hit.snippet
    )
    return f"{printable(about, newlines=False)}\n    {text}"


def _counted(count: int) -> str:
    return "10,000+" if count >= 10_000 else f"{count:,}"


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000).strftime("%Y-%m-%d %H:%M")


@click.command("next")
@click.option("--doubles", is_flag=True, help="The next group of doubles, as `assistant log doubles` found them last.")
@filter_options
@as_json
def next_(doubles: bool, filter_: Filter, as_json: bool) -> None:
    """Show what to judge next: the unjudged replies of the conversation with the most surprising one."""
    from assistant.store.judgements import curation_queue
    from finetune.prove import enough

    with opened_log() as db:
        rows = curation_queue.doubles_up_next(db, filter_) if doubles else curation_queue.up_next(db, filter_)
        progress, shows = curation_queue.progress(db, filter_), enough.sentence(db)
    if as_json:
        print_json({**asdict(progress), "enough": shows, "exchanges": [asdict(row) for row in rows]})
        return
    for row in rows:
        click.echo(f"{row.message_id}  {_time(row.created_ms)}  {printable(shorten(row.title, 50), newlines=False)}")
        for text in (row.prompt, row.reply):
            click.echo(f"    {printable(shorten(' '.join(text.split()), 300), newlines=False)}")
    click.echo(f"{progress.done:,} of {progress.total:,} judged · {shows}", err=True)
