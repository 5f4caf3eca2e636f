"""The log of this person, opened for one command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assistant.paths import Paths

if TYPE_CHECKING:
    from sqlite_utils import Database


@contextmanager
def opened_log() -> "Iterator[Database]":
    """The log, closed at the end."""
    from assistant.store.database import open_database
    from assistant.store.files.imports import importing

    db = open_database(Paths.from_environment().create().database)
    try:
        importing.take_out_left(db)
        yield db
    finally:
        db.close()
