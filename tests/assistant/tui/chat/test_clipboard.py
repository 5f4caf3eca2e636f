"""Copying with stand-ins for the system's tools: small scripts on the PATH."""

from pathlib import Path

import pytest

from assistant.tui.chat import clipboard


class Terminal:
    """Keeps what OSC 52 would have sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def copy_to_clipboard(self, text: str) -> None:
        self.sent.append(text)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which commands are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return tmp_path


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_without_tools_the_terminal_takes_it(tools: Path) -> None:
    terminal = Terminal()
    assert await clipboard.copy(terminal, "灯塔") == "the terminal"
    assert terminal.sent == ["灯塔"]
    assert list(tools.iterdir()) == []


async def test_half_a_character_does_not_stop_the_rest(tools: Path) -> None:
    terminal = Terminal()
    assert await clipboard.copy(terminal, "a\ud800b") == "the terminal"
    assert terminal.sent == ["a?b"]
    assert list(tools.iterdir()) == []


async def test_a_tool_takes_it_too(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    tool(tools, "wl-copy", f"/bin/cat > {tools}/got")
    terminal = Terminal()
    assert await clipboard.copy(terminal, "灯塔\n") == "wl-copy"
    assert (tools / "got").read_text(encoding="utf-8") == "灯塔\n"
    assert terminal.sent == ["灯塔\n"]


async def test_a_tool_that_fails_is_passed_over(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    tool(tools, "xclip", "exit 1")
    tool(tools, "xsel", "/bin/cat > /dev/null")
    assert await clipboard.copy(Terminal(), "x") == "xsel"


async def test_a_tool_without_its_display_is_not_tried(tools: Path) -> None:
    tool(tools, "xclip", f": > {tools}/ran")
    assert await clipboard.copy(Terminal(), "x") == "the terminal"
    assert not (tools / "ran").exists()


async def test_a_tool_that_hangs_is_given_up(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "TIMEOUT_S", 0.1)
    tool(tools, "pbcopy", "exec /bin/sleep 30")
    assert await clipboard.copy(Terminal(), "x") == "the terminal"


async def test_windows_reads_utf_16(tools: Path) -> None:
    tool(tools, "clip.exe", f"/bin/cat > {tools}/got")
    assert await clipboard.copy(Terminal(), "灯") == "clip.exe"
    assert (tools / "got").read_bytes().decode("utf-16-le") == "灯"
