"""`finetune data`: make a dataset from the log or a file, preview it; list, show and delete datasets."""

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
from finetune.cli.progress_output import events
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
        raise click.BadParameter(f"{given!r} does not have the form 80/10/10.", param=parameter)
    return tuple(map(int, parts))


def replay_options(command: Any) -> Any:
    """Add --replay (parameter `replay`, see `replay_file`) and --replay-share (`text_share`)."""
    command = click.option(
        "--replay-share", "text_share", default=0.1, show_default=True, help="Share of --replay in the training tokens."
    )(command)
    return click.option(
        "--replay", metavar="FILE", help="General text to mix in, against forgetting; `builtin`: the included text."
    )(command)


def replay_file(given: str | None) -> Path | None:
    """The file of general text; None without."""
    from finetune.data import dataset

    return None if given is None else dataset.BUILTIN if given == "builtin" else Path(given)


@click.command()
@click.option("--name", "-n", default="", help="Freeze the dataset under this name; without it only statistics print.")
@click.option("--file", "-f", "files", type=click.Path(path_type=Path), multiple=True,
              help="Make it from this file, folder or zip instead of the log; repeat for more.")  # fmt: skip
@click.option("--like", metavar="NAME", help="Make it from the log with the selection and parts of another dataset.")
@click.option("--kind", type=click.Choice(get_args(Kind)), default="supervised", show_default=True,
              help="What the dataset teaches, see above.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Include unjudged replies, but none rated bad or skipped.")
@click.option("--search", "search_words", default="", metavar="WORDS", help="Only replies matching this search.")
@click.option("-v", "--value", "values", multiple=True, callback=pairs, help="Value of a template input: name=value.")
@click.option("--split", "shares", callback=_shares, metavar="T/V/T",
              help="Percent for training, validation and test, such as 80/10/10. Default: a third of 30 conversations "
                   "is for the test, a tenth of 333 or more.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Random seed of the split.")
@replay_options
@click.option("--canaries", type=click.IntRange(0, 100), default=0, metavar="N",
              help="Plant N made-up secrets in the training part, which `finetune eval` looks for.")  # fmt: skip
@click.option("--keep-personal", is_flag=True, help="Keep personal data instead of replacing it by placeholders.")
@words_option
@click.option("-m", "--for-model", "model", default="", help="Model to count tokens for; default: that of new chats.")
@click.option(
    "--preview", type=click.IntRange(0), default=0, metavar="N", help="Print N examples with the learned text marked."
)
@click.option("--count", "only_count", is_flag=True,
              help="Only count the replies used and left out, and what they can show.")  # fmt: skip
@click.option("--list", "list_", is_flag=True, help="List the datasets.")
@click.option("--show", metavar="NAME", help="Print a dataset's statistics; with --preview examples.")
@click.option("--delete", metavar="NAME", help="Delete a dataset. Adapters trained on it stay.")
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
    """Make a dataset from the log, or from a file that the log can import.

    supervised: replies to imitate, by default those rated good, kept, or corrected; from a file all, unless some are
    judged. preference: votes, corrections, good beside bad replies. kto: ratings. label: texts tagged with a class of
    the --template, or a .jsonl or .csv file with `input` and `label`. entities: a .jsonl file with `input` and
    `reference`, as for `assistant prompts test entities`. For other kinds --template is a filter.

    A conversation and its near-duplicates are always in the same part, and an example that was in an earlier test part
    is in the test part again.
    """
    if [list_, show is not None, delete is not None].count(True) > 1:
        raise click.UsageError("Give one of --list, --show and --delete.")
    if only_count and given["files"]:
        raise click.UsageError("--count is for the log only; a --file is counted if no --name is given.")
    if given["like"] and (more := _beside_like(click.get_current_context())):
        raise click.UsageError(f"--like uses the other dataset's settings; leave out {', '.join(more)}.")
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
    click.echo(f"Frozen as {name}: {prepared.hash[:12]}." if name else "Nothing was stored: give a --name to keep it.")


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
    """Options on the command line that --like replaces."""
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
        raise click.UsageError("--kind label needs --template, with the question and the classes.")
    template = find_template(name)
    if not template.labels:
        raise click.UsageError(f"{name} is of kind {template.kind} and has no classes. Choose one of kind label.")
    return template


def _tokenizer(db: "Database", model: str) -> tuple[Any, Any]:
    """(tokenizer of rows, function from ids to text) of the given model, or of new conversations; loads no weights."""
    from assistant import settings
    from assistant.cli.options import model_name
    from assistant.paths import Paths
    from finetune.base import opened_base

    paths = Paths.from_environment().create()
    base = opened_base(paths, model_name(db, paths, settings.load(paths.config_file), model))
    return base.tokenizer_of_rows(), base.tokenizer.decode


# -- stored datasets ----------------------------------------------------------------------------------------------


def _list(db: "Database", *, as_json: bool) -> None:
    from datetime import datetime

    from assistant.store.training import datasets

    found = [(one, datasets.counts(db, one.id)) for one in datasets.every(db)]
    if as_json:
        _print_line({"datasets": [{**_about(one), "examples": counts} for one, counts in found]})
    elif not found:
        click.echo("There is no dataset yet. `finetune data --name NAME` makes one from the log.")
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
        print_table(rows, ["name", "kind", "train/validation/test", "made", "from"])


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
    agree(f"Delete the dataset {name} permanently?", yes=yes)
    datasets.delete(db, name)
    if as_json:
        _print_line({"deleted": name, "runs": learned})
    else:
        click.echo(f"{name} deleted.")


# -- output -------------------------------------------------------------------------------------------------------


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
    """Each row as pieces of text with a flag for learned tokens, by the trainer's loss mask."""
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
    """Print rows; learned text is green, or between ⟦ ⟧ without colours."""
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
    """Print a dataset's statistics. `of_log`: the selection, if it was made from the log."""
    from finetune.data.select import REASONS, Counts

    examples, left = told["examples"], told["left_out"]
    if of_log is not None and "used" in told:  # missing in datasets of earlier versions
        replies = {why: number for why, number in left.items() if why in REASONS}
        click.echo(Counts(told["used"], replies).words(of_log) + ".")
        left = {what: number for what, number in left.items() if what not in replies}
    click.echo(
        f"{counted(sum(examples.values()), 'example')}: "
        + ", ".join(f"{count:,} {part}" for part, count in examples.items())
        + f"; from {counted(told['conversations'], 'conversation')}, {told['groups']:,} that differ."
    )
    lengths = ", ".join(f"{name} {count:,}" for name, count in told["lengths"].items())
    about = "" if told.get("counted_share", 1) == 1 else "About "  # only a sample of a large dataset is tokenised
    click.echo(
        f"{about}{told['tokens']:,} tokens, {told['supervised_tokens']:,} of them learned "
        f"({told['supervised_share']:.0%}). Lengths: {lengths}."
    )
    click.echo("Languages: " + ", ".join(f"{name} {count:,}" for name, count in told["languages"].items()) + ".")
    for line in cut_lines(told.get("windows", 0), told["shortened"], told["too_long"]):
        click.echo(about + line)
    for count, what in (
        (told["doubles_removed"], "left out as exact duplicates"),
        (told["tested_before"], "in the test because an earlier dataset tests them"),
        (told["personal_places"], f"occurrences of personal data replaced ({told['personal_values']:,} values)"),
        (told["replayed"], "of general text, against forgetting"),
        (told.get("canaries", 0), "canaries planted"),
        *((count, what) for what, count in left.items()),
    ):
        if count:
            click.echo(f"{count:,} {what}")
