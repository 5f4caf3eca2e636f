"""`assistant log replay`, and what `show` tells of one reply: how it came about, and its tokens."""

import asyncio
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from assistant import shades
from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, counted, print_json, print_table
from assistant.errors import AssistantError
from assistant.safe_text import printable

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.dialogue.replay import Replayed
    from assistant.events import Token

CONTEXT_CHARACTERS = 40
DIFFERS, REFUSED = 1, 2
"""Exit codes, as those of diff."""


@click.command("replay")
@click.argument("message_id", type=int)
@click.option("--store", is_flag=True, help="Keep what is made again as a sibling of the reply.")
@as_json
def replay(message_id: int, store: bool, as_json: bool) -> None:
    """Make a reply again as it was made, and tell whether it is the same.

    The same prompt, template, sampling, seed, model and adapter. Exit code 0: the same; 1: it differs, and where is
    shown; 2: it can't be made again, and why is said.
    """
    try:
        done = asyncio.run(_replay(message_id, store=store))
    except AssistantError as error:
        click.echo(f"assistant: {error}", err=True)
        raise click.exceptions.Exit(REFUSED) from None
    if as_json:
        print_json({"same": done.same, "differs_at": done.differs_at, **asdict(done)})
    else:
        _tell(done)
    if not done.same:
        raise click.exceptions.Exit(DIFFERS)


async def _replay(message_id: int, *, store: bool) -> "Replayed":
    from assistant import settings
    from assistant.client import Client
    from assistant.dialogue.replay import replay
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    with opened_log() as db:
        async with Client(paths, settings.load(paths.config_file)) as client:
            return await replay(db, client, paths, message_id, store=store)


def _tell(done: "Replayed") -> None:
    for note in done.notes:
        click.echo(f"Note: {note}.", err=True)
    if done.differs_at is None:
        click.echo(f"The same: {counted(len(done.stored), 'character')}.")
    else:
        start = max(0, done.differs_at - CONTEXT_CHARACTERS)
        click.echo(f"It differs from character {done.differs_at + 1:,} on.")
        for name, text in (("then", done.stored), ("now", done.text)):
            click.echo(f"  {name:<5}{_around(text, start, done.differs_at)}")
    if done.message_id is not None:
        click.echo(f"Stored as message {done.message_id}.")


def _around(text: str, start: int, at: int) -> str:
    """A line of the text about where it differs, which a | marks."""
    end = at + CONTEXT_CHARACTERS
    pieces = ("…" if start else "", text[start:at], "|", text[at:end], "…" if len(text) > end else "")
    return " ".join(printable("".join(pieces)).split("\n"))


def show_provenance(db: "Database", message_id: int, *, as_json: bool) -> None:
    """Print how a reply came about, and the text of its template as it was."""
    from assistant.store import messages, provenance

    if as_json:
        info = messages.reply_info(db, message_id)
        outcome = {name: value for name, value in asdict(info.outcome).items() if name not in _PER_TOKEN}
        speed = {"tokens_per_s": info.outcome.tokens_per_s}
        print_json({"message_id": message_id, "provenance": asdict(info.provenance), "outcome": {**outcome, **speed}})
        return
    for name, value in provenance.facts(db, message_id):
        click.echo(f"{name:<14} {printable(value, newlines=False)}")
    if text := messages.reply_info(db, message_id).provenance.template_text:
        click.echo(f"\n{printable(text)}", nl=not text.endswith("\n"))


_PER_TOKEN = ("token_ids", "token_lengths", "logprobs")


def show_tokens(db: "Database", message_id: int, *, alternatives: bool, as_json: bool) -> None:
    """Print a reply with its tokens shaded, or as a table where there are no colours or alternatives are wanted."""
    from assistant.dialogue import reply_tokens

    tokens = reply_tokens.stored(db, message_id)
    if alternatives or not tokens:
        tokens = asyncio.run(_read_again(db, message_id))
    if as_json:
        print_json([_plain(token) for token in tokens])
    elif alternatives or not _colours():
        _print_token_table(tokens, alternatives=alternatives)
    else:
        click.echo("".join(map(_shaded, tokens)) + "\n", color=True)
        legend = [f"{_paint(f' {shades.percent(logprob)} ', logprob)}" for logprob in (-0.05, -0.7, -2.3, -4.6, -7.0)]
        click.echo("".join(legend), color=True)


async def _read_again(db: "Database", message_id: int) -> "list[Token]":
    from assistant import settings
    from assistant.client import Client
    from assistant.dialogue import reply_tokens
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    async with Client(paths, settings.load(paths.config_file)) as client:
        return await reply_tokens.with_alternatives(db, client, paths, message_id)


def _plain(token: "Token") -> dict[str, Any]:
    told = asdict(token)
    del told["choice"]
    return told


def _colours() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"


def _shaded(token: "Token") -> str:
    """The token's text with its shade, which ends before a line does, so that it never runs to the edge."""
    lines = printable(token.text).split("\n")
    return "\n".join(_paint(line, token.logprob or 0.0) if line else "" for line in lines)


def _paint(text: str, logprob: float) -> str:
    code = shades.escape(logprob, truecolour=os.environ.get("COLORTERM") in ("truecolor", "24bit"))
    return f"{code}{text}{shades.RESET}" if code else text


def _print_token_table(tokens: "list[Token]", *, alternatives: bool) -> None:
    rows = []
    for number, token in enumerate(tokens, start=1):
        others = [f"{_quoted(top.text)} {shades.percent(top.logprob)}" for top in token.top]
        told = shades.percent(token.logprob or 0.0)
        rows.append([str(number), told.rjust(6), _quoted(token.text), *(["  ".join(others)] if alternatives else [])])
    print_table(rows, ["", "probable", "token", *(["likeliest in its place"] if alternatives else [])])


def _quoted(text: str) -> str:
    """With its spaces and line ends to be seen."""
    return printable(text).replace("\n", "⏎").replace(" ", "·") or "-"
