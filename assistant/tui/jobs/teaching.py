"""The teaching that runs now or ran last, in its own process, and what it came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from assistant.paths import Paths
from assistant.store.database import select
from assistant.store.training import adapters, runs
from assistant.tui.jobs import commands
from assistant.tui.jobs.job import Job, result
from assistant.tui.jobs.watch import Watch
from finetune.teach.outcome import Outcome


@dataclass(slots=True)
class Teaching:
    """`finetune teach` as a job that outlives the window."""

    paths: Paths
    watch: Watch

    @classmethod
    def of(cls, paths: Paths) -> "Teaching":
        """The job of these folders, whoever started it."""
        return cls(paths, Watch(Job(paths, "teach")))

    def start(self, ids: Sequence[int]) -> None:
        """Teach the corrections of these messages. Raises as `Job.start`."""
        self.watch.start(["teach", *map(str, ids), "--json"])

    def stop(self) -> None:
        """Ask it to end; nothing remains then."""
        self.watch.job.stop()

    @property
    def outcome(self) -> Outcome | None:
        """What it came to; None while it runs and where it failed."""
        if self.watch.running:
            return None
        told = result(self.watch.job.output()[0])
        return Outcome.from_json({key: one for key, one in told.items() if key != "decision"}) if told else None

    async def decide(self, run: str, *, keep: bool) -> dict[str, Any]:
        """Keep or drop it. Raises as `commands.run`."""
        return await commands.run(self.paths, ["teach", "--keep" if keep else "--drop", run])


def is_undecided(db: Database, found: Outcome | None) -> bool:
    """Whether what was taught is neither kept nor dropped."""
    if found is None or runs.find(db, found.run) is None:
        return False
    return found.adapter_hash not in {one.adapter_hash for one in adapters.history(db, found.model)}


def teachable(db: Database, ids: Sequence[int]) -> list[int]:
    """Those of the messages that are corrections, or have one."""
    return [
        one
        for one in ids
        if select(
            db,
            "SELECT 1 FROM messages WHERE corrects_id = ? OR (id = ? AND corrects_id IS NOT NULL) LIMIT 1",
            (one, one),
        )
    ]
