"""What replaces a folder is whole or not there, at whatever moment the process is killed."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from finetune import whole_folder as module
from finetune.whole_folder import whole_folder


def write(target: Path, text: str) -> None:
    with whole_folder(target) as new:
        for name in ("one", "other"):
            (new / name).write_text(text, encoding="utf-8")


def texts(target: Path) -> list[str]:
    return [(target / name).read_text(encoding="utf-8") for name in ("one", "other")]


def killed_at(line: int, target: Path, text: str) -> bool:
    """Whether a process that writes and is killed at its n-th line of Python was killed: it may end before."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)
    seen = 0

    def trace(_: FrameType, event: str, __: Any) -> Any:
        nonlocal seen
        seen += event == "line"
        if seen == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    write(target, text)
    os._exit(0)


@pytest.mark.parametrize("exchanges", [True, False])
def test_killed_at_every_line_a_folder_is_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, exchanges: bool
) -> None:
    if not exchanges:  # as on a disk that can't: the next opening puts it right
        monkeypatch.setattr(module, "_exchanged", lambda *_: False)
    target = tmp_path / "best"
    write(target, "old")
    found, line = set(), 0
    while True:
        line += 7
        if not killed_at(line, target, "new"):
            break
        if not exchanges:
            module.restore(target)
        said = texts(target)
        assert said in (["old"] * 2, ["new"] * 2)
        found.add(said[0])
        write(target, "old")
        assert texts(target) == ["old"] * 2
        assert [one.name for one in tmp_path.iterdir()] == ["best"]
    assert found == {"old", "new"}


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "best", "new")
    assert texts(tmp_path / "deep" / "best") == ["new"] * 2


def test_what_fails_inside_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "best"
    write(target, "old")
    with pytest.raises(ZeroDivisionError), whole_folder(target) as new:
        (new / "one").write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert texts(target) == ["old"] * 2
