from collections.abc import Callable
from dataclasses import dataclass

import pytest

from assistant.cli.group import run
from assistant.paths import Paths


@dataclass(frozen=True)
class Ran:
    """What one command line did."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture
def cli(home: Paths, capsys: pytest.CaptureFixture[str]) -> Cli:  # noqa: ARG001  commands find their home themselves
    """Run one command line as the program does."""

    def call(*words: str) -> Ran:
        capsys.readouterr()
        code = run(list(words))
        return Ran(code, *capsys.readouterr())

    return call
