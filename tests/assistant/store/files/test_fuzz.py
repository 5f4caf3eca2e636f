"""Made inputs for every reader: whatever a file holds, an import ends in a sound log or in one sentence.

By hand with many more: ASSISTANT_FUZZ=10000 pytest tests/assistant/store/files/test_fuzz.py
"""

import copy
import gzip
import json
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import deletion
from assistant.store.database import check, open_memory
from assistant.store.files.imports.importer import import_file
from tests.assistant.store.files import samples
from tests.assistant.store.files.databases.samples import SCHEMAS, database
from tests.assistant.store.files.programs.samples import PROGRAM_FILES
from tests.assistant.store.files.rows.test_rows import CHAINS, PAIRS, RATED

EXAMPLES = int(os.environ.get("ASSISTANT_FUZZ", "40"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
fuzzed_more = settings(fuzzed, max_examples=3 * EXAMPLES)
"""For a test that draws one of many formats."""
ROWS = PAIRS | CHAINS | {name: one for name, (one, _) in RATED.items()}

STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**63, -(2**70), 10**400, 1e308, float("nan"), float("inf"), "", "x", [], {}),
    *("\ud83d", "a\0b", "\ud83d\ude00", "0000-01-01T00:00:00", "10000-01-01", "1e400", "user", "assistant", "system"),
    *([[]], [None], [{}], {"": None}, {"type": []}, ["x", 1], -1.7e9, 253402300800, 1e15, "nan", "9999-12-31T23:59:59"),
]
values = st.one_of(
    st.sampled_from(STRANGE),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    ),
)


@st.composite
def damaged(draw: st.DrawFn, sound: list[Any]) -> list[Any]:
    """A sound file with up to six of its values put elsewhere, taken away, doubled or made into something else."""
    file = copy.deepcopy(sound)
    rng = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(1, 6))):
        places = list(_places(file))
        holder, key = places[rng.randrange(len(places))] if places else (None, None)
        if holder is None:
            break
        act = rng.choice(["strange", "strange", "delete", "move", "double"])
        if act == "delete":
            del holder[key]
        elif act == "move":
            other, name = places[rng.randrange(len(places))]
            holder[key] = copy.deepcopy(other[name])
        elif act == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(draw(values))
    return file


