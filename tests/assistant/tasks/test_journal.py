"""The journal of a run: what is kept of it, and a disk that is full."""

import resource
from pathlib import Path

import pytest

from assistant.tasks.journal import Journal
from assistant.tasks.rows import OutputUnwritable


def journal(path: Path, run: str = "a") -> tuple[Journal, int]:
    one = Journal(path, {"run": run})
    return one, one.open()


def test_it_goes_on_with_the_same_run_alone(tmp_path: Path) -> None:
    first, kept = journal(tmp_path / "j")
    assert kept == 0
    first.add({"text": "一"})
    first.add({"text": "\ud800"})
    first.close()
    again, kept = journal(tmp_path / "j")
    again.close()
    assert (kept, list(again.outcomes())) == (2, [{"text": "一"}, {"text": "\ud800"}])
    other, kept = journal(tmp_path / "j", "b")
    other.close()
    assert (kept, list(other.outcomes())) == (0, [])


def test_a_full_disk_is_a_sentence_and_what_came_before_is_kept(tmp_path: Path) -> None:
    full, _ = journal(tmp_path / "j")
    full.add({"text": "before"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "j").stat().st_size + 4, before[1]))
    try:
        with pytest.raises(OutputUnwritable, match="run it again"):
            full.add({"text": "after"})
        with pytest.raises(OutputUnwritable, match="run it again"):
            full.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    again, kept = journal(tmp_path / "j")
    again.close()
    assert (kept, list(again.outcomes())) == (1, [{"text": "before"}])
