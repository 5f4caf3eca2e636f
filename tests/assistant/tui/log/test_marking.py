"""Rows of the Log screen are marked, and judged, tagged and undone as one."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from assistant.paths import Paths
from assistant.store.database import open_database
from assistant.store.judgements import curation
from assistant.store.search import exchanges
from assistant.store.search.filter import EVERYTHING, Filter
from assistant.tui.log import marking
from assistant.tui.log.exchange_table import MARK
from assistant.tui.log.rows import PAGE_ROWS
from assistant.tui.widgets.status_line import StatusLine
from tests.assistant.tui.conftest import said
from tests.assistant.tui.log.test_log import Log, log
from tests.fake_engine import FakeEngine

GOOD = Filter(rating="good")


@pytest.fixture
def talks(db: Database) -> Database:
    """More exchanges than a page of the table, every third about the sea."""
    for number in range(PAGE_ROWS + 20):
        about = "sea" if number % 3 == 0 else "land"
        said(db, about, [f"What about the {about}, {number}?", f"Reply {number}."], minutes_ago=number)
    return db


def state(shown: Log) -> str:
    return shown.screen.query_one(StatusLine).state


def marks(shown: Log) -> list[bool]:
    """Of each line below the headings, whether it has the mark."""
    return [line.startswith(MARK) for line in shown.lines[1:]]


async def test_space_marks_a_row_and_goes_on(talks: Database, model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        await shown.press("space", "space", "down", "space")
        await shown.until(lambda: state(shown).startswith("3 marked"))
        assert marks(shown)[:5] == [True, True, False, True, False]
        await shown.press("up", "space")  # the same again: no longer
        await shown.until(lambda: marks(shown)[:5] == [True, True, False, False, False])
        await shown.press("plus")
        await shown.told("2 replies good · z undoes")
        assert [one.message_id for one in exchanges.page(talks, GOOD)] == [140, 138]
        await shown.press("escape")
        await shown.until(lambda: state(shown) == "" and not any(marks(shown)))
        await shown.press("z")
        await shown.told("rating good of 2 replies taken back")
        assert exchanges.count(talks, GOOD) == 0


@pytest.mark.parametrize(
    ("key", "told", "filter_"),
    [
        ("plus", "good", GOOD),
        ("minus", "bad", Filter(rating="bad")),
        ("k", "kept for training", Filter(decision="keep")),
        ("s", "skipped in training", Filter(decision="skip")),
    ],
)
async def test_all_are_judged_undone_and_redone_with_one_key(
    key: str, told: str, filter_: Filter, talks: Database, model_home: Paths, engine: FakeEngine
) -> None:
    """Also those on pages that the table hasn't fetched."""
    total = exchanges.count(talks)
    async with log(model_home, engine) as shown:
        await shown.press("a")
        await shown.until(lambda: state(shown).startswith(f"{total} marked"))
        await shown.press(key)
        await shown.told(f"{total} replies {told} · z undoes")
        assert exchanges.count(talks, filter_) == total
        await shown.press("z")
        await shown.told("taken back")
        assert exchanges.count(talks, filter_) == 0
        await shown.press("Z")
        await shown.told("put back")
        assert exchanges.count(talks, filter_) == total
        await shown.press(key)  # all are judged so: cleared
        await shown.told(f"{total} replies cleared")
        assert exchanges.count(talks, filter_) == 0
        await shown.press("a")
        await shown.until(lambda: state(shown) == "")


@pytest.mark.parametrize("keys", [("slash", *"sea", "enter"), ("f", *"#sea", "enter")])
async def test_all_are_those_that_search_and_filter_leave(
    keys: tuple[str, ...], talks: Database, model_home: Paths, engine: FakeEngine
) -> None:
    for one in exchanges.page(talks, limit=1000):
        if "sea" in one.prompt:
            curation.tag(talks, one.message_id, "sea")
    async with log(model_home, engine) as shown:
        await shown.press(*keys)
        await shown.until(lambda: shown.count.startswith("24"), "it was not found")
        await shown.press("a")
        await shown.until(lambda: state(shown).startswith("24 marked"))
        await shown.press("plus")
        await shown.told("24 replies good")
        assert {one.title for one in exchanges.page(talks, GOOD, limit=1000)} == {"sea"}
        await shown.press("f", "end", *" unrated")  # other rows are shown: the marks go
        await shown.until(lambda: state(shown) == "" and not shown.screen.marking.ids)


