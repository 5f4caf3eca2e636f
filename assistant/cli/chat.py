"""`assistant chat`, and `assistant` alone: the screen."""

import os
import sys

import click

from assistant.errors import AssistantError


@click.command("chat")
def command() -> None:
    """Open the screen (what `assistant` alone does)."""
    _check_terminal()
    from assistant import settings
    from assistant.paths import Paths
    from assistant.tui.app import AssistantApp

    paths = Paths.from_environment().create()
    AssistantApp(paths, settings.load(paths.config_file)).run()


def _check_terminal() -> None:
    """Raise `AssistantError` where there is nothing to draw on."""
    streams = (sys.stdin, sys.stdout, sys.stderr)  # Textual draws on stderr
    if not all(stream is not None and stream.isatty() for stream in streams):
        raise AssistantError(
            "The screen needs a terminal, and there is none here (input, output or errors go to a pipe or a file). "
            'Use `assistant ask "…"` in scripts and pipes.'
        )
    if os.environ.get("TERM", "") in ("dumb", "unknown"):
        raise AssistantError(
            f"The terminal says that it is {os.environ['TERM']!r}, which can't move its cursor. "
            'Set TERM to what it really is, such as xterm-256color, or use `assistant ask "…"`.'
        )
