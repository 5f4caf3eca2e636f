"""A new screen: a module of its own, a line in `ROOMS`, and, where it has keys of its own, a section in `keys`."""

import subprocess
import sys

import pytest

from assistant.paths import Paths
from assistant.tui.rooms import ROOMS
from benchmarks.screenshots import SCENES
from tests.assistant.tui.conftest import MODEL


def test_a_line_gives_a_screen_its_key_its_place_in_the_palette_and_in_the_help(model_home: Paths) -> None:
    line = [sys.executable, "-m", "tests.assistant.tui.documents", str(model_home.data.parent)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "palette ['key f11']",
        "help ['f11']",
        "shown DocumentsScreen",
        f"result {MODEL}",
    ]


@pytest.mark.parametrize("name", ROOMS)
def test_every_screen_has_a_picture(name: str) -> None:
    assert SCENES[name].keys[0] == ROOMS[name].key
