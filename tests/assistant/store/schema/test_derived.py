"""What is derived from messages, put together at the end of an import into a scratch log."""

from contextlib import closing
from pathlib import Path

import pytest

from assistant.store.database import is_private, open_database, open_memory, open_scratch, select
from assistant.store.files.imports.importer import import_file
from assistant.store.schema import derived
from assistant.store.schema.derived import rebuilt_after
from tests.finetune import corpus

WORDS = "SELECT count(*) FROM messages_words WHERE messages_words MATCH 'you'"


def test_a_scratch_log_is_whole_after_an_import(tmp_path: Path) -> None:
    file, later = corpus.write(tmp_path / "a.jsonl"), corpus.write(tmp_path / "b.jsonl", "chinese", most=5)
    with closing(open_scratch()) as db, closing(open_memory()) as one_by_one:
        with rebuilt_after(db):
            import_file(db, file)
            assert not select(db, "SELECT 1 FROM exchanges")
        import_file(one_by_one, file)
        assert derived.troubles(db) == []
        assert select(db, WORDS) == select(one_by_one, WORDS) != [(0,)]
        import_file(db, later)  # one by one again
        assert derived.troubles(db) == []


def test_what_came_in_before_a_mistake_is_there(tmp_path: Path) -> None:
    with closing(open_scratch()) as db:
        with pytest.raises(ZeroDivisionError), rebuilt_after(db):
            import_file(db, corpus.write(tmp_path / "a.jsonl", most=5))
            raise ZeroDivisionError
        assert derived.troubles(db) == []


def test_only_a_file_can_be_opened_by_others(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "log.db")) as log, closing(open_scratch()) as scratch:
        assert not is_private(log) and is_private(scratch)
