"""A task for every row of a file: in order, several at once, and after a kill from where it was.

Outcomes are kept in a journal beside the output; the output is written at the end, all of it or nothing. What a row
fails with stands in the output and stops nothing.
"""

import asyncio
import hashlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError, EngineDied, EngineUnreachable
from assistant.tasks.journal import Journal
from assistant.tasks.rows import InputUnreadable, rows
from assistant.tasks.task import Outcome, Row, Task, default_calibration
from prompts.errors import InputsInvalid
from prompts.labels import Calibration

AT_ONCE = 8
"""Rows that the engine is asked about together."""


@dataclass(slots=True)
class Batch:
    """One run of `task` over the file `source`. `method` "" chooses the calibration by the number of rows."""

    task: Task
    source: Path
    method: str
    journal_file: Path
    total: int = 0
    resumed: int = 0
    """Rows that an earlier run had done."""
    failed: int = 0
    left_out: int = 0
    """Examples that the context had no room for, over all rows."""
    digest: str = ""
    """SHA-256 of the file, once it was asked about."""
    columns: list[str] = field(default_factory=list)
    """Of the output, in order."""
    _journal: Journal = field(init=False)

    async def ask(self, progress: Callable[[int], None]) -> None:
        """Ask about every row that the journal doesn't hold. `progress` gets the number of rows that are done.

        Raises `InputUnreadable` before anything is asked.
        """
        self._look()
        self._journal = Journal(self.journal_file, self._identity())
        done = self.resumed = self._journal.open()
        try:
            progress(done)
            left = itertools.islice(rows(self.source), done, None)
            async with aclosing(asked(self.task, left)) as outcomes:
                async for outcome in outcomes:
                    self._journal.add(outcome)
                    done += 1
                    progress(done)
        finally:
            self._journal.close()

    def outcomes(self) -> Iterator[Outcome]:
        """What the model made of each row, in order."""
        return self._journal.outcomes()

    async def predictions(
        self, fitted: Callable[[int], Sequence[Calibration]] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Each row with its `prediction`, `probabilities` where the task has them, and `error` where it failed.

        `fitted` gives the calibrations for a row by its number; otherwise they are made as `method` says.
        """
        self.method = self.method or (default_calibration(self.total) if self.task.scored else "none")
        made = [] if fitted else await self.task.calibration(self.method, self._journal.outcomes())

        def predicted() -> Iterator[dict[str, Any]]:
            for number, (row, outcome) in enumerate(zip(rows(self.source), self._journal.outcomes(), strict=True)):
                result = prediction(self.task, row, outcome, fitted(number) if fitted else made)
                self.failed += "error" in result
                self.left_out += outcome.get("left_out", 0)
                yield {**row, **result}

        return predicted()

    def end(self) -> None:
        """The output is written: there is nothing to go on with."""
        self._journal.remove()

    def _look(self) -> None:
        """How many rows there are, their columns, and which file it is."""
        names: dict[str, None] = {}
        for row in rows(self.source):
            self.total += 1
            names |= dict.fromkeys(row)
        if not self.total:
            raise InputUnreadable(f"{self.source} holds no rows.")
        if self.task.column not in names:
            known = ", ".join(names)
            raise InputUnreadable(f"{self.source} has no {self.task.column!r}, but {known}. Name the column of inputs.")
        with self.source.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.columns = list(names | dict.fromkeys([*self.task.columns, "error"]))

    def _identity(self) -> dict[str, Any]:
        return {
            "template": self.task.template.hash,
            "values": dict(self.task.values),
            "model": self.task.model,
            "adapter": self.task.adapter,
            "adapter_hash": self.task.speaker.hash,
            "sampling": self.task.sampling.as_dict(),
            "input": self.digest,
            "column": self.task.column,
            "examples": self.task.shots.identity() if self.task.shots else None,
        }


def prediction(task: Task, row: Row, outcome: Outcome, calibrations: Sequence[Calibration]) -> dict[str, Any]:
    """`prediction`, `probabilities` where the task has them; both None, and `error`, where it failed."""
    result: dict[str, Any] = dict.fromkeys(task.columns)
    try:
        if "error" in outcome:
            raise AssistantError(outcome["error"])
        return result | task.predict(row, outcome, calibrations)
    except AssistantError as error:
        return result | {"error": str(error)}


async def asked(task: Task, some: Iterable[Row]) -> AsyncGenerator[Outcome]:
    """The outcome of each row in order, `AT_ONCE` of them on their way."""
    waiting: deque[asyncio.Task[Outcome]] = deque()
    try:
        for row in some:
            waiting.append(asyncio.create_task(_outcome(task, row)))
            if len(waiting) >= AT_ONCE:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _outcome(task: Task, row: Row) -> Outcome:
    try:
        try:
            return await task.ask(row)
        except (EngineDied, EngineUnreachable):  # perhaps by another request: once more, with a new one
            return await task.ask(row)
    except (AssistantError, InputsInvalid) as error:
        return {"error": str(error)}
