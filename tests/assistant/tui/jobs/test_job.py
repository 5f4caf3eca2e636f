"""Commands that outlive the window: found again, never two at once, and failing in their own sentence."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assistant.errors import TrainingError, TrainingRefused
from assistant.paths import Paths
from assistant.tui.jobs import commands, job
from assistant.tui.jobs.job import Job


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of `finetune`: what is tested is how it is started, watched and ended."""

    def write(text: str) -> None:
        file = tmp_path / "program.py"
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(job, "command", lambda arguments: [sys.executable, str(file), *arguments])
        monkeypatch.setattr(commands, "command", lambda arguments: [sys.executable, str(file), *arguments])

    return write


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


SAYS_AND_WAITS = """
import sys, time, pathlib
print('{"event": "paused", "step": 1}')
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
print('{"event": "paused", "step": 2}')
print('{\\n  "state": "finished"\\n}')
"""


def test_another_window_finds_it_and_reads_on(home: Paths, script: Callable[[str], None]) -> None:
    script(SAYS_AND_WAITS)
    go = home.data / "go"
    first = Job(home, "train")
    assert not first.is_running and not first.failure
    first.start([str(go)])
    second = Job(home, "train")
    until(lambda: "1" in second.output()[0])
    assert second.is_running and second.arguments == [str(go)]
    with pytest.raises(TrainingRefused, match="at work already"):
        second.start([str(go)])
    said, offset = second.output()
    go.touch()
    until(lambda: not second.is_running)
    more, _ = second.output(offset)
    assert '"step": 1' in said and '"step": 2' in more and '"step": 1' not in more
    assert job.result(second.output()[0]) == {"state": "finished"}
    assert not second.failure
    assert (home.run / "train.out").stat().st_mode & 0o077 == 0


def test_it_outlives_the_program_that_began_it(home: Paths, script: Callable[[str], None]) -> None:
    script(SAYS_AND_WAITS)
    go, file = home.data / "go", job.command([])[1]
    starter = (
        "import sys; from assistant.tui.jobs import job; from assistant.paths import Paths\n"
        f"job.command = lambda arguments: [sys.executable, {file!r}, *arguments]\n"
        f"job.Job(Paths.from_environment(), 'train').start([{str(go)!r}])"
    )
    subprocess.run([sys.executable, "-c", starter], check=True)
    found = Job(home, "train")
    assert found.is_running
    found.stop()
    until(lambda: not found.is_running)
    assert not go.exists() and "without a word" in found.failure


def test_a_failure_is_told_in_its_own_sentence(home: Paths, script: Callable[[str], None]) -> None:
    script("import sys; print('a warning', file=sys.stderr); sys.exit('finetune: The disk is full. Free 2 GB.')")
    failing = Job(home, "train")
    failing.start([])
    until(lambda: not failing.is_running)
    assert failing.failure == "The disk is full. Free 2 GB."


async def test_a_short_command_gives_its_object_or_its_sentence(home: Paths, script: Callable[[str], None]) -> None:
    script("import json, os; print(json.dumps({'home': os.environ['ASSISTANT_HOME']}, indent=2))")
    assert await commands.run(home, ["data"]) == {"home": os.environ["ASSISTANT_HOME"]}
    script("import sys; sys.exit('finetune: Nothing is selected.')")
    with pytest.raises(TrainingError, match=r"^Nothing is selected\.$"):
        await commands.run(home, ["data"])


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('{"event": "ended", "run": "a"}\n{\n "run": {"name": "a"}\n}\n', {"run": {"name": "a"}}),
        ('{"event": "ended", "run": "a"}\n', None),
        ("no JSON {at all\n", None),
        ("", None),
    ],
)
def test_the_result_is_the_object_after_the_progress(output: str, expected: object) -> None:
    assert job.result(output) == expected


def test_the_real_program_says_what_is_wrong(home: Paths) -> None:
    wrong = Job(home, "train")
    wrong.start(["no-such-command"])
    until(lambda: not wrong.is_running)
    assert "no-such-command" in wrong.failure
    assert json.loads((home.run / "train.json").read_text())["arguments"] == ["no-such-command"]
