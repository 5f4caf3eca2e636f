import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.store.database import open_memory
from assistant.store.files.imports.importer import Report, import_file

Take = Callable[..., Report]


@pytest.fixture
def memory() -> Iterator[Database]:
    with closing(open_memory()) as db:
        yield db


@pytest.fixture
def take(memory: Database, tmp_path: Path) -> Take:
    """Import text, bytes, or a value as JSON into `memory`."""

    def call(content: Any, **options: Any) -> Report:
        file = tmp_path / "file"
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        file.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return import_file(memory, file, **options)

    return call
