"""Print a status: what is new, a table of drift and shift, and the advice."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from assistant.cli.output import counted, print_table
from assistant.safe_text import printable

if TYPE_CHECKING:
    from finetune.watch.drift import Drift
    from finetune.watch.shift import Shift
    from finetune.watch.status import Status
    from finetune.watch.two_samples import Change, Distance

HEADINGS = ("", "before", "new", "difference (95 %)", "")
JUDGED = {
    "good": "rated good",
    "kept": "kept",
    "corrected": "corrected",
    "unjudged": "not judged",
    "votes": "votes",
    "thumbs_down": "thumbs-down",
}
VERDICTS = {"unclear": "not shown", "too few": "too few to say"}


def show(told: "Status") -> None:
    """Print a status. `before` is the test part, for unknown words also the validation part; for distances chance."""
    click.echo(f"{told.model}, {told.adapter.name if told.adapter else 'no adapter'} in use.")
    click.echo(f"New: {_new(told)}.")
    if told.estimate:
        talks = counted(told.estimate.conversations, "conversation")
        click.echo(f"To learn from: {talks}; {told.estimate.sentence}.")
    click.echo()
    rows = [*_drift(told.drift), *_shift(told.shift)]
    if rows:
        print_table(rows, HEADINGS)
    if told.shift and told.shift.new_words:
        click.echo("New words: " + printable(", ".join(told.shift.new_words), newlines=False))
    if told.drift is None:
        click.echo(f"No drift measured: {told.no_drift}")
    if told.shift and told.shift.topics is None:
        click.echo("Topics not compared: search by meaning hasn't indexed them. Run `assistant log index`.")
    click.echo(f"\n{told.advice.sentence}")
    if told.advice.action == "wait" and told.advice.commands:
        click.echo("To train regardless:")
    for one in told.advice.commands:
        click.echo(f"  {one}")


def _new(told: "Status") -> str:
    counts = [f"{told.fresh.judged[what]:,} {name}" for what, name in JUDGED.items() if told.fresh.judged[what]]
    if not counts:
        return "nothing that the model hasn't learned"
    return f"{', '.join(counts)}; {counted(told.fresh.conversations, 'new conversation')}"


def _drift(drift: "Drift | None") -> Iterator[list[str]]:
    if drift is None:
        return
    before, now = drift.as_json()["perplexity"].values()
    yield _row("perplexity", f"{before:.2f}", f"{now:.2f}", drift.rise, "{:+.1%}", drift.loss)
    if one := drift.gain:
        difference = (one.difference, one.low, one.high)
        yield _row("gain over base, nats", f"{one.kept:.3f}", f"{one.new:.3f}", difference, "{:+.3f}", one)


def _shift(shift: "Shift | None") -> Iterator[list[str]]:
    if shift is None:
        return
    if one := shift.unknown:
        difference = (one.difference, one.low, one.high)
        yield _row("unknown words", f"{one.kept:.1%}", f"{one.new:.1%}", difference, "{:+.1%}", one)
    for name, distance in (("words apart, bits", shift.words), ("topics apart", shift.topics)):
        if distance:
            yield _distance(name, distance)


def _row(
    name: str, before: str, now: str, difference: tuple[float, float, float], form: str, told: "Change"
) -> list[str]:
    shown: Callable[[float], str] = form.format
    middle, low, high = map(shown, difference)
    return [name, before, now, f"{middle} ({low} … {high})", VERDICTS.get(told.verdict, told.verdict)]


def _distance(name: str, one: "Distance") -> list[str]:
    verdict = VERDICTS.get(one.verdict, one.verdict)
    return [name, f"{one.chance:.3f}", f"{one.distance:.3f}", f"chance reaches it {one.share:.1%}", verdict]
