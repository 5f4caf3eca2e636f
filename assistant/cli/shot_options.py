"""Options of commands that choose few-shot examples, and what these make."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.opened_log import opened_log
from assistant.errors import AssistantError
from assistant.paths import Paths
from prompts.examples import CHOICES

if TYPE_CHECKING:
    from assistant.client import Client
    from assistant.settings import Settings
    from assistant.tasks.shots import Shots
    from prompts.template import Example, Template

TAG = "tag:"
SHOTS = 4
"""How many of examples that are not the template's own, where nobody says."""
EMBEDDED_AT_ONCE = 64

SHOT_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--shots",
        type=click.IntRange(min=0),
        help=f"Examples before each input. [default: all of the template's own, or {SHOTS} of --examples]",
    ),
    click.option(
        "--choose",
        type=click.Choice(CHOICES),
        help="How they are chosen; nearest and diverse go by meaning. [default: first, of --examples balanced]",
    ),
    click.option(
        "--examples",
        default="",
        help="A labelled file (.jsonl, .csv), or tag:NAME for curated replies. [default: the template's own]",
    ),
    click.option("--seed", default=0, help="Of all that is drawn by chance.", show_default=True),
)


NONE_SAID: dict[str, Any] = {"shots": None, "choose": None, "examples": "", "seed": 0}
"""The options where nobody was asked about examples."""


def asked_for(options: dict[str, Any]) -> dict[str, Any]:
    """What a person said about examples; empty where they are the template's own, as it has them."""
    said = {name: options[name] for name in ("shots", "choose", "examples")}
    given = {name: value for name, value in said.items() if value not in (None, "")}
    return given | ({"seed": options["seed"]} if given else {})


async def opened_shots(
    template: "Template", client: "Client", model: str, chosen: "Settings", options: dict[str, Any]
) -> "Shots":
    """As the options say. Raises `AssistantError` where there is no such example."""
    from assistant.meaning_index import usable
    from assistant.tasks.shots import Shots, pool

    async def embed(some: Sequence[str]) -> list[list[float]]:
        name = usable(Paths.from_environment(), chosen.meaning_model)
        made: list[list[float]] = []
        for start in range(0, len(some), EMBEDDED_AT_ONCE):
            made += await client.embed(name, some[start : start + EMBEDDED_AT_ONCE])
        return made

    source = options["examples"]
    own = template.examples if not source else _examples(template, source, options["column"])
    if options["shots"] and not own:
        raise AssistantError(f"{template.name} has no examples. Name some: --examples FILE or --examples tag:NAME.")
    count = options["shots"] if options["shots"] is not None else SHOTS if source else len(own)
    choice = options["choose"] or ("balanced" if source else "first")
    made = await pool(own if count else (), choice, options["seed"], embed)
    return Shots(client, model, made, count, embed)


def _examples(template: "Template", source: str, column: str) -> "Sequence[Example]":
    from assistant.tasks.evaluation import TRUTH, check
    from assistant.tasks.rows import rows
    from assistant.tasks.shots import from_rows

    if source.startswith(TAG):
        return _tagged(template, source.removeprefix(TAG))
    found = list(rows(Path(source)))
    check(template, found, source)
    if not found:
        raise AssistantError(f"{source} holds no rows.")
    return from_rows(template, found, column, TRUTH[template.kind])


def _tagged(template: "Template", tag: str) -> "Sequence[Example]":
    from assistant.store.judgements.worked_examples import tagged
    from assistant.tasks.shots import from_exchanges

    with opened_log() as db:
        exchanges = tagged(db, tag)
    if not exchanges:
        raise AssistantError(
            f"No reply tagged {tag!r} is rated good, kept or corrected. `assistant log tag` tags them."
        )
    found = from_exchanges(template, exchanges)
    if not found:
        known = ", ".join(template.labels)
        raise AssistantError(f"None of the {len(exchanges)} replies tagged {tag!r} is one of {known}. Correct them.")
    if len(found) < len(exchanges):
        left = len(exchanges) - len(found)
        click.echo(f"Left out: {left} of {len(exchanges)} replies tagged {tag!r}, which say no label.", err=True)
    return found
