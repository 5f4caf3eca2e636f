"""`finetune teach`: learn corrected replies now, ask again, and keep or drop the result."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.paths import Paths
    from finetune.teach.outcome import Outcome


@click.command()
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("-m", "--model", default="", help="Model to teach; the one whose replies were corrected if not given.")
@click.option("-y", "--yes", is_flag=True, help="Keep it without asking.")
@click.option("--keep", "kept", metavar="RUN", default="", help="Use what was taught before, and not decided on.")
@click.option("--drop", "dropped", metavar="RUN", default="", help="Delete what was taught, with its files.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each event, then one with the result.")
def command(ids: tuple[int, ...], model: str, yes: bool, kept: str, dropped: str, as_json: bool) -> None:
    """Teach the corrections of replies, given by the ids of their messages, in a minute or two.

    Trains the adapter in use a little further: on each correction after its question as it was asked and in other
    words, on what was taught before, and on replies to other questions, which are held as they are. Then the model is
    asked again. Kept, the new adapter is in use; `finetune rollback` takes it back.
    """
    if sum(map(bool, (ids, kept, dropped))) != 1:
        raise click.UsageError("Give the ids of corrected replies, or --keep RUN, or --drop RUN.")
    from assistant.cli.opened_log import opened_log
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    with opened_log() as db:
        if ids:
            _teach(db, paths, ids, model, yes, as_json)
        else:
            _decide(db, paths, kept or dropped, bool(kept), as_json)


def _teach(db: "Database", paths: "Paths", ids: tuple[int, ...], model: str, yes: bool, as_json: bool) -> None:
    from assistant.errors import TrainingError
    from finetune.cli.progress_output import events
    from finetune.progress import Advanced

    say = events(as_json)
    say(Advanced("loading torch"))
    from finetune.teach import course
    from finetune.train.stop import stop_asked

    with stop_asked() as stop_wanted:
        found = course.teach(db, paths, ids, model, say, stop_wanted)
    if found is None:
        raise TrainingError("Teaching was stopped. Nothing was changed.")
    if not as_json:
        _show(found)
    if yes or (not as_json and sys.stdin.isatty()):
        keep = yes or click.confirm("Keep it?", default=False)
        _decide(db, paths, found.run, keep, as_json, found.as_json())
    elif as_json:
        click.echo(json.dumps({**found.as_json(), "decision": ""}, ensure_ascii=False))
    else:
        click.echo(f"`finetune teach --keep {found.run}` uses it for new replies, `--drop {found.run}` deletes it.")


def _show(found: "Outcome") -> None:
    from assistant.cli.output import print_table
    from finetune.teach.words import lines

    click.echo("")
    print_table([[one.label, one.text, one.verdict] for one in lines(found)], ["", "", ""])
    click.echo(f"\nTaught in {found.seconds:.0f} s and {found.steps} steps.")


def _decide(
    db: "Database", paths: "Paths", run: str, keep: bool, as_json: bool, told: dict[str, Any] | None = None
) -> None:
    from finetune.teach import decide

    model = decide.keep(db, paths, run).adapter.model if keep else decide.drop(db, paths, run)
    if as_json:
        decision = "kept" if keep else "dropped"
        click.echo(json.dumps({**(told or {"run": run, "model": model}), "decision": decision}, ensure_ascii=False))
    elif keep:
        click.echo(f"New replies of {model} are made with {run}. `finetune rollback -m {model}` takes it back.")
    else:
        click.echo(f"Dropped: nothing of {run} remains.")
