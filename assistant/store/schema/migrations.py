"""The steps that lead to the schema of the log. Append only: a step that has been released never changes."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlite_utils import Database, Migrations

from assistant import ratings

migrations = Migrations("assistant")


@migrations()
def first_schema(db: Database) -> None:
    """The tables of the first release."""
    for statement in _statements(Path(__file__).with_name("first_schema.sql")):
        db.conn.execute(statement)
    add_ratings(db, ratings.EVERY)


def add_ratings(db: Database, known: Sequence[ratings.Rating]) -> None:
    """Allow replies to be rated so. A rating that is added later comes with a step that calls this."""
    db.conn.executemany("INSERT OR IGNORE INTO ratings VALUES (?, ?)", [(one.number, one.word) for one in known])


def _statements(file: Path) -> Iterator[str]:
    """The statements of a file of SQL, each ending with a line."""
    statement = ""
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
