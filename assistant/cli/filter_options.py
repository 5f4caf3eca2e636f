"""The filters of the log as options: one for each field of `Filter`, its help the field's docstring."""

import dataclasses
import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from assistant import ratings
from assistant.cli.field_docs import meanings
from assistant.errors import StoreError
from assistant.store.search import filter_words
from assistant.store.search.filter import DECISIONS, Filter


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Milliseconds UTC of `2026-11-24`, `2026-11-24T14:05` (local time), or of `30d`, `12h`, `2w` before now."""
    if value is None:
        return None
    try:
        return filter_words.moment(value, datetime.now())
    except StoreError as error:
        raise click.BadParameter(str(error)) from None


_DECLARED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "since_ms": (("--since",), {"callback": moment, "metavar": "DATE"}),
    "until_ms": (("--until",), {"callback": moment, "metavar": "DATE"}),
    "rating": (("--rating",), {"type": click.Choice(list(ratings.filters()))}),
    "decision": (("--decision",), {"type": click.Choice(DECISIONS)}),
    "tags": (("--tag",), {"multiple": True}),
    "corrected": (("--corrected/--not-corrected",), {"default": None}),
    "judged": (("--judged/--not-judged",), {"default": None}),
    "imported": (("--imported/--not-imported",), {"default": None}),
}
"""The fields whose option isn't simply called as they are."""

_TYPES = {"int | None": int, "float | None": float, int | None: int, float | None: float}


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` every filter as an option; it is called with them as one `filter_`."""

    @functools.wraps(command)
    def called(**given: Any) -> Any:
        chosen = {field.name: given.pop(f"filter_{field.name}") for field in dataclasses.fields(Filter)}
        return command(filter_=Filter(**chosen), **given)

    help_ = meanings(Filter)
    for field in reversed(dataclasses.fields(Filter)):
        names, settings = _declared(field)
        called = click.option(f"filter_{field.name}", *names, help=help_[field.name].replace("`", ""), **settings)(
            called
        )
    return called


def _declared(field: "dataclasses.Field[Any]") -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of a field's option and its settings."""
    simply = (f"--{field.name.replace('_', '-')}",), {"type": _TYPES.get(field.type, str)}
    return _DECLARED.get(field.name, simply)


def as_arguments(filter_: Filter) -> list[str]:
    """The options that stand for a filter, as `filter_options` reads them."""
    arguments: list[str] = []
    for field in dataclasses.fields(Filter):
        value = getattr(filter_, field.name)
        names, _ = _declared(field)
        if isinstance(value, bool):
            yes, no = names[0].split("/")
            arguments.append(yes if value else no)
        elif field.name.endswith("_ms") and value is not None:
            arguments += [names[0], datetime.fromtimestamp(value / 1000).isoformat()]
        elif value is not None:
            values = value if isinstance(value, tuple) else (value,)
            arguments += [part for one in values for part in (names[0], str(one))]
    return arguments
