"""The top command. Subcommands are imported when they are asked for, so that `--help` stays instant."""

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from assistant import __version__
from assistant.errors import AssistantError
from prompts.errors import PromptError

COMMANDS = {
    "ask": "Ask one question and print the answer.",
    "chat": "Open the screen (what `assistant` alone does).",
    "config": "Show where files lie and what can be set.",
    "doctor": "Check this machine, the models and the log.",
    "log": "Find, judge, import, export and keep what was said.",
    "models": "List, pull, add, remove and describe models.",
    "prompts": "List, show and test templates.",
    "run": "Do a template's task for every row of a file.",
    "serve": "Answer the OpenAI API on a port.",
}
"""Name -> help line; the command itself is `assistant.cli.<name>.command`."""


class LazyGroup(click.Group):
    """A group that lists its commands without importing them: `command` of the module `package.name`."""

    def __init__(self, *arguments: Any, package: str, lines: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._package, self._lines = package, lines

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._lines:
            return None
        command = importlib.import_module(f"{self._package}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self._lines.items()))


@click.group(
    cls=LazyGroup,
    package="assistant.cli",
    lines=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="assistant")
@click.pass_context
def top(ctx: click.Context) -> None:
    """A local chat assistant that learns from its own conversations.

    Without a command it opens the screen.
    """
    if ctx.invoked_subcommand is None:
        chat = top.get_command(ctx, "chat")
        assert chat is not None
        ctx.invoke(chat)


def run(arguments: list[str], group: click.Group = top, name: str = "assistant") -> int:
    """Run one command line of the program `name`; every expected failure becomes one sentence on stderr."""
    try:
        # Without its own way of ending the program click returns the code of an `Exit`, else what the command returns.
        return int(group.main(arguments, prog_name=name, standalone_mode=False) or 0)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (AssistantError, PromptError) as error:
        click.echo(f"{name}: {error}", err=True)
        return 1
    except BrokenPipeError:
        # The reader of our output has left; there is nobody to tell. Keep the interpreter from trying again.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
