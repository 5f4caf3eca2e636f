"""`assistant prompts`: list, show, check, test and improve templates."""

from typing import TYPE_CHECKING, Any

import click

from assistant.cli import prompts_format, prompts_lint, prompts_optimize, prompts_test
from assistant.cli.output import as_json, print_json, print_table
from assistant.paths import Paths
from assistant.safe_text import printable

if TYPE_CHECKING:
    from prompts.library import Library
    from prompts.template import Template


@click.group("prompts")
def command() -> None:
    """List, show, check, test and improve templates."""


command.add_command(prompts_test.test)
command.add_command(prompts_lint.lint)
command.add_command(prompts_optimize.optimize)
command.add_command(prompts_format.format_)


@command.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List all templates; files that can't be used are named on stderr."""
    library = _library()
    rows = [_described(library, template) for template in library.templates()]
    if as_json:
        print_json(rows)
    else:
        table = [
            [row["name"], row["kind"], row["language"], "own" if row["own"] else "", row["description"]] for row in rows
        ]
        print_table(table, ["name", "kind", "language", "", "description"])
    for problem in library.problems():
        click.echo(f"not usable: {problem}", err=True)


@command.command("show")
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one template: where it lies and its text."""
    library = _library()
    template = library.find(name)
    if as_json:
        print_json({**_described(library, template), "path": str(template.path), "text": template.text})
        return
    click.echo(f"# {template.path}", err=True)
    click.echo(printable(template.text), nl=not template.text.endswith("\n"))


def _library() -> "Library":
    from prompts.library import Library

    return Library(Paths.from_environment().templates)


def _described(library: "Library", template: "Template") -> dict[str, Any]:
    return {
        "name": template.name,
        "kind": template.kind,
        "language": template.language,
        "description": template.description,
        "inputs": {one.name: {"description": one.description, "default": one.default} for one in template.inputs},
        "hash": template.hash,
        "own": library.is_own(template),
    }
