"""Copy to the clipboard: the terminal's (OSC 52) and the system's own tools."""

import asyncio
import os
import shutil
from typing import Protocol

TIMEOUT_S = 2.0
"""A tool that hangs (no compositor, a dead X server) is given up after this long."""

_TOOLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # environment variable that must be set ("" for none), command, its arguments
    ("WAYLAND_DISPLAY", "wl-copy", ()),
    ("DISPLAY", "xclip", ("-selection", "clipboard")),
    ("DISPLAY", "xsel", ("--clipboard", "--input")),
    ("", "pbcopy", ()),
    ("", "clip.exe", ()),
)


class Terminal(Protocol):
    """What can send OSC 52: a Textual `App`."""

    def copy_to_clipboard(self, text: str) -> None: ...


async def copy(terminal: Terminal, text: str) -> str:
    """Copy `text`; the result says what took it: a tool's name, or "the terminal".

    The terminal is always sent OSC 52, the only way out of an SSH session. It never says whether it obeyed, so a system
    tool is tried too.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no bytes to copy
    terminal.copy_to_clipboard(text)
    for command in _available():
        if await _pipe(command, text):
            return command[0]
    return "the terminal"


def _available() -> list[tuple[str, ...]]:
    return [
        (tool, *arguments)
        for variable, tool, arguments in _TOOLS
        if (not variable or os.environ.get(variable)) and shutil.which(tool)
    ]


async def _pipe(command: tuple[str, ...], text: str) -> bool:
    """Whether `command` took the text. wl-copy and xclip stay behind to serve it, so their output is not waited for."""
    encoding = "utf-16-le" if command[0] == "clip.exe" else "utf-8"
    nowhere = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=nowhere, stderr=nowhere
        )
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(text.encode(encoding)), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    return process.returncode == 0
