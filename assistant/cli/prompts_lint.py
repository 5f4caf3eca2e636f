"""`assistant prompts lint`: what is wrong with templates."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.output import as_json, counted, print_json
from assistant.cli.task_options import find_template
from assistant.paths import Paths

if TYPE_CHECKING:
    from assistant.tasks.lint import Finding
    from prompts.errors import TemplateInvalid
    from prompts.template import Template


@click.command("lint")
@click.argument("templates", nargs=-1)
@click.option("-m", "--model", default="", help="The model whose tokens and context count.")
@as_json
@click.pass_context
def lint(context: click.Context, templates: tuple[str, ...], model: str, as_json: bool) -> None:
    """Say what is wrong with templates, by names or files; without any, with all of your own.

    Errors: variables without an input, inputs that nothing uses, settings that can't be, label words that the model has
    no tokens for, examples that overflow its context. Warnings: label words that begin with the same token, or that it
    spells in parts of characters. The exit status is 1 where there is an error.
    """
    read, broken = _read(templates)
    found = asyncio.run(_found(read, model)) if read else []
    rows = [{"file": one.file, "line": one.line, "error": True, "text": one.problem} for one in broken]
    rows += [
        {"file": str(one.path), "line": finding.line, "error": finding.error, "text": finding.text}
        for one, findings in found
        for finding in findings
    ]
    errors = sum(bool(row["error"]) for row in rows)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            click.echo(_line(row))
        checked = counted(len(read) + len(broken), "template")
        click.echo(f"{checked}: {counted(errors, 'error')}, {counted(len(rows) - errors, 'warning')}.", err=True)
    context.exit(1 if errors else 0)


def _line(row: dict[str, Any]) -> str:
    place = f"{row['file']}:{row['line']}: " if row["file"] else ""
    return f"{place}{'error' if row['error'] else 'warning'}: {row['text'].rstrip('.')}."


def _read(names: Sequence[str]) -> "tuple[list[Template], list[TemplateInvalid]]":
    """(those that can be read, what is wrong with the others)"""
    from prompts.errors import TemplateInvalid
    from prompts.library import Library

    if not names:
        library = Library(Paths.from_environment().templates)
        own = [one for one in library.templates() if library.is_own(one)]
        return own, library.problems()
    read, broken = [], []
    for name in names:
        try:
            read.append(find_template(name))
        except TemplateInvalid as error:
            broken.append(error)
    return read, broken


async def _found(templates: "Sequence[Template]", model: str) -> "list[tuple[Template, list[Finding]]]":
    from contextlib import closing

    from assistant import settings
    from assistant.cli.options import model_name
    from assistant.client import Client
    from assistant.store.database import open_database
    from assistant.tasks.lint import alone, with_model

    paths = Paths.from_environment().create()
    chosen = settings.load(paths.config_file)
    with closing(open_database(paths.database)) as db:
        name = model_name(db, paths, chosen, model)
    found = []
    async with Client(paths, chosen) as client:
        for one in templates:
            findings = alone(one)
            if not any(finding.error for finding in findings):
                findings += await with_model(one, client, name)
            found.append((one, findings))
    return found
