"""`finetune status`: what the model hasn't learned from yet, and whether to train again."""

import json
import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.paths import Paths
    from assistant.store.runs import Run
    from finetune.drift import Drift
    from finetune.gap import Distance
    from finetune.shift import Shift
    from finetune.status import Status


@click.command()
@click.argument("model", default="")
@click.option("--no-drift", is_flag=True, help="Leave out what needs the model: seconds instead of a minute.")
@click.option("--train-when-idle", is_flag=True, help="Then train on what is new, while nobody uses the machine.")
@click.option("--budget", default=10.0, show_default=True, type=click.FloatRange(min=0, min_open=True),
              help="Minutes that it may train, pauses not counted.")  # fmt: skip
@click.option(
    "--idle-after",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Minutes without a key press or a reply.",
)
@click.option("--seed", default=0, show_default=True, help="Of the intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str, no_drift: bool, train_when_idle: bool, budget: float, idle_after: float, seed: int, as_json: bool
) -> None:
    """Tell what is curated in the log that the adapter in use hasn't learned from, and whether to train again.

    Drift is its loss on new conversations beside that on its frozen test part. Shift is whether these use other words,
    or are about other topics. Both come with what chance alone would make of so few.

    With --train-when-idle a training begins once no key was pressed in a terminal, no reply made, and no other program
    at work for some minutes. It pauses when there is one, such as a key pressed here, and goes on after as many minutes
    without; Ctrl-C stops it at a checkpoint. Nothing is promoted.
    """
    from assistant import settings
    from assistant.cli.log_redact import redactor
    from assistant.cli.opened_log import opened_log
    from assistant.cli.options import model_name
    from assistant.cli.task_options import find_template
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    with opened_log() as db:
        name = model_name(db, paths, settings.load(paths.config_file), model)
        options = f" -m {name}" if model else ""
        from finetune.status import status

        told = status(
            db,
            paths,
            name,
            find_template,
            lambda: redactor(db, ()),
            with_drift=not no_drift,
            options=options,
            seed=seed,
            say=lambda text: None if as_json else click.echo(f"… {text}", err=True),
        )
        if not as_json:
            _print(told)
        trained = _train(db, paths, told, budget, idle_after, as_json=as_json) if train_when_idle else None
    if as_json:
        more = {"run": trained.name if trained else ""} if train_when_idle else {}
        click.echo(json.dumps({**told.as_json(), **more}, ensure_ascii=False))


def _train(
    db: "Database", paths: "Paths", told: "Status", budget: float, idle_after: float, *, as_json: bool
) -> "Run | None":
    from assistant.cli.log_redact import redactor
    from assistant.cli.task_options import find_template
    from assistant.server.process import SPIN_COUNT
    from finetune.cli.train import events

    if not told.next_dataset:
        return None
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    from finetune.when_idle import Wanted, train_when_idle

    return train_when_idle(
        db,
        paths,
        Wanted(told.model, told.next_dataset, told.dataset, budget, idle_after),
        find_template,
        lambda: redactor(db, ()),
        lambda text: click.echo(text, err=as_json),
        events(as_json),
    )


def _print(told: "Status") -> None:
    made_with = f"{told.adapter.name} in use" if told.adapter else "no adapter in use"
    click.echo(f"{told.model}, {made_with}.\n")
    for name, text in (("new", _new(told)), ("drift", _drift(told.drift, told.no_drift)), *_shift(told.shift)):
        click.echo(f"{name:<8}{text}")
    click.echo(f"\n{told.advice.sentence}")
    if told.advice.action == "wait" and told.advice.commands:
        click.echo("To train all the same:")
    for one in told.advice.commands:
        click.echo(f"  {one}")


def _new(told: "Status") -> str:
    from assistant.cli.output import counted

    names = {
        "good": "rated good", "kept": "kept", "corrected": "corrected", "unjudged": "not judged", "votes": "votes",
        "thumbs_down": "thumbs-down",
    }  # fmt: skip
    counts = [f"{told.fresh.judged[what]:,} {name}" for what, name in names.items() if told.fresh.judged[what]]
    of = "; ".join(counts) or "nothing that it hasn't learned from"
    return f"{counted(told.fresh.conversations, 'conversation')}: {of}" if counts else of


def _drift(drift: "Drift | None", why: str) -> str:
    if drift is None:
        return why
    rise, low, high = drift.rise
    told = _told(drift.loss.verdict)
    figures = drift.as_json()["perplexity"]
    said = f"perplexity {figures['test']:.2f} on the test part, {figures['new']:.2f} on new conversations: "
    said += f"{rise:+.1%} ({low:+.1%} to {high:+.1%}), {told}"
    if drift.gain is not None:
        said += f"\n{'':<8}it lowers its base's loss by {drift.gain.kept:.3f} there and by {drift.gain.new:.3f} here, "
        said += _told(drift.gain.verdict)
    return said


def _shift(shift: "Shift | None") -> list[tuple[str, str]]:
    if shift is None:
        return []
    lines: list[tuple[str, str]] = []
    if one := shift.unknown:
        said = f"{one.new:.1%} never seen in training, {one.kept:.1%} of the held-out parts: "
        lines.append(
            ("words", f"{said}{one.difference:+.1%} ({one.low:+.1%} to {one.high:+.1%}), {_told(one.verdict)}")
        )
    if shift.words:
        lines.append(("", f"Jensen-Shannon divergence {_distance(shift.words, ' bits')}"))
    if shift.new_words:
        from assistant.safe_text import printable

        lines.append(("", "new: " + printable(", ".join(shift.new_words), newlines=False)))
    if shift.topics:
        lines.append(("topics", f"mean meanings apart by {_distance(shift.topics)}"))
    else:
        lines.append(("topics", "not known: search by meaning has not read both (`assistant log index`)"))
    return lines


def _told(verdict: str) -> str:
    return {"unclear": "no difference shown", "too few": "too few to say"}.get(verdict, verdict)


def _distance(one: "Distance", unit: str = "") -> str:
    told = {"other": "shown to be other", "unclear": "as chance has it", "too few": "too few to say"}[one.verdict]
    return f"{one.distance:.3f}{unit}, {one.chance:.3f} by chance (p = {one.share:.3f}): {told}"
