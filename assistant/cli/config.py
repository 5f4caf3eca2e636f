"""`assistant config`: where files lie and what can be set."""

import ast
import dataclasses
import inspect
from typing import Any

import click

from assistant import settings
from assistant.cli.output import as_json, print_json
from assistant.paths import Paths


@click.command("config")
@as_json
def command(as_json: bool) -> None:
    """Show where files lie, and every setting with its value and meaning."""
    paths = Paths.from_environment()
    chosen = settings.load(paths.config_file)
    places = {"config": paths.config_file, "templates": paths.templates, "log": paths.database, "models": paths.models}
    rows = [*_rows(chosen, ""), *_rows(chosen.engine, "engine.")]
    if as_json:
        values = {key: _plain(value) for key, value, _ in rows}
        print_json({"files": {name: str(place) for name, place in places.items()}, "settings": values})
        return
    for name, place in places.items():
        click.echo(f"{name:<10} {place}{'' if place.exists() else '  (not there yet)'}")
    for key, value, meaning in rows:
        click.echo(f"\n{key} = {_plain(value)!r}\n    {meaning}")


def _rows(table: Any, prefix: str) -> list[tuple[str, Any, str]]:
    meanings = _meanings(type(table))
    return [
        (prefix + f.name, getattr(table, f.name), meanings[f.name])
        for f in dataclasses.fields(table)
        if not dataclasses.is_dataclass(getattr(table, f.name))
    ]


def _meanings(cls: type) -> dict[str, str]:
    """Field name -> the docstring under it."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _plain(value: Any) -> Any:
    return dict(value) if not isinstance(value, str | int | float | bool) else value
