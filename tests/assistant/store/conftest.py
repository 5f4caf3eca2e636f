from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.store.database import open_database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def db(file: Path) -> Iterator[Database]:
    db = open_database(file)
    yield db
    db.close()
