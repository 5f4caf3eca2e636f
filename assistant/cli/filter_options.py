"""Every filter of the Log screen as options of a command."""

import functools
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from assistant.store.exchanges import Filter

_DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"])
_OPTIONS = (
    click.option("--since", type=_DATE, help="Replies made on this day (or at this time) or later."),
    click.option("--until", type=_DATE, help="Replies made before this day or time."),
    click.option("--model", help="Replies of this model."),
    click.option("--adapter", help="Replies made with the adapter of this hash; empty: with none."),
    click.option("--template", help="Replies made with this template."),
    click.option("--rating", type=click.Choice(["good", "bad", "unrated", "rated"]), help="Replies so rated."),
    click.option("--decision", type=click.Choice(["keep", "skip", "undecided"]), help="Replies so decided."),
    click.option("--tag", "tags", multiple=True, help="Replies that have this tag; several times: all of them."),
    click.option("--corrected/--not-corrected", default=None, help="Replies a person has corrected, or has not."),
    click.option("--judged/--not-judged", default=None, help="Replies rated, kept, skipped or corrected, or not."),
    click.option("--min-tokens", type=int, help="Replies of at least so many tokens."),
    click.option("--max-tokens", type=int, help="Replies of at most so many tokens."),
    click.option("--min-surprise", type=float, help="Replies at least so surprising, in nats a token."),
    click.option("--max-surprise", type=float, help="Replies at most so surprising, in nats a token."),
    click.option("--min-length", type=int, help="Replies of at least so many characters."),
    click.option("--max-length", type=int, help="Replies of at most so many characters."),
)
_NAMES = (
    "since until model adapter template rating decision tags corrected judged min_tokens max_tokens min_surprise "
    "max_surprise min_length max_length"
)


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and in their place the argument `filter_`."""

    @functools.wraps(command)
    def call(**given: Any) -> None:
        filter_ = _filter({name: given.pop(name) for name in _NAMES.split()})
        command(**given, filter_=filter_)

    decorated: Callable[..., None] = call
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _filter(given: dict[str, Any]) -> "Filter":
    from assistant.store.exchanges import Filter

    since, until = given.pop("since"), given.pop("until")
    return Filter(since_ms=_ms(since), until_ms=_ms(until), **given)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else round(time.astimezone().timestamp() * 1000)
