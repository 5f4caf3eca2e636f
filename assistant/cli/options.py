"""What several commands share: a model's name, values of inputs, sampling, a progress bar."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.paths import Paths
    from assistant.settings import Settings


def _adapter(_ctx: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    from assistant.adapters.speakers import BASE_NAME

    return "" if given == BASE_NAME else given


adapter_option = click.option(
    "-a",
    "--adapter",
    default=None,
    callback=_adapter,
    help="Name of an adapter of that model, or base for the model alone. [default: what is in use]",
)
"""An adapter's name; empty for the base alone, None for what is in use."""


def pairs(_ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """What was given as `name=value`."""
    found = dict(pair.partition("=")[::2] for pair in given)
    if wrong := [pair for pair in given if "=" not in pair]:
        raise click.BadParameter(f"{wrong[0]!r} is not of the form name=value.", param=parameter)
    return found


def sampling_values(given: dict[str, str]) -> dict[str, Any]:
    """Sampling values typed as text, read as the numbers they look like; `stop` stays a text."""
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name == "stop":
            values[name] = (text,)
            continue
        try:
            values[name] = int(text)
        except ValueError:
            try:
                values[name] = float(text)
            except ValueError:
                values[name] = text
    return values


def model_name(db: "Database", paths: "Paths", chosen: "Settings", asked: str) -> str:
    """The model asked for, or set, or used last, or the default one, which is pulled when there is none yet."""
    from assistant.cli.models import pull_with_progress
    from assistant.engine.models import catalogue
    from assistant.store import conversations

    name = asked or chosen.model or conversations.recall(db, "model")
    if name:
        catalogue.find(paths, name)  # a clear refusal before the engine is started
        return name
    if not catalogue.chatting(paths):
        click.echo(f"No model yet: pulling {catalogue.DEFAULT}.", err=True)
        pull_with_progress(paths, catalogue.known(catalogue.DEFAULT))
        return catalogue.DEFAULT
    return catalogue.chatting(paths)[0].name


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A progress bar on a terminal's stderr, with the time that is left."""
    shown: list[Any] = []

    def progress(done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        if not shown:
            shown.append(click.progressbar(length=total, file=sys.stderr, show_pos=True).__enter__())
            shown[0].update(0)
        shown[0].update(done - shown[0].pos)

    try:
        yield progress
    finally:
        if shown:
            shown[0].__exit__(None, None, None)
