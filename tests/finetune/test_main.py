import os
import sys

import pytest

from assistant.engine.hardware.machine import SPIN_COUNT
from finetune import __main__


@pytest.mark.parametrize(("given", "set_to"), [("", SPIN_COUNT), ("7", "7")])
def test_threads_of_a_command_leave_the_cores_to_other_programs(
    monkeypatch: pytest.MonkeyPatch, given: str, set_to: str
) -> None:
    """libgomp reads it when torch is imported, which no command has done by then."""
    monkeypatch.setattr(sys, "argv", ["finetune", "--version"])
    if given:
        monkeypatch.setenv("GOMP_SPINCOUNT", given)
    else:
        monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    with pytest.raises(SystemExit):
        __main__.main()
    assert os.environ["GOMP_SPINCOUNT"] == set_to
