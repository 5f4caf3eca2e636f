"""`finetune teach` as it is typed."""

import json

import pytest
from sqlite_utils import Database

from assistant.cli.group import run
from assistant.store.training import adapters, runs
from finetune.cli.group import top
from tests.finetune.conftest import TINY
from tests.finetune.teach.conftest import corrected


def finetune(*arguments: object) -> int:
    return run(list(map(str, arguments)), top, "finetune")


def last_json(printed: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(printed.splitlines()[-1])
    return found


def test_taught_shown_and_kept(talks: Database, capsys: pytest.CaptureFixture[str]) -> None:
    reply, _ = corrected(talks, "the quick fox", "no", "jumps over")
    assert finetune("teach", reply, "--yes") == 0
    printed = capsys.readouterr().out
    for said in (
        "answer now",
        "reworded (3)",
        "other questions",
        "general text",
        "taught-1. `finetune r",
    ):
        assert said in printed
    used = adapters.in_use(talks, TINY)
    assert used is not None and used.name == "taught-1"


def test_json_leaves_it_undecided_until_it_is_dropped(talks: Database, capsys: pytest.CaptureFixture[str]) -> None:
    reply, correction = corrected(talks, "the quick fox", "no", "jumps over")
    assert finetune("teach", reply, "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(json.loads(line).get("event") == "stepped" for line in lines)
    told = json.loads(lines[-1])
    assert (told["run"], told["decision"], told["asked"][0]["id"]) == ("taught-1", "", correction)
    assert adapters.in_use(talks, TINY) is None
    assert finetune("teach", "--drop", "taught-1", "--json") == 0
    assert last_json(capsys.readouterr().out) == {"run": "taught-1", "model": TINY, "decision": "dropped"}
    assert not runs.every(talks)


def test_kept_later_it_is_in_use_and_kept_once_more_it_stays(
    talks: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    reply, _ = corrected(talks, "the quick fox", "no", "jumps over")
    assert finetune("teach", reply) == 0  # nobody is there to be asked
    assert "`finetune teach --keep taught-1` uses it" in capsys.readouterr().out
    for _ in range(2):
        assert finetune("teach", "--keep", "taught-1") == 0
    assert adapters.in_use(talks, TINY) is not None


WRONG = [
    ((), 2, "--keep RUN"),
    (("--keep", "a", "--drop", "b"), 2, "--keep RUN"),
    (("--keep", "nothing"), 1, "no run 'nothing'"),
    (("999", "-m", "nothing"), 1, "999"),
    (("seven",), 2, "'seven' is not a valid integer"),
]


@pytest.mark.usefixtures("talks")
@pytest.mark.parametrize(("arguments", "code", "sentence"), WRONG)
def test_what_makes_no_sense_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    assert finetune("teach", *arguments) == code
    assert sentence in capsys.readouterr().err
