"""`assistant log rate`, `decide`, `tag`, `note`, `correct`, `prefer` and `undo`: judging replies from a shell."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from assistant import ratings
from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, print_json

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.judgements.curation import Decision


@click.command("rate")
@click.argument("message_id", type=int)
@click.argument("rating", type=click.Choice([one.word for one in ratings.EVERY]))
@as_json
def rate(message_id: int, rating: str, as_json: bool) -> None:
    """Call a reply good or bad, or take that back."""
    from assistant.store.judgements import curation

    with opened_log() as db:
        curation.rate(db, message_id, next(one.number for one in ratings.EVERY if one.word == rating))
        _print(db, message_id, as_json=as_json)


@click.command("decide")
@click.argument("message_id", type=int)
@click.argument("decision", type=click.Choice(["keep", "skip", "undecided"]))
@as_json
def decide(message_id: int, decision: "Decision", as_json: bool) -> None:
    """Keep a reply for training, or skip it."""
    from assistant.store.judgements import curation

    with opened_log() as db:
        curation.decide(db, message_id, decision)
        _print(db, message_id, as_json=as_json)


@click.command("tag")
@click.argument("message_id", type=int, required=False)
@click.argument("tags", nargs=-1)
@click.option("--remove", is_flag=True, help="Take these tags off.")
@as_json
def tag(message_id: int | None, tags: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Tag a message; without MESSAGE_ID list all tags there are."""
    from assistant.store.database import transaction
    from assistant.store.judgements import curation

    with opened_log() as db:
        if message_id is None:
            _print_tags(curation.all_tags(db), as_json=as_json)
            return
        with transaction(db):
            for name in tags:
                (curation.untag if remove else curation.tag)(db, message_id, name)
        _print(db, message_id, as_json=as_json)


def _print_tags(tags: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        print_json(tags)
        return
    for name, count in tags.items():
        click.echo(f"{count:>6,}  {name}")


@click.command("note")
@click.argument("message_id", type=int)
@click.argument("text")
@as_json
def note(message_id: int, text: str, as_json: bool) -> None:
    """Write a note on a message; an empty TEXT takes it away."""
    from assistant.store.judgements import curation

    with opened_log() as db:
        curation.note(db, message_id, text)
        _print(db, message_id, as_json=as_json)


@click.command("correct")
@click.argument("message_id", type=int)
@click.argument("text", required=False)
@as_json
def correct(message_id: int, text: str | None, as_json: bool) -> None:
    """Write what a reply should have said: TEXT, or what is on stdin. The reply stays beside it."""
    from assistant.store.judgements import curation

    with opened_log() as db:
        correction = curation.correct(db, message_id, sys.stdin.read() if text is None else text)
    if as_json:
        print_json({"message_id": correction, "corrects_id": message_id})
    else:
        click.echo(f"message {correction} corrects {message_id}")


@click.command("prefer")
@click.argument("chosen_id", type=int)
@click.argument("rejected_id", type=int)
@click.option("--tie", is_flag=True, help="Neither is better.")
@as_json
def prefer(chosen_id: int, rejected_id: int, tie: bool, as_json: bool) -> None:
    """Vote for one of two replies to the same prompt."""
    from assistant.store.judgements import curation

    with opened_log() as db:
        curation.prefer(db, chosen_id, rejected_id, tie=tie)
        votes = curation.preferences(db, chosen_id)
    if as_json:
        print_json(asdict(votes[-1]))
    else:
        click.echo(f"{chosen_id} {'as good as' if tie else 'rather than'} {rejected_id}")


@click.command("undo")
@click.option("--redo", is_flag=True, help="Do again what was undone last.")
@as_json
def undo(redo: bool, as_json: bool) -> None:
    """Undo the last act of judging: a rating, decision, tag, note, correction or vote."""
    from assistant.store.judgements import curation

    with opened_log() as db:
        told = curation.redo(db) if redo else curation.undo(db)
    if as_json:
        print_json({"done": told})
    else:
        click.echo(told or f"Nothing to {'redo' if redo else 'undo'}.")


def _print(db: "Database", message_id: int, *, as_json: bool) -> None:
    """What is thought of the message now."""
    from assistant.store.judgements import curation

    judgement = curation.judgement(db, message_id)
    if as_json:
        print_json({"message_id": message_id, **asdict(judgement)})
        return
    rating = ratings.of(judgement.rating).word
    words = [f"rating {rating}", judgement.decision, *(f"#{name}" for name in judgement.tags)]
    click.echo(f"message {message_id}: {', '.join(words)}")