async def test_all_marked_are_tagged(talks: Database, model_home: Paths, engine: FakeEngine) -> None:
    total = exchanges.count(talks)
    async with log(model_home, engine) as shown:
        await shown.press("a", "t")
        await shown.until(lambda: bool(shown.window.app.screen.query("#query")))
        await shown.press(*"waves", "enter")
        await shown.told(f"{total} replies tagged #waves")
        assert exchanges.count(talks, Filter(tags=("waves",))) == total
        await shown.press("t")
        await shown.until(lambda: bool(shown.window.app.screen.query("#query")))
        await shown.press(*"waves", "enter")
        await shown.told(f"{total} replies untagged #waves")
        assert exchanges.count(talks, Filter(tags=("waves",))) == 0


@pytest.mark.usefixtures("talks")
async def test_the_queue_brings_the_next_conversation_after_all_are_judged(
    model_home: Paths, engine: FakeEngine
) -> None:
    async with log(model_home, engine) as shown:
        await shown.press("q")
        await shown.until(lambda: shown.count.startswith("queue · 0"))
        first = shown.screen.table.row
        await shown.press("a", "plus")
        await shown.until(lambda: shown.count.startswith("queue · 1 of"))
        await shown.until(lambda: shown.screen.table.row not in (None, first))
        assert not shown.screen.marking.ids


async def test_d_reads_on_and_space_too_in_the_pane(db: Database, model_home: Paths, engine: FakeEngine) -> None:
    said(db, "long", ["Tell me all.", "\n\n".join(f"Paragraph {number}." for number in range(90))])
    async with log(model_home, engine, (80, 24)) as shown:
        await shown.until(lambda: "Paragraph 80" in shown.detail)
        await shown.press("d")
        await shown.until(lambda: shown.screen.detail.scroll_offset.y > 0)
        at = shown.screen.detail.scroll_offset.y
        shown.screen.detail.focus()
        await shown.press("space")
        await shown.until(lambda: shown.screen.detail.scroll_offset.y > at)
        assert not shown.screen.marking.ids


@pytest.fixture
def many(model_home: Paths) -> Iterator[Database]:
    """20,000 exchanges."""
    db = open_database(model_home.database)
    with db.conn:
        db.conn.execute("INSERT INTO conversations (id, created_ms, updated_ms, model) VALUES (1, 0, 0, 'm')")
        db.conn.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO messages (id, conversation_id, role, content, created_ms, updated_ms, state) "
            "SELECT i, 1, 'assistant', 'a', 0, 0, 'complete' FROM n"
        )
    yield db
    db.close()


async def test_many_leave_the_screen_free_and_say_how_far_it_is(
    many: Database, model_home: Paths, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "SAID_AFTER_S", 0.0)
    async with log(model_home, engine) as shown:
        await shown.press("a")
        await shown.until(lambda: state(shown).startswith("20,000 marked"))
        heard: list[str] = []
        monkeypatch.setattr(StatusLine, "tell", lambda _, told: heard.append(told))
        shown.screen.action_rate(1)
        stalls = [0.0]
        while not any("good" in one for one in heard):
            began_s = time.monotonic()
            await asyncio.sleep(0.005)
            stalls.append(time.monotonic() - began_s)
        assert heard[0].startswith("judging 5,000 of 20,000 · ") and heard[-1] == "20,000 replies good · z undoes"
        assert max(stalls) < 1.0  # a quarter of the work, were it done on the event loop
        assert exchanges.count(many, EVERYTHING) == exchanges.count(many, GOOD) == 20_000
