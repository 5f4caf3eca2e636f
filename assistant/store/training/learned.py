"""What was learned from replies: the datasets that hold them, and the runs and adapters trained on these.

Deleting a reply takes it out of the datasets, not out of the weights of an adapter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlite_utils import Database

from assistant.store.database import select

AT_ONCE = 500
"""SQLite takes so many values in one query on every build."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Names, in order. `examples` is how many were made of the replies."""

    examples: int = 0
    datasets: Sequence[str] = field(default_factory=list)
    runs: Sequence[str] = field(default_factory=list)
    adapters: Sequence[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.examples > 0

    def sentence(self) -> str:
        """For a person, before and after deleting; empty where nothing was learned."""
        if not self:
            return ""
        plural = "" if self.examples == 1 else "s"
        told = f"{self.examples:,} example{plural} in the dataset{_names(self.datasets)} came from this"
        if self.adapters:
            return f"{told}; the adapter{_names(self.adapters)} learned from it, and keeps what it learned."
        return f"{told}; no adapter has learned from it."


def from_conversations(db: Database, ids: Sequence[int]) -> Learned:
    """What learned from any message of these conversations."""
    return _learned(db, ids, "SELECT id FROM messages WHERE conversation_id IN ({})")


def from_messages(db: Database, ids: Sequence[int]) -> Learned:
    """What learned from any of these messages."""
    return _learned(db, ids, "{}")


def _learned(db: Database, ids: Sequence[int], messages: str) -> Learned:
    examples: dict[int, int] = {}
    for begin in range(0, len(ids), AT_ONCE):
        some = ids[begin : begin + AT_ONCE]
        mine = messages.format(", ".join("?" * len(some)))
        query = " UNION ".join(
            f"SELECT id, dataset_id FROM examples WHERE {column} IN ({mine})"
            for column in ("message_id", "rejected_id")
        )
        examples |= dict(select(db, query, (*some, *some)))
    datasets = set(examples.values())
    runs = _of(db, "name", "runs WHERE dataset_id", datasets)
    adapters = _of(db, "a.name", "adapters a JOIN runs r ON r.id = a.run_id WHERE r.dataset_id", datasets)
    return Learned(len(examples), _of(db, "name", "datasets WHERE id", datasets), runs, adapters)


def _of(db: Database, column: str, tables: str, datasets: Iterable[int]) -> list[str]:
    names: set[str] = set()
    for one in datasets:
        names |= {row[0] for row in select(db, f"SELECT {column} FROM {tables} = ?", (one,))}
    return sorted(names)


def _names(names: Sequence[str]) -> str:
    return f"{'' if len(names) == 1 else 's'} {', '.join(names)}"
