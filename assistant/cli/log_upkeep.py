"""`assistant log backup`, `restore`, `check`, `vacuum`, `stats` and `delete`: keeping the log well."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assistant.cli.filter_options import moment
from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, counted, human_bytes, print_json
from assistant.errors import AssistantError

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.training.learned import Learned

yes = click.option("-y", "--yes", is_flag=True, help="Don't ask first.")


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@as_json
def backup(file: Path | None, as_json: bool) -> None:
    """Copy the log to FILE, else to a new file beside it. Other programs may write meanwhile."""
    from assistant.store.database import backup, free_name, path_of

    with opened_log() as db:
        to = file or free_name(Path(path_of(db)), "backup")
        if to.exists():
            raise AssistantError(f"{to} exists already. Choose another name, so that nothing is overwritten.")
        backup(db, to)
    size = to.stat().st_size
    if as_json:
        print_json({"file": str(to), "bytes": size})
    else:
        click.echo(f"{to}  {human_bytes(size)}")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@yes
@as_json
def restore(file: Path, yes: bool, as_json: bool) -> None:
    """Put the backup FILE in place of the log. What there was is kept beside it."""
    from assistant.store import upkeep

    agree(f"Put {file} in place of all that is in the log?", yes=yes)
    with opened_log() as db:
        kept = upkeep.restore(db, file)
    if as_json:
        print_json({"restored": str(file), "kept": str(kept)})
    else:
        click.echo(f"{file} is the log now; what there was is kept in {kept}.")


@click.command("check")
@click.option("--repair", is_flag=True, help="Make the list of exchanges and the index of words again.")
@as_json
def check(repair: bool, as_json: bool) -> None:
    """Read the whole log and tell what is wrong with it."""
    from assistant.store import upkeep
    from assistant.store.schema import derived

    with opened_log() as db:
        if repair:
            derived.rebuild(db)
        found = upkeep.troubles(db)
    if as_json:
        print_json({"sound": not found, "troubles": found})
    else:
        click.echo("\n".join(found) or "The log is sound.")
    if found:
        raise click.exceptions.Exit(1)


@click.command("vacuum")
@as_json
def vacuum(as_json: bool) -> None:
    """Give the disk back what deleted text has left free."""
    from assistant.store import upkeep

    with opened_log() as db:
        before, after = upkeep.vacuum(db)
    if as_json:
        print_json({"bytes_before": before, "bytes_after": after})
    else:
        click.echo(f"{human_bytes(before)} before, {human_bytes(after)} after")


@click.command("stats")
@as_json
def stats(as_json: bool) -> None:
    """Tell how much is in the log."""
    from assistant.store import upkeep

    with opened_log() as db:
        found = upkeep.stats(db)
    if as_json:
        print_json(asdict(found))
        return
    click.echo(
        f"{counted(found.conversations, 'conversation')}, {counted(found.messages, 'message')}, "
        f"{found.replies:,} of them replies"
    )
    click.echo(f"{human_bytes(found.text_bytes)} of text in a file of {human_bytes(found.file_bytes)}")
    click.echo(f"{found.good:,} good, {found.bad:,} bad, {found.kept:,} kept, {found.skipped:,} skipped")
    click.echo(f"{counted(found.corrections, 'correction')}, {counted(found.votes, 'vote')}, {found.tagged:,} tagged")
    for model, count in found.models.items():
        click.echo(f"{count:>9,}  {model or 'written or imported'}")


@click.command("delete")
@click.argument("conversation_ids", type=int, nargs=-1)
@click.option("--message", "message_id", type=int, help="Delete this message and all that was said after it.")
@click.option("--before", callback=moment, metavar="DATE", help="Delete the conversations that ended before this time.")
@yes
@as_json
def delete(
    conversation_ids: tuple[int, ...], message_id: int | None, before: int | None, yes: bool, as_json: bool
) -> None:
    """Delete conversations for good, from the log and its index. It can't be undone.

    Backups are not touched, but named. So are the datasets and adapters that learned from what goes.
    """
    from assistant.store import deletion
    from assistant.store.training import learned

    if [bool(conversation_ids), message_id is not None, before is not None].count(True) != 1:
        raise click.UsageError("Name conversations, or give --message or --before: one of the three.")
    with opened_log() as db:
        if message_id is not None:
            there = _there(db, message_id)
            gone_from = learned.from_messages(db, there)
            _agree(f"Delete {counted(len(there), 'message')} for good?", gone_from, yes=yes)
            gone = {"messages": deletion.delete_message(db, message_id)}
        else:
            ids = _conversations(db, conversation_ids, before)
            gone_from = learned.from_conversations(db, ids)
            if ids:
                _agree(f"Delete {counted(len(ids), 'conversation')} for good?", gone_from, yes=yes)
            gone = {"conversations": deletion.delete_conversations(db, ids)}
        copies = [str(copy) for copy in deletion.copies(db)]
    if as_json:
        print_json({**gone, "learned": asdict(gone_from), "copies": copies})
        return
    click.echo(", ".join(f"{count:,} {what} deleted" for what, count in gone.items()))
    tell_copies(copies)


def _agree(question: str, learned: "Learned", *, yes: bool) -> None:
    if learned:
        click.echo(learned.sentence(), err=True)
    agree(question, yes=yes)


def tell_copies(copies: list[str]) -> None:
    """Name the files that may still hold what is gone from the log."""
    if copies:
        click.echo("These copies of the log may still hold them:", err=True)
    for copy in copies:
        click.echo(f"  {copy}", err=True)


def _there(db: "Database", message_id: int) -> list[int]:
    from assistant.store import deletion, messages

    messages.get(db, message_id)  # raises where there is none
    return deletion.below(db, message_id)


def _conversations(db: "Database", ids: tuple[int, ...], before: int | None) -> list[int]:
    from assistant.store import conversations, deletion

    if before is not None:
        return deletion.ended_before(db, before)
    return [conversations.get(db, one).id for one in ids]  # raises where there is none


def agree(question: str, *, yes: bool) -> None:
    """Ask before what can't be undone; end the command where the answer is no."""
    if not yes:
        click.confirm(question, abort=True, err=True)
