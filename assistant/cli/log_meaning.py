"""`assistant log index`, and what `assistant log search --by meaning` needs: the model, and a question's vector."""

import asyncio
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Literal

import click

from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, counted, print_json
from assistant.errors import ModelError, ModelUnknown
from assistant.paths import Paths
from assistant.store.search.filter import Filter

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.settings import Settings
    from assistant.store.meaning.vectors import Vectors
    from assistant.store.search.search import Found

By = Literal["words", "meaning", "both"]


@click.command("index")
@as_json
def index(as_json: bool) -> None:
    """Make everything in the log findable by meaning now, rather than while a window is open. Ctrl-C stops; the next
    time it goes on from there.
    """
    from assistant.store.meaning.embedding_queue import open_vectors, progress

    paths, chosen = _settings()
    model = model_or_offer(paths, chosen)
    started = time.monotonic()
    with opened_log() as db, closing(open_vectors(db, model)) as vectors:
        texts = asyncio.run(_catch_up(paths, chosen, db, vectors, model))
        done, total = progress(db, vectors)
    if as_json:
        print_json({"texts": texts, "messages": done, "of": total, "seconds": round(time.monotonic() - started, 1)})
    else:
        click.echo(f"{done:,} of {counted(total, 'message')} can be found by meaning; {texts:,} texts were new.")


async def _catch_up(paths: Paths, chosen: "Settings", db: "Database", vectors: "Vectors", model: str) -> int:
    from assistant.client import Client
    from assistant.meaning_index import alone, catch_up
    from assistant.store.meaning.embedding_queue import progress

    shown_s = 0.0

    def told(_: int) -> None:
        nonlocal shown_s
        if sys.stderr.isatty() and time.monotonic() - shown_s > 0.5:
            shown_s = time.monotonic()
            done, total = progress(db, vectors)
            click.echo(f"\r\x1b[K{done:,} of {total:,} messages …", nl=False, err=True)

    try:
        with alone(paths) as free:
            if not free:
                raise ModelError("Another window of the assistant is at it already. Leave it to that, or close it.")
            async with Client(paths, chosen) as client:
                return await catch_up(db, vectors, client, model, told)
    finally:
        if shown_s:
            click.echo("\r\x1b[K", nl=False, err=True)


def model_or_offer(paths: Paths, chosen: "Settings") -> str:
    """The model for search by meaning; on a terminal it is offered where it isn't here. Raises a `ModelError`."""
    from assistant.cli.models import pull_with_progress
    from assistant.engine.models import catalogue
    from assistant.meaning_index import usable

    try:
        return usable(paths, chosen.meaning_model)
    except ModelUnknown as error:
        known = next((one for one in catalogue.CATALOGUE if one.name == chosen.meaning_model), None)
        if known is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        click.echo(str(error), err=True)
        if not click.confirm("Pull it now?", err=True):
            raise
        pull_with_progress(paths, known)
    return usable(paths, chosen.meaning_model)


def find(db: "Database", typed: str, by: By, filter_: Filter, limit: int) -> "Found":
    """Search by meaning, or by both; by words alone, with a sentence on stderr, where both were asked for and the model
    isn't here. Raises a `ModelError` where meaning alone was.
    """
    from assistant.store.meaning import meaning
    from assistant.store.meaning.embedding_queue import open_vectors, progress
    from assistant.store.search import search

    paths, chosen = _settings()
    try:
        model = model_or_offer(paths, chosen)
    except ModelError as error:
        if by == "meaning":
            raise
        click.echo(f"Found by words alone. {error}", err=True)
        return search.search(db, typed, filter_, limit=limit, as_typed=False)
    vector = asyncio.run(_vector(paths, chosen, model, typed))
    with closing(open_vectors(db, model)) as vectors:
        done, total = progress(db, vectors)
        if done < total:
            known = f"{done:,} of {counted(total, 'message')} can be found by meaning so far."
            click.echo(f"{known} The rest now: assistant log index", err=True)
        if by == "meaning":
            return meaning.by_meaning(db, vectors, vector, filter_, limit=limit)
        return meaning.hybrid(db, vectors, typed, vector, filter_, limit=limit, as_typed=False)


async def _vector(paths: Paths, chosen: "Settings", model: str, text: str) -> list[float]:
    from assistant.client import Client

    async with Client(paths, chosen) as client:
        return (await client.embed(model, [text]))[0]


def _settings() -> "tuple[Paths, Settings]":
    from assistant import settings

    paths = Paths.from_environment().create()
    return paths, settings.load(paths.config_file)
