"""Progress output of `finetune` commands: JSON lines, or text."""

import sys
from collections.abc import Callable

import click

from assistant.cli.output import duration
from finetune.progress import (
    Advanced,
    Ended,
    Expected,
    Paused,
    Planned,
    Progress,
    Stepped,
    Validated,
    as_line,
    cut_lines,
    start_lines,
)


def events(as_json: bool) -> Callable[[Progress], None]:
    """A function that prints progress events, as JSON lines or as text."""
    return _json if as_json else _Text()


def _json(progress: Progress) -> None:
    click.echo(as_line(progress))


class _Text:
    """Prints a line for each validation and part of the work, and on a terminal a status line."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._cut: list[str] = []
        self._what = ""

    def __call__(self, progress: Progress) -> None:
        match progress:
            case Expected():
                click.echo(expectation(progress))
            case Planned():
                click.echo(
                    f"{progress.examples:,} examples, {progress.steps:,} steps, {progress.trained_parameters:,} "
                    f"parameters: about {duration(progress.seconds)} and {progress.memory_bytes / 1e9:.1f} GB."
                )
                for line in start_lines(progress):
                    click.echo(line)
                self._cut = cut_lines(progress.windows, progress.shortened, progress.too_long)
                self._tell_cut()
            case Stepped():
                self._step(progress)
            case Validated():
                self._clear()
                click.echo(f"step {progress.step:>5}  held out {progress.loss:.3f}{'  best' if progress.best else ''}")
            case Paused():
                self._clear()
                click.echo(f"Paused at step {progress.step}.")
            case Ended():
                self._clear()
                click.echo(_end(progress))
                self._tell_cut()
            case Advanced():
                self._advance(progress)

    def _step(self, one: Stepped) -> None:
        line = (
            f"step {one.step:>5} of {one.steps}  loss {one.loss:.3f}  {one.tokens_per_s:,.0f} tokens/s  "
            f"{one.memory_bytes / 1e9:.1f} GB  {duration(one.seconds_left)} left"
        )
        self._show(line)

    def _advance(self, one: Advanced) -> None:
        """Update the status line; without a terminal print a line for each part."""
        if not self._live and one.what != self._what:
            click.echo(f"… {one.what}", err=True)
        self._what = one.what
        self._show(f"… {' · '.join(parts(one))}")
        if one.total and one.done == one.total:
            self._clear()

    def _show(self, line: str) -> None:
        if self._live:
            click.echo(f"\r{line}\x1b[K", nl=False, err=True)

    def _tell_cut(self) -> None:
        for line in self._cut:
            click.echo(line)

    def _clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[K", nl=False, err=True)


def _end(ended: Ended) -> str:
    if ended.state == "stopped":
        return f"Stopped at step {ended.step}. To resume: finetune train --resume {ended.run}"
    why = {"early": ", as held-out loss no longer fell", "budget": ", out of time"}.get(ended.reason, "")
    return f"{ended.run} ended at step {ended.step}{why}. `finetune eval {ended.run}` compares it with its base."


def expectation(one: Expected) -> str:
    """`about 477 examples in 1,526 steps, 3 min 36 s`."""
    took = "" if one.seconds is None else f", {duration(one.seconds)}"
    return f"about {one.tokens:,} tokens in {one.steps:,} steps{took}"


def parts(one: Advanced) -> list[str]:
    """`["general text", "40 %", "12 s left"]`."""
    share = [f"{one.done / one.total:.0%}".replace("%", " %")] if one.total else []
    left = [] if one.seconds_left is None else [f"{duration(one.seconds_left)} left"]
    return [one.what, *share, *left]
