"""What came of each row so far, on disk: a run that was killed goes on from there."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assistant.tasks.rows import writing
from assistant.tasks.task import Outcome


class Journal:
    """The outcomes of one run so far. Its first line says what was run: another run's journal is begun anew."""

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        self._head = json.dumps(run, ensure_ascii=False, sort_keys=True) + "\n"

    def open(self) -> int:
        """Make it ready to be added to; how many outcomes it holds. A line that a kill cut off is dropped."""
        kept = whole = 0
        with writing(self.path):
            if self.path.exists():
                with self.path.open("rb") as file:
                    if file.readline() == self._head.encode():
                        whole = file.tell()
                        for line in file:
                            if not line.endswith(b"\n"):
                                break
                            kept, whole = kept + 1, whole + len(line)
            self._file = self.path.open("r+b" if whole else "wb")
            self._file.truncate(whole)
            self._file.seek(0, os.SEEK_END)
            if not whole:
                self._file.write(self._head.encode())
        return kept

    def add(self, outcome: Outcome) -> None:
        """At the end. Raises `OutputUnwritable`, as `open` does."""
        with writing(self.path):
            self._file.write(json.dumps(outcome, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Keep it for the next run."""
        with writing(self.path):
            self._file.close()

    def remove(self) -> None:
        """The run has ended."""
        self.path.unlink()

    def outcomes(self) -> Iterator[Outcome]:
        """All, in the order of the rows."""
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                yield json.loads(line.decode("utf-8", "surrogatepass"))
