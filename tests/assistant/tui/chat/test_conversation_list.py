"""The side list: groups, pages, keys and the mouse."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from textual.app import App, ComposeResult

from assistant.safe_text import cell_width
from assistant.tui.chat.conversation_list import PAGE_ROWS, ConversationList, ConversationRow, listing
from tests.assistant.tui.waiting import wait_until

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
HOUR_MS = 3_600_000
NOW_MS = int(NOW.timestamp() * 1000)


class ListApp(App[None]):
    def __init__(self, rows: Sequence[ConversationRow]) -> None:
        super().__init__()
        self.rows = rows
        self.fetches = 0
        self.heard: list[tuple[str, int | None]] = []

    def compose(self) -> ComposeResult:
        yield ConversationList()

    @property
    def side(self) -> ConversationList:
        return self.query_one(ConversationList)

    def on_mount(self) -> None:
        self.show()
        self.side.focus()

    def show(self) -> None:
        self.side.show(listing(len(self.rows), self.fetch, NOW, self.side.pages_in_sight))

    def on_conversation_list_page_wanted(self, event: ConversationList.PageWanted) -> None:
        self.side.put(event.number, self.fetch(event.number * PAGE_ROWS, PAGE_ROWS))

    def fetch(self, offset: int, limit: int) -> Sequence[ConversationRow]:
        self.fetches += 1
        return self.rows[offset : offset + limit]

    def on_conversation_list_opened(self, event: ConversationList.Opened) -> None:
        self.heard.append(("open", event.row.id))

    def on_conversation_list_action_wanted(self, event: ConversationList.ActionWanted) -> None:
        self.heard.append((event.action, event.row.id))

    def on_conversation_list_asked(self, event: ConversationList.Asked) -> None:
        self.heard.append((event.action, None))

    def lines(self) -> list[str]:
        return [self.side.render_line(y).text for y in range(self.side.size.height)]


def row(number: int, hours_ago: int, title: str = "", **more: bool) -> ConversationRow:
    return ConversationRow(number, title or f"Talk {number}", NOW_MS - hours_ago * HOUR_MS, **more)


async def test_rows_stand_in_groups_that_are_not_empty() -> None:
    rows = [row(1, 0, private=True), row(2, 900, pinned=True), row(3, 1), row(4, 20), row(5, 30), row(6, 400)]
    app = ListApp(rows)
    async with app.run_test(size=(28, 16)):
        shown = [line.strip(" …") for line in app.lines()]
    assert shown[:11] == [
        *("private", "Talk 1", "pinned", "Talk 2", "today", "Talk 3"),
        *("yesterday", "Talk 4", "Talk 5", "earlier", "Talk 6"),
    ]


async def test_wide_titles_fill_the_line_exactly() -> None:
    app = ListApp(
        [row(1, 0, "旅行计划：从北京到昆明的火车要坐多久"), row(2, 0, "A\x1b[31m title\nwith controls"), row(3, 0, " ")]
    )
    async with app.run_test(size=(24, 8)):
        lines = app.lines()
    assert {cell_width(line) for line in lines} == {23}  # one cell is the scrollbar's
    assert lines[1].strip().endswith("…")
    assert lines[2].strip() == "A title with controls"
    assert lines[3].strip() == "Untitled"


async def test_ten_thousand_rows_cost_a_few_pages() -> None:
    app = ListApp([row(number, number) for number in range(10_000)])
    async with app.run_test(size=(28, 20)) as pilot:
        assert app.fetches <= 3
        await pilot.press("end")
        await wait_until(pilot, lambda: any("Talk 9999" in line for line in app.lines()))
        assert app.fetches <= 5
        await pilot.press("home")
        assert "today" in app.lines()[0]


async def test_groups_far_down_are_found() -> None:
    app = ListApp([row(number, 0) for number in range(3 * PAGE_ROWS)] + [row(9_000 + n, 500) for n in range(40)])
    async with app.run_test(size=(28, 20)) as pilot:
        await pilot.press("end")
        await wait_until(pilot, lambda: any("Talk 9039" in line for line in app.lines()))
        assert app.fetches <= 6
        await pilot.press(*["up"] * 39)
        assert any(line.strip() == "earlier" for line in app.lines())


@pytest.mark.parametrize(
    ("key", "heard"),
    [
        ("enter", ("open", 2)),
        ("r", ("rename", 2)),
        ("p", ("pin", 2)),
        ("d", ("delete", 2)),
        ("delete", ("delete", 2)),
        ("n", ("new", None)),
        ("u", ("undo", None)),
        ("slash", ("search", None)),
    ],
)
async def test_keys(key: str, heard: tuple[str, int | None]) -> None:
    app = ListApp([row(1, 0), row(2, 0), row(3, 0)])
    async with app.run_test(size=(28, 10)) as pilot:
        await pilot.press("down", key)
    assert app.heard == [heard]


async def test_a_click_opens_a_row_and_its_dots_offer_the_rest() -> None:
    app = ListApp([row(1, 0), row(2, 0)])
    async with app.run_test(size=(28, 10)) as pilot:
        await pilot.click(ConversationList, offset=(4, 2))
        await pilot.click(ConversationList, offset=(25, 2))
        await pilot.click(ConversationList, offset=(4, 0))  # a heading
    assert app.heard == [("open", 2), ("more", 2)]


async def test_the_cursor_stays_on_its_row_when_rows_come() -> None:
    app = ListApp([row(1, 1), row(2, 2)])
    async with app.run_test(size=(28, 10)) as pilot:
        await pilot.press("down")
        app.rows = [row(3, 0), *app.rows]
        app.show()
        assert app.side.cursor_row is not None and app.side.cursor_row.id == 2
