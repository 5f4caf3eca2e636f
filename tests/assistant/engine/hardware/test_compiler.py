"""The C compiler: chosen, given with arguments, replaced, missing."""

import logging
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from assistant.cli import doctor
from assistant.engine.hardware import compiler
from assistant.paths import Paths

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture
def source(tmp_path: Path, empty_home: Paths) -> Path:  # noqa: ARG001
    file = tmp_path / "seven.c"
    file.write_text("int seven(void) { return 7; }")
    return file


def built(home: Paths) -> list[Path]:
    return list(home.data.parent.rglob("seven-*.so"))


def test_cc_may_have_arguments(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `CC="ccache gcc"`."""
    monkeypatch.setenv("CC", f"{shutil.which('env')} cc -pipe")
    library = compiler.library(source)
    assert library is not None
    assert library.seven() == 7


def test_another_compiler_builds_another_library(
    empty_home: Paths, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.write_text('#!/bin/sh\nexec cc "$@"\n')
    mine.chmod(0o755)
    monkeypatch.setenv("CC", str(mine))
    for _ in range(2):
        assert compiler.library(source) is not None
        assert len(built(empty_home)) == 1
    mine.write_text('#!/bin/sh\n# newer\nexec cc "$@"\n')
    assert compiler.library(source) is not None
    assert len(built(empty_home)) == 2


@pytest.mark.parametrize("cc", ["/nowhere/cc", '"open', "false"])
def test_a_compiler_that_fails_is_said(
    empty_home: Paths, source: Path, cc: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", cc)
    with caplog.at_level(logging.WARNING):
        assert compiler.library(source) is None
    assert "seven.c can't be built" in caplog.text
    assert compiler.ADVICE in caplog.text
    assert built(empty_home) == []


def test_doctor_says_that_there_is_no_compiler(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("CC", "/nowhere/cc")
    said = CliRunner().invoke(doctor.command, [])
    assert said.exit_code == 1
    assert "slower" in said.output
    assert compiler.ADVICE in said.output
