"""Every screen, as it was drawn when somebody last looked at it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.screenshots import SCENES, make_app, play

SIZES = [(80, 24), (160, 45)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCENES)
def test_screen(
    name: str,
    size: tuple[int, int],
    snap_compare: Callable[..., bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = SCENES[name]
    assert snap_compare(make_app(scene), terminal_size=size, run_before=lambda pilot: play(pilot, scene))