def _places(value: Any) -> Any:
    """(holder, key) of everything inside."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


@pytest.fixture(scope="module")
def log() -> Any:
    with closing(open_memory()) as db:
        yield db


def hold(db: Database, file: Path, *, salvage: bool = False) -> None:
    """Import the file twice: one sentence, or a sound log to which the second time adds nothing."""
    db.execute("UPDATE messages SET corrects_id = NULL")
    deletion.delete_conversations(db, [row["id"] for row in db["conversations"].rows])
    try:
        first = import_file(db, file, salvage=salvage)
        second = import_file(db, file, salvage=salvage)
    except StoreError as error:
        assert str(error)
        assert db["conversations"].count == 0
        return
    assert (second.conversations, second.left_out) == (0, first.left_out)
    assert db["conversations"].count == first.conversations
    assert db["messages"].count == first.messages
    assert check(db) == []
    for wrong in (
        "messages m JOIN messages p ON p.id = m.parent_id WHERE p.id >= m.id OR p.conversation_id <> m.conversation_id",
        "conversations c WHERE leaf_id IS NULL AND EXISTS (SELECT 1 FROM messages WHERE conversation_id = c.id)",
        "messages WHERE created_ms NOT BETWEEN 0 AND 253402300799999",
    ):
        assert db.execute(f"SELECT count(*) FROM {wrong}").fetchone() == (0,)


@pytest.mark.parametrize("name", samples.JSON_FILES)
@given(data=st.data())
@fuzzed
def test_any_json(log: Database, tmp_path: Path, name: str, data: st.DataObject) -> None:
    file = tmp_path / "file.json"
    file.write_text(json.dumps(data.draw(damaged(samples.JSON_FILES[name]))))
    hold(log, file)


@pytest.mark.parametrize("name", [*samples.JSON_FILES, "markdown"])
@given(cut=st.integers(0, 2**32), put=st.lists(st.tuples(st.integers(0, 2**32), st.binary(max_size=4)), max_size=4))
@fuzzed
def test_any_bytes(log: Database, tmp_path: Path, name: str, cut: int, put: list[tuple[int, bytes]]) -> None:
    sound = samples.markdown() if name == "markdown" else json.dumps(samples.JSON_FILES[name], ensure_ascii=False)
    content = bytearray(sound.encode())
    for at, piece in put:
        at %= len(content)
        content[at : at + len(piece)] = piece
    file = tmp_path / "file"
    file.write_bytes(content[: cut % len(content)] if cut % 3 == 0 else content)
    hold(log, file)


lines = st.sampled_from(
    [
        "# T",
        "\\# T",
        "## You · 2026-01-01 10:00",
        "## Assistant",
        "## You · never",
        "\\## You",
        "",
        "x",
        "```",
        "\0\ud83d",
    ]
)


@given(st.lists(lines, max_size=12))
@fuzzed
def test_any_markdown(log: Database, tmp_path: Path, said: list[str]) -> None:
    file = tmp_path / "file.md"
    file.write_bytes("\n".join(said).encode("utf-8", "surrogatepass"))
    hold(log, file)


@given(data=st.data())
@fuzzed_more
def test_any_file_of_a_program(log: Database, tmp_path: Path, data: st.DataObject) -> None:
    values = PROGRAM_FILES[data.draw(st.sampled_from(sorted(PROGRAM_FILES)))]
    file = tmp_path / "file.json"
    file.write_text(json.dumps(data.draw(damaged(values))))
    hold(log, file)


@given(data=st.data())
@fuzzed_more
def test_any_row(log: Database, tmp_path: Path, data: st.DataObject) -> None:
    rows = [ROWS[name] for name in data.draw(st.lists(st.sampled_from(sorted(ROWS)), min_size=1, max_size=3))]
    merged = {key: inner for one in rows for key, inner in one.items()} if data.draw(st.booleans()) else rows
    file = tmp_path / "file.json"
    file.write_text(json.dumps(data.draw(damaged([merged] if isinstance(merged, dict) else merged))))
    hold(log, file)


@given(data=st.data(), cut=st.integers(0, 2**32))
@fuzzed_more
def test_any_salvage(log: Database, tmp_path: Path, data: st.DataObject, cut: int) -> None:
    every = samples.JSON_FILES | PROGRAM_FILES
    values = every[data.draw(st.sampled_from(sorted(every)))]
    text = json.dumps(values) if data.draw(st.booleans()) else "\n".join(map(json.dumps, values))
    content = text.encode()[: cut % len(text)]
    file = tmp_path / "file.json"
    file.write_bytes(gzip.compress(content)[: -(cut % 3) or None] if cut % 2 else content)
    hold(log, file, salvage=True)


@pytest.mark.parametrize("version", [*samples.LLM_SCHEMAS, *SCHEMAS])
@given(data=st.data())
@fuzzed
def test_any_database(log: Database, tmp_path: Path, version: str, data: st.DataObject) -> None:
    file = database(tmp_path, version) if version in SCHEMAS else samples.llm_file(tmp_path, version)
    with closing(sqlite3.connect(file)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(data.draw(st.integers(1, 5))):
            table = data.draw(st.sampled_from(tables))
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            column = data.draw(st.sampled_from(columns))
            strange = data.draw(
                st.sampled_from(
                    [None, "", "x", b"\xff\0", 0, -5, 1.5, 2**62, "r1", "q", "a", "[[", '{"text_ref": [1]}']
                )
            )
            act = data.draw(st.sampled_from(["set", "set one", "delete", "drop column", "drop"]))
            statements = {
                "set": (f'UPDATE OR IGNORE {table} SET "{column}" = ?', (strange,)),
                "set one": (f'UPDATE OR IGNORE {table} SET "{column}" = ? WHERE rowid = 2', (strange,)),
                "delete": (f"DELETE FROM {table} WHERE rowid = 1", ()),
                "drop column": (f'ALTER TABLE {table} DROP COLUMN "{column}"', ()),
                "drop": (f"DROP TABLE {table}", ()),
            }
            try:
                db.execute(*statements[act])
            except (sqlite3.OperationalError, sqlite3.IntegrityError):
                continue
            if act == "drop":
                tables.remove(table)
            if not tables:
                break
        db.commit()
    hold(log, file)


@given(cut=st.integers(1, 2**32), put=st.lists(st.tuples(st.integers(0, 2**32), st.binary(max_size=64)), max_size=4))
@fuzzed
def test_any_damage_to_logs_of_llm(log: Database, tmp_path: Path, cut: int, put: list[tuple[int, bytes]]) -> None:
    file = samples.llm_file(tmp_path, "0.32")
    content = bytearray(file.read_bytes())
    for at, piece in put:
        at %= len(content)
        content[at : at + len(piece)] = piece
    file.write_bytes(content[: cut % len(content)] if cut % 3 == 0 else content)
    hold(log, file)
