"""`assistant log import` and `assistant log export`: conversations from and for other programs."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.filter_options import filter_options
from assistant.cli.log_redact import redactor, words_option
from assistant.cli.opened_log import opened_log
from assistant.cli.output import as_json, counted, print_json
from assistant.errors import AssistantError
from assistant.safe_text import printable, shorten
from assistant.store.search.filter import Filter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assistant.store.files.imports.importer import Progress, Report

FORMATS = ("json", "openai", "sharegpt", "preference", "kto", "markdown", "html", "csv")
"""Those of `assistant.store.files.exports.exporter`; a test holds them to be the same."""

_NAMED = 10
"""Conversations left out that are named one by one."""
_LEFT_OUT = " left out"


@click.command("import")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and change nothing.")
@click.option("--salvage", is_flag=True, help="Import what is whole of a file that breaks off, and say where it does.")
@as_json
def import_(files: tuple[Path, ...], dry_run: bool, salvage: bool, as_json: bool) -> None:
    """Import conversations from files, zips and folders of other programs, or from our own export.

    The format is recognised by itself. Programs: ChatGPT, Claude, DeepSeek, Grok, Open WebUI, LM Studio, Jan,
    LibreChat, SillyTavern, llama.cpp, text-generation-webui, AI Studio, and the databases of llm, oterm and Ollama.
    Data sets in JSON or JSON Lines: messages, ShareGPT, Alpaca, prompt and completion, preferences and thumbs.
    All of the files are imported or nothing; what the log has already isn't imported again. What could not be taken
    in is counted by name.
    """
    from assistant.store.files.imports.importer import import_files

    with opened_log() as db:
        report = import_files(db, files, dry_run=dry_run, salvage=salvage, progress=_show)
    if as_json:
        print_json(asdict(report))
    else:
        _tell(report)


def _show(progress: "Progress") -> None:
    """One line that is written over, for a person who watches."""
    if sys.stderr.isatty():
        end = "\n" if progress.ended else ""
        click.echo(f"\r{progress.share:4.0%}  {progress.messages:,} messages", nl=False, err=True)
        click.echo(end, nl=False, err=True)


def _tell(report: "Report") -> None:
    would = "Would import" if report.dry_run else "Imported"
    click.echo(
        f"{would} {counted(report.conversations, 'conversation')} with {counted(report.messages, 'message')} "
        f"from {shorten(report.file, 60)} ({shorten(report.format, 60)})."
    )
    for where in report.broke_off:
        click.echo(f"Only the beginning was there: {printable(where, newlines=False)}.", err=True)
    if report.went_on:
        click.echo(f"Of these messages some go on with {counted(report.went_on, 'conversation')} of the log.")
    if report.doubles:
        click.echo(f"In the log already, {report.doubles:,}: {_some(report.named_doubles, report.doubles)}")
    _tell_left(report.left)
    for one in report.named_left_out[:_NAMED]:
        click.echo(f"Left out {shorten(one.name, 60)}: {printable(one.reason, newlines=False)}.", err=True)
    if report.left_out > _NAMED:
        click.echo(f"Left out {report.left_out - _NAMED:,} more; with --json they are named.", err=True)


def _tell_left(left: "Mapping[str, int]") -> None:
    """What was left out, in one line, and what was kept in another way, a line each."""
    things = [(what.removesuffix(_LEFT_OUT), count) for what, count in sorted(left.items()) if what.endswith(_LEFT_OUT)]
    if things:
        named = ", ".join(f"{count:,} {what.removesuffix('s') if count == 1 else what}" for what, count in things)
        click.echo(f"Left out: {printable(named, newlines=False)}")
    for what, count in sorted(left.items()):
        if not what.endswith(_LEFT_OUT):
            click.echo(f"{count:,} {printable(what, newlines=False)}")


def _some(names: list[str], count: int) -> str:
    shown = ", ".join(shorten(name, 40) for name in names[:5])
    return f"{shown}, and {count - 5:,} more" if count > 5 else shown


@click.command("export")
@click.argument("conversation_ids", type=int, nargs=-1)
@click.option("--format", "format_", type=click.Choice(FORMATS), default="json", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; else stdout.")
@click.option("--search", "search_words", metavar="WORDS", help="Replies that hold these words, or whose prompts do.")
@click.option("--redact", is_flag=True, help="Put placeholders in place of personal data; `log redact` lists it.")
@words_option
@filter_options
@as_json
def export_(
    conversation_ids: tuple[int, ...],
    format_: str,
    output: Path | None,
    search_words: str | None,
    redact: bool,
    words: tuple[str, ...],
    as_json: bool,
    filter_: Filter,
) -> None:
    """Export conversations, all of them or those of the ids given.

    json: one object a line with every branch and all that is known of each reply; imported, it gives the same log back.
    openai, sharegpt: the open path of each, a line each. preference: pairs of a chosen and a rejected reply. kto: every
    judged reply with its label. markdown, html: the open paths, to read. csv: every message, a row each.

    With filters: the conversations that hold such a reply; in openai, sharegpt, preference, kto and csv such replies
    alone, on whatever branch, with what led to them.
    """
    if words and not redact:
        raise click.UsageError("--word goes with --redact.")
    from assistant.store import conversations
    from assistant.store.files.exports.exporter import export
    from assistant.store.search import search

    with opened_log() as db:
        for one in conversation_ids:
            conversations.get(db, one)  # raises where there is none
        ids = list(conversation_ids) or [one.id for one in conversations.page(db, 0, -1)]
        among = None if search_words is None else search.all_replies(db, search_words, filter_)
        redacting = redactor(db, words) if redact else None
        write(export(db, ids, format_, filter_, redacting, among), output, plain=format_ in ("markdown", "csv"))
    if output is not None:
        summary: dict[str, Any] = {"conversations": len(ids), "format": format_, "file": str(output)}
        if redacting is not None:
            summary |= {"redacted_values": len(redacting.used), "redacted_places": redacting.count}
        if as_json:
            print_json(summary)
        else:
            click.echo(f"{counted(len(ids), 'conversation')} written to {output}", err=True)
            if redacting is not None:
                click.echo(
                    f"{counted(len(redacting.used), 'value')} replaced in {counted(redacting.count, 'place')}", err=True
                )


def write(parts: Iterator[str], output: Path | None, *, plain: bool) -> None:
    """Write to the file, or to the terminal without control characters where the text is `plain`.

    A file is there whole or as it was before. Raises `AssistantError` where it can't be written.
    """
    if output is None:
        for part in parts:
            click.echo(printable(part) if plain else part, nl=False)
        return
    new = output.with_name(f".{output.name}.part")
    try:
        with new.open("w", encoding="utf-8", newline="") as file:
            new.chmod(0o600)
            file.writelines(parts)
        new.replace(output)
    except OSError as error:
        raise AssistantError(f"Can't write {output}: {error.strerror}. Choose another --output.") from error
    finally:
        new.unlink(missing_ok=True)
