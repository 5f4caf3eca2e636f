"""`finetune data`: make a dataset of the log or of a file, look at it, list, show and delete what there is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from assistant.cli.filter_options import filter_options
from assistant.cli.log_redact import words_option
from assistant.cli.log_upkeep import agree, yes
from assistant.cli.opened_log import opened_log
from assistant.cli.options import pairs
from assistant.cli.output import counted, print_table
from assistant.safe_text import printable
from assistant.store.search.filter import Filter
from finetune.cli.events import events
from finetune.data.example import Kind
from finetune.progress import cut_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlite_utils import Database

    from assistant.store.training.datasets import Dataset
    from finetune.data.dataset import Prepared, Request
    from finetune.data.select import Selection
    from finetune.data.split import Shares


def _shares(_ctx: click.Context, parameter: click.Parameter, given: str | None) -> tuple[int, ...] | None:
    if given is None:
        return None
    parts = given.split("/")
    if len(parts) != 3 or not all(one.strip().isdecimal() for one in parts):
        raise click.BadParameter(f"{given!r} is not of the form 80/10/10.", param=parameter)
    return tuple(map(int, parts))


def replay_options(command: Any) -> Any:
    """`replay`, which `replay_file` reads, and `text_share`."""
    command = click.option(
        "--replay-share", "text_share", default=0.1, show_default=True, help="Its share of the training part's tokens."
    )(command)
    return click.option(
        "--replay", metavar="FILE", help="Mix general text in, against forgetting; `builtin`: what comes with us."
    )(command)


def replay_file(given: str | None) -> Path | None:
    """The file of general text."""
    from finetune.data import dataset

    return None if given is None else dataset.BUILTIN if given == "builtin" else Path(given)


@click.command()
@click.option("--name", "-n", default="", help="Freeze the dataset under this name; without one it is only told of.")
@click.option("--file", "-f", "files", type=click.Path(path_type=Path), multiple=True,
              help="Make it of this file, folder or zip instead of the log; give it again for more.")  # fmt: skip
@click.option(
    "--like", metavar="NAME", help="Make it of the log as that dataset was made: the same selection and parts."
)
@click.option("--kind", type=click.Choice(get_args(Kind)), default="supervised", show_default=True)
@click.option("--all", "everything", is_flag=True, help="Replies that nobody judged too; never those bad or skipped.")
@click.option("--search", "search_words", default="", metavar="WORDS", help="Replies, or their prompts, that say this.")
@click.option("-v", "--value", "values", multiple=True, callback=pairs, help="An input of the template: name=value.")
@click.option("--split", "shares", callback=_shares, metavar="T/V/T",
              help="Percent for training, validation and test, such as 80/10/10. By default a third of 30 "
                   "conversations is for the test, a tenth of 333 or more.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the split.")
@replay_options
@click.option("--canaries", type=click.IntRange(0, 100), default=0, metavar="N",
              help="Plant N made-up secrets in the training part, which `finetune eval` looks for.")  # fmt: skip
@click.option("--keep-personal", is_flag=True, help="Leave personal data as it is; else placeholders stand for it.")
@words_option
@click.option("-m", "--for-model", "model", default="", help="Whose tokens are counted; the one of new conversations.")
@click.option(
    "--preview", type=click.IntRange(0), default=0, metavar="N", help="Print N examples, what is learned marked."
)
@click.option("--count", "only_count", is_flag=True,
              help="Only say how many replies it takes, why others are left out, and what that can show.")  # fmt: skip
@click.option("--list", "list_", is_flag=True, help="List the datasets.")
@click.option("--show", metavar="NAME", help="Tell of a dataset; with --preview its examples.")
@click.option("--delete", metavar="NAME", help="Delete a dataset. What was trained on it stays.")
@yes
@filter_options
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on a line.")
def command(
    list_: bool,
    show: str | None,
    delete: str | None,
    yes: bool,
    as_json: bool,
    preview: int,
    model: str,
    only_count: bool,
    **given: Any,
) -> None:
    """Make a dataset of the log, or of a file that the log can import.

    supervised: replies to imitate, by default those rated good, kept, or corrected; of a file all, unless some are
    judged. preference: votes, corrections, good beside bad. kto: thumbs. label: texts tagged with a class of the
    --template, or a .jsonl or .csv file of `input` and `label`. entities: a .jsonl file of `input` and `reference`, as
    `assistant prompts test entities` reads it. For other kinds --template is a filter.

    Conversations and near-duplicates are never in two parts, and what was in the test of an earlier dataset is in the
    test again.
    """
    if [list_, show is not None, delete is not None].count(True) > 1:
        raise click.UsageError("Give one of --list, --show and --delete.")
    if only_count and given["files"]:
        raise click.UsageError("--count is of the log; a --file is counted without a --name.")
    if given["like"] and (more := _beside_like(click.get_current_context())):
        raise click.UsageError(f"--like takes all of that from the other dataset; leave out {', '.join(more)}.")
    with opened_log() as db:
        if list_:
            _list(db, as_json=as_json)
        elif delete is not None:
            _delete(db, delete, yes=yes, as_json=as_json)
        elif show is not None:
            _show(db, show, preview, model, as_json=as_json)
        elif only_count:
            _count(db, given, as_json=as_json)
        else:
            _make(db, given, preview, model, as_json=as_json)


def _make(db: "Database", given: dict[str, Any], preview: int, model: str, *, as_json: bool) -> None:
    from assistant.cli.log_redact import redactor
    from assistant.store.training import datasets
    from finetune.data import dataset

    if name := given["name"]:
        datasets.refuse_taken(db, name)
    request = _like(db, given["like"]) if given["like"] else _request(given)
    tokenizer, decode = _tokenizer(db, model)
    redact = None if given["keep_personal"] else redactor(db, given["words"])
    prepared = dataset.prepare(db, request, tokenizer, redact, events(as_json))
    if name:
        dataset.freeze(db, name, prepared)
    shown = _previewed(prepared, preview, tokenizer, decode)
    if as_json:
        told = {"name": name, "kind": request.selection.kind, "hash": prepared.hash, **prepared.statistics}
        _print_line({**told, **({"preview": shown} if preview else {})})
        return
    _print_rows(shown)
    tell(prepared.statistics, None if request.files else request.selection)
    click.echo(f"Frozen as {name}: {prepared.hash[:12]}." if name else "Nothing was kept: give it a --name.")


def _count(db: "Database", given: dict[str, Any], *, as_json: bool) -> None:
    from finetune.data import select
    from finetune.prove import enough

    request = _like(db, given["like"]) if given["like"] else _request(given)
    counted_ = select.count(db, request.selection)
    words, shows = counted_.words(request.selection), enough.sentence(db, request.selection, counted_)
    if as_json:
        told = {"used": counted_.used, "left_out": dict(counted_.left), "conversations": len(counted_.conversations)}
        _print_line({**told, "words": words, "enough": shows})
    else:
        click.echo("\n".join(filter(None, (words, shows))))


WITH_LIKE = {"like", "name", "keep_personal", "words", "model", "preview", "yes", "only_count", "as_json"}


def _beside_like(context: click.Context) -> list[str]:
    """Options given that --like decides."""
    return [
        one.opts[0]
        for one in context.command.params
        if one.name not in WITH_LIKE
        and context.get_parameter_source(str(one.name)) is click.core.ParameterSource.COMMANDLINE
    ]


def _like(db: "Database", name: str) -> "Request":
    from assistant.cli.task_options import find_template
    from assistant.store.training import datasets
    from finetune.data.dataset import request_like

    return request_like(datasets.get(db, name), find_template)


def _request(given: dict[str, Any]) -> "Request":
    from finetune.data.dataset import Request
    from finetune.data.select import Selection

    filter_: Filter = given["filter_"]
    template = None
    if given["kind"] == "label":
        template = _label_template(filter_.template)
        filter_ = replace(filter_, template=None)
    elif given["values"]:
        raise click.UsageError("--value goes with --kind label.")
    selection = Selection(given["kind"], filter_, given["everything"], template, given["values"], given["search_words"])
    shares, seed, replay = _parts(given["shares"]), given["seed"], replay_file(given["replay"])
    return Request(selection, given["files"], shares, seed, replay, given["text_share"], canaries=given["canaries"])


def _parts(shares: tuple[int, int, int] | None) -> "Shares | None":
    from finetune.data.split import Shares

    return None if shares is None else Shares(*shares)


def _label_template(name: str | None) -> Any:
    from assistant.cli.task_options import find_template

    if not name:
        raise click.UsageError("--kind label needs --template, which asks the question and has the classes.")
    template = find_template(name)
    if not template.labels:
        raise click.UsageError(f"{name} is of the kind {template.kind} and has no classes. Choose one of kind label.")
    return template


def _tokenizer(db: "Database", model: str) -> tuple[Any, Any]:
    """(what makes rows, what makes text of ids again), of the model that is asked for or in use; no weights."""
    from assistant import settings
    from assistant.cli.options import model_name
    from assistant.paths import Paths
    from finetune.base import opened_base

    paths = Paths.from_environment().create()
    base = opened_base(paths, model_name(db, paths, settings.load(paths.config_file), model))
    return base.tokenizer_of_rows(), base.tokenizer.decode


# -- what there is ------------------------------------------------------------------------------------------------


def _list(db: "Database", *, as_json: bool) -> None:
    from datetime import datetime

    from assistant.store.training import datasets

    found = [(one, datasets.counts(db, one.id)) for one in datasets.every(db)]
    if as_json:
        _print_line({"datasets": [{**_about(one), "examples": counts} for one, counts in found]})
    elif not found:
        click.echo("There is no dataset yet. `finetune data --name NAME` makes one of the log.")
    else:
        rows = [
            [
                one.name,
                one.kind,
                "/".join(f"{count:,}" for count in counts.values()),
                datetime.fromtimestamp(one.created_ms / 1000).strftime("%Y-%m-%d %H:%M"),
                one.source.get("file") or "the log",
            ]
            for one, counts in found
        ]
        print_table(rows, ["name", "kind", "train/validation/test", "made", "of"])


def _about(one: "Dataset") -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "hash": one.hash,
        "source": one.source,
        "created_ms": one.created_ms,
    }


def _show(db: "Database", name: str, preview: int, model: str, *, as_json: bool) -> None:
    from assistant.store.training import datasets
    from finetune.data.example import Example
    from finetune.data.select import Selection
    from finetune.data.statistics import rows_of

    found = datasets.get(db, name)
    kind: Any = found.kind
    shown: list[Any] = []
    if preview:
        tokenizer, decode = _tokenizer(db, model)
        some = [one for one, _ in zip(datasets.examples(db, found.id), range(preview), strict=False)]
        shown = [
            {"split": one.split, "rows": _marked(rows_of(kind, Example.from_json(one.body), tokenizer), decode)}
            for one in some
        ]
    now = {"examples": datasets.counts(db, found.id)}
    if as_json:
        _print_line({**found.statistics, **_about(found), **now, **({"preview": shown} if preview else {})})
        return
    _print_rows(shown)
    source = found.source
    of_log = not source.get("file") and not source.get("baked")
    tell({**found.statistics, **now}, Selection(kind, everything=source.get("everything", False)) if of_log else None)


def _delete(db: "Database", name: str, *, yes: bool, as_json: bool) -> None:
    from assistant.store.training import datasets, runs

    found = datasets.get(db, name)
    learned = [run.name for run in runs.every(db) if run.dataset_id == found.id]
    if learned:
        click.echo(f"Trained on it: {', '.join(learned)}. They stay, but can't be resumed.", err=True)
    agree(f"Delete the dataset {name} for good?", yes=yes)
    datasets.delete(db, name)
    if as_json:
        _print_line({"deleted": name, "runs": learned})
    else:
        click.echo(f"{name} deleted.")


# -- what is printed ----------------------------------------------------------------------------------------------


def _print_line(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def _previewed(prepared: "Prepared", count: int, tokenizer: Any, decode: Any) -> list[dict[str, Any]]:
    from finetune.data.statistics import rows_of

    kind = prepared.request.selection.kind
    return [
        {"split": part, "rows": _marked(rows_of(kind, one.example, tokenizer), decode)}
        for one, part, _ in prepared.placed[:count]
    ]


def _marked(rows: Any, decode: Any) -> list[list[dict[str, Any]]]:
    """Each row as pieces of text, told whether they are learned: by the mask that the trainer takes."""
    from itertools import groupby

    return [
        [
            {"text": decode([token for token, _ in some]), "trained": learned}
            for learned, some in (
                (learned, list(group))
                for learned, group in groupby(
                    zip(row.ids.tolist(), row.learned.tolist(), strict=True), key=lambda one: one[1]
                )
            )
        ]
        for row in rows
    ]


def _print_rows(shown: list[dict[str, Any]]) -> None:
    """What is learned is green, or between ⟦ ⟧ where there is no colour."""
    import os
    import sys

    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for number, one in enumerate(shown, 1):
        for row in one["rows"]:
            click.echo(f"-- {number}, {one['split']}")
            for piece in row:
                text = printable(piece["text"])
                if piece["trained"]:
                    text = click.style(text, fg="green", bold=True) if coloured else f"⟦{text}⟧"
                click.echo(text, nl=False)
            click.echo("\n")


def tell(told: "Mapping[str, Any]", of_log: "Selection | None" = None) -> None:
    """What was counted of a dataset, for people. `of_log`: what of the log it was made of, if it was."""
    from finetune.data.select import REASONS, Counts

    examples, left = told["examples"], told["left_out"]
    if of_log is not None and "used" in told:  # datasets made by earlier versions lack it
        replies = {why: number for why, number in left.items() if why in REASONS}
        click.echo(Counts(told["used"], replies).words(of_log) + ".")
        left = {what: number for what, number in left.items() if what not in replies}
    click.echo(
        f"{counted(sum(examples.values()), 'example')}: "
        + ", ".join(f"{count:,} {part}" for part, count in examples.items())
        + f"; from {counted(told['conversations'], 'conversation')}, {told['groups']:,} that differ."
    )
    lengths = ", ".join(f"{name} {count:,}" for name, count in told["lengths"].items())
    about = "" if told.get("counted_share", 1) == 1 else "About "  # of a large dataset a sample is tokenised
    click.echo(
        f"{about}{told['tokens']:,} tokens, {told['supervised_tokens']:,} of them learned "
        f"({told['supervised_share']:.0%}). Lengths: {lengths}."
    )
    click.echo("Languages: " + ", ".join(f"{name} {count:,}" for name, count in told["languages"].items()) + ".")
    for line in cut_lines(told.get("windows", 0), told["shortened"], told["too_long"]):
        click.echo(about + line)
    for count, what in (
        (told["doubles_removed"], "left out, word for word like another"),
        (told["tested_before"], "in the test because an earlier dataset tests them"),
        (told["personal_places"], f"places of personal data replaced ({told['personal_values']:,} values)"),
        (told["replayed"], "of general text, against forgetting"),
        (told.get("canaries", 0), "canaries planted"),
        *((count, what) for what, count in left.items()),
    ):
        if count:
            click.echo(f"{count:,} {what}")
