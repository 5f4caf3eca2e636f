"""`assistant log doubles`: replies that are there twice, and which of them is kept."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from assistant.cli.filter_options import filter_options
from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, counted, print_json
from assistant.safe_text import printable, shorten
from assistant.store.search.filter import Filter

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.judgements.doubles import Group


class Keep(click.ParamType[str | int]):
    """`first`, `last` or the id of a message."""

    name = "first|last|ID"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if value in ("first", "last"):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither first nor last nor the id of a message.", param, ctx)


@click.command("doubles")
@click.option("--near", is_flag=True, help="Also those that say almost the same.")
@click.option("--keep", type=Keep(), help="Keep the oldest or newest of each group, or this one, and skip the others.")
@filter_options
@as_json
def doubles_(near: bool, keep: str | int | None, filter_: Filter, as_json: bool) -> None:
    """List replies that are there more than once, with what they answer. Nothing is deleted: `assistant log undo` takes
    back what --keep decided, one by one.
    """
    from assistant.store.judgements import doubles

    with opened_log() as db:
        doubles.find(db, filter_, near=near, told=_told)
        found = doubles.groups(db)
        if isinstance(keep, int):
            found = [doubles.group_of(db, keep)]
        decided = sum(doubles.choose(db, group, _chosen(group, keep)) for group in found) if keep is not None else 0
        if as_json:
            print_json({"groups": [asdict(group) for group in found], "decided": decided})
            return
        for group in found:
            _print(db, group)
    told = counted(len(found), "group")
    click.echo(f"{told}, {counted(decided, 'decision')} made." if keep is not None else f"{told}.", err=True)


def _chosen(group: "Group", keep: str | int) -> int:
    if isinstance(keep, int):
        return keep
    return group.message_ids[0 if keep == "first" else -1]


def _told(read: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{read:,} replies read …\r", nl=False, err=True)


SHOWN = 10
"""So many of a group are listed."""


def _print(db: "Database", group: "Group") -> None:
    from assistant.store.search import exchanges

    click.echo("the same:" if group.exact else "almost the same:")
    for row in exchanges.by_ids(db, group.message_ids[:SHOWN]):
        texts = " → ".join(shorten(" ".join(text.split()), 40) for text in (row.prompt, row.reply))
        click.echo(printable(f"    {row.message_id}  {row.decision}  {texts}", newlines=False))
    if len(group.message_ids) > SHOWN:
        click.echo(f"    and {len(group.message_ids) - SHOWN:,} more")
