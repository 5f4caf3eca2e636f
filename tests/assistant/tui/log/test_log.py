"""The Log screen: find, read, judge, and go where something was said. Over a real log on disk."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlite_utils import Database
from textual.widgets import Input, Static, TextArea

from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from assistant.store.search import exchanges
from assistant.store.search.filter import Filter
from assistant.tui.judging.compare import CompareScreen
from assistant.tui.log.rows import PAGE_ROWS
from assistant.tui.log.screen import LogScreen
from assistant.tui.widgets.status_line import StatusLine
from finetune.prove import enough
from tests.assistant.tui.conftest import MODEL, Window, said, window
from tests.fake_engine import FakeEngine


class Log:
    """The screen, and what it shows."""

    def __init__(self, shown: Window, screen: LogScreen) -> None:
        self.window = shown
        self.screen = screen
        self.press = shown.pilot.press
        self.until = shown.until

    @property
    def lines(self) -> list[str]:
        """The lines of the table, its headings first, without the empty ones."""
        table = self.screen.table
        lines = ["".join(segment.text for segment in table.render_line(y)) for y in range(table.size.height)]
        return [line.rstrip() for line in lines if line.strip()]

    @property
    def count(self) -> str:
        return str(self.screen.query_one("#count", Static).render())

    @property
    def status(self) -> str:
        return self.screen.query_one(StatusLine).told

    @property
    def detail(self) -> str:
        column = self.screen.detail._column
        lines = [line for entry in column.entries for line in entry.lines(100)]
        return "\n".join(line.content.plain.rstrip() for line in lines)

    @property
    def empty(self) -> str:
        return str(self.screen.query_one("#empty", Static).render())

    async def told(self, words: str) -> None:
        await self.until(lambda: words in self.status, f"{words!r} was never told")

    async def counted(self, text: str) -> None:
        await self.until(lambda: self.count == text, f"the count never was {text!r}")

    async def at(self, words: str) -> None:
        """Wait until the cursor is on a row whose prompt holds `words`."""
        await self.until(lambda: words in prompt_of(self.screen), f"never at {words!r}")


def prompt_of(screen: LogScreen) -> str:
    return "".join(text for text, _ in screen.table.row.prompt) if screen.table.row else ""


@asynccontextmanager
async def log(home: Paths, engine: FakeEngine, size: tuple[int, int] = (120, 32)) -> AsyncIterator[Log]:
    """The Log screen, opened from the chat."""
    async with window(home, engine, size=size) as shown:
        await shown.pilot.press("f8")
        screen = shown.app.screen
        assert isinstance(screen, LogScreen)
        await shown.until(lambda: screen._seen > 0, "the rows never came")
        yield Log(shown, screen)


def surprising(db: Database, conversation: int, question: str, surprise: float) -> int:
    """One more exchange, whose reply has this surprise. Its id."""
    leaf = conversations.get(db, conversation).leaf_id
    user = messages.add_user(db, conversation, leaf, question)
    reply = messages.begin_reply(db, conversation, user, Provenance(MODEL, "plain", "h", "", {}, 1))
    outcome = Outcome(completion_tokens=2, token_ids=[1, 2], logprobs=[-surprise, -surprise], device="cpu")
    messages.end_reply(db, reply, f"{question} indeed.", "complete", outcome)
    return reply


@pytest.fixture
def three(db: Database) -> Database:
    """Three exchanges; the newest is about a whale."""
    said(db, "Bread", ["How long do I knead?", "Ten minutes."], minutes_ago=90)
    said(db, "旅行", ["去昆明怎么走？", "坐高铁。"], minutes_ago=60)
    said(db, "Sea", ["Why do whales sing?", "鲸鱼唱歌 to find each other."], minutes_ago=30)
    return db


@pytest.mark.usefixtures("three")
async def test_every_exchange_is_listed_newest_first(model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        await shown.counted("3 of 3")
        assert [line.split()[1] for line in shown.lines[1:]] == ["Sea", "旅行", "Bread"]
        await shown.until(lambda: "to find each other" in shown.detail)
        assert f"model      {MODEL}" in shown.detail


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("typed", "title"), [("whal", "Sea"), ("鲸鱼", "Sea"), ("昆明", "旅行"), ("knead", "Bread")])
async def test_search_as_it_is_typed(typed: str, title: str, model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        await shown.press("slash", *typed)
        await shown.counted("1 of 3")
        row = shown.screen.table.row
        assert row is not None and row.title == title
        marked = [text.lower() for text, is_hit in (*row.prompt, *row.reply) if is_hit]
        assert all(text.startswith(typed) for text in marked) and marked
        await shown.press("escape")
        await shown.counted("3 of 3")


async def test_filter_words_and_what_is_wrong_with_them(three: Database, model_home: Paths, engine: FakeEngine) -> None:
    newest = exchanges.page(three)[0].message_id
    curation.rate(three, newest, 1)
    async with log(model_home, engine) as shown:
        await shown.press("f", *"goo")
        hint = shown.screen.query_one("#hint", Static)
        await shown.until(lambda: "no word 'goo'" in str(hint.render()))
        assert shown.screen.table.count == 3  # what was found stays while a word isn't finished
        await shown.press("d")
        await shown.counted("1 of 3")
        await shown.press(*" bad")
        await shown.until(lambda: "No reply matches the filter" in shown.empty)
        await shown.press("escape", "escape")
        await shown.counted("3 of 3")
        assert shown.screen.focused is shown.screen.table


@pytest.mark.usefixtures("three")
async def test_the_filter_line_completes_names(model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        line = shown.screen.query_one("#filter", Input)
        await shown.press("f", *"model:")
        await shown.until(lambda: line._suggestion == f"model:{MODEL}")
        await shown.press("right")
        assert line.value == f"model:{MODEL}"
        await shown.counted("3 of 3")


@pytest.mark.usefixtures("three")
async def test_what_to_do_when_nothing_is_found(model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        await shown.press("slash", *"zebra")
        await shown.until(lambda: "Nothing found for “zebra”" in shown.empty)
        assert shown.screen.has_class("-empty")


async def test_an_empty_log_says_how_to_fill_it(model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        assert "The log is empty" in shown.empty
        await shown.press("escape", "escape")
        await shown.until(lambda: shown.window.app.chat.is_current)


@pytest.mark.usefixtures("three")
async def test_sorting_by_key_and_by_click(model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        await shown.press("r")
        await shown.at("knead")
        await shown.press("o", *"conversation", "enter")
        await shown.at("whales")
        await shown.window.pilot.click(shown.screen.table, offset=(2, 0))
        await shown.until(lambda: "when ↓" in shown.lines[0])
        await shown.window.pilot.click(shown.screen.table, offset=(2, 0))
        await shown.until(lambda: "when ↑" in shown.lines[0])


async def test_rows_are_fetched_as_they_come_into_sight(db: Database, model_home: Paths, engine: FakeEngine) -> None:
    talk = conversations.create(db, model=MODEL).id
    for number in range(PAGE_ROWS * 3):
        surprising(db, talk, f"Question {number}", 1.0)
    async with log(model_home, engine) as shown:
        await shown.counted("150 of 150")
        assert len(shown.screen.table.held) == PAGE_ROWS
        await shown.press("end")
        await shown.at("Question 0")
        await shown.press("home", "slash", *"question ", "down", "end")
        await shown.until(lambda: shown.screen.table.count > PAGE_ROWS, "the search never went on")
        await shown.press("end")
        await shown.until(lambda: shown.screen.table.count > PAGE_ROWS * 2)
        await shown.press("end")
        await shown.until(lambda: shown.screen.table.count == 150)  # each once, though words of both sides match


@pytest.mark.parametrize(
    ("key", "told", "filter_"),
    [
        ("plus", "good", Filter(rating="good")),
        ("minus", "bad", Filter(rating="bad")),
        ("k", "kept for training", Filter(decision="keep")),
        ("s", "skipped in training", Filter(decision="skip")),
    ],
)
async def test_judging_undoing_and_doing_again(
    key: str, told: str, filter_: Filter, three: Database, model_home: Paths, engine: FakeEngine
) -> None:
    async with log(model_home, engine) as shown:
        await shown.press("down", key)
        await shown.told(f"{told} · z undoes")
        assert [row.title for row in exchanges.page(three, filter_)] == ["旅行"]
        row = shown.screen.table.row
        assert row is not None and row.exchange == exchanges.page(three, filter_)[0]  # shown in the row
        await shown.press("z")
        await shown.told("undone")
        assert exchanges.count(three, filter_) == 0
        await shown.press("Z")
        await shown.told("redone")
        assert exchanges.count(three, filter_) == 1


async def test_the_same_key_again_takes_it_back(three: Database, model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        await shown.press("plus")
        await shown.told("good")
        await shown.press("plus")
        await shown.told("cleared")
        await shown.press("k")
        await shown.told("kept")
        await shown.press("k")
        await shown.told("decision cleared")
        assert exchanges.count(three, Filter(judged=False)) == 3


async def test_correcting_noting_and_tagging(three: Database, model_home: Paths, engine: FakeEngine) -> None:
    reply = exchanges.page(three)[0].message_id
    async with log(model_home, engine) as shown:
        await shown.press("e")
        await shown.until(lambda: bool(shown.window.app.screen.query(TextArea)))
        shown.window.app.screen.query_one(TextArea).load_text("To be heard.")
        await shown.press("ctrl+g")
        await shown.told("corrected")
        await shown.until(lambda: "correction · 2 of 2" in shown.detail)
        assert "To be heard." in shown.detail
        await shown.press("n")
        await shown.until(lambda: bool(shown.window.app.screen.query(TextArea)))
        await shown.press(*"dry", "ctrl+g")
        await shown.told("note saved")
        await shown.press("t")
        await shown.until(lambda: bool(shown.window.app.screen.query("#query")))
        await shown.press(*"sea", "enter")
        await shown.told("tagged #sea")
        await shown.until(lambda: shown.lines[1].endswith("sea"))
        await shown.until(lambda: "dry" in shown.detail)
    assert curation.judgement(three, reply) == curation.Judgement(note="dry", tags=("sea",))


async def test_two_versions_are_compared_blind(three: Database, model_home: Paths, engine: FakeEngine) -> None:
    first = exchanges.page(three)[0]
    correction = curation.correct(three, first.message_id, "To be heard.")
    async with log(model_home, engine) as shown:
        await shown.until(lambda: "this one · 2 of 2" in shown.detail)
        await shown.press("v")
        app = shown.window.app
        await shown.until(lambda: isinstance(app.screen, CompareScreen) and app.screen.is_mounted)
        assert isinstance(app.screen, CompareScreen)
        first_is_a = app.screen._pair.ids[0] == first.message_id
        await shown.press("a" if first_is_a else "b", "enter")
        await shown.until(lambda: shown.screen.is_current)
        await shown.told("vote stored · z undoes")
        await shown.until(lambda: "1 × worse" in shown.detail)
        (vote,) = curation.preferences(three)
        assert conversations.get(three, first.conversation_id).leaf_id == first.message_id
        await shown.press("z")
        await shown.told("undone: vote")
        assert curation.preferences(three) == []
    assert (vote.chosen_id, vote.rejected_id, vote.blind) == (first.message_id, correction, True)
    assert vote.chosen_first is first_is_a


async def test_a_correction_that_is_taken_back_leaves_the_rows(
    three: Database, model_home: Paths, engine: FakeEngine
) -> None:
    curation.correct(three, exchanges.page(three)[0].message_id, "To be heard.")
    async with log(model_home, engine) as shown:
        await shown.counted("4 of 4")
        await shown.press("z")
        await shown.told("undone: correction")
        await shown.until(lambda: shown.screen.table.count == 3)
        await shown.at("whales")
        await shown.counted("3 of 3")


async def test_the_queue_brings_the_most_surprising_conversation_first(
    db: Database, model_home: Paths, engine: FakeEngine
) -> None:
    dull, odd = (conversations.create(db, model=MODEL).id for _ in range(2))
    surprising(db, odd, "Odd, first", 0.5)
    surprising(db, odd, "Odd, second", 9.0)
    surprising(db, dull, "Dull", 1.0)
    async with log(model_home, engine) as shown:
        await shown.press("q")
        await shown.counted("queue · 0 of 3 judged")
        hint = shown.screen.query_one("#hint", Static)
        await shown.until(lambda: "more rated replies to tell a 10 % gain from chance" in str(hint.render()))
        before = str(hint.render())
        assert shown.screen.table.count == 2
        await shown.at("Odd, first")
        await shown.press("plus")
        await shown.counted("queue · 1 of 3 judged")
        await shown.until(lambda: before != str(hint.render()) == enough.sentence(db))
        await shown.at("Odd, second")
        assert "+" in shown.lines[1]
        await shown.press("s")
        await shown.counted("queue · 2 of 3 judged")
        await shown.at("Dull")
        await shown.press("k")
        await shown.until(lambda: "Every reply here is judged" in shown.empty)
        await shown.press("z")
        await shown.at("Dull")
        await shown.counted("queue · 2 of 3 judged")
        await shown.press("q")
        await shown.counted("3 of 3")
        assert str(hint.render()) == ""
        await shown.at("Dull")  # the newest first again


async def test_undoing_in_the_queue_goes_back_to_what_was_judged(
    db: Database, model_home: Paths, engine: FakeEngine
) -> None:
    dull, odd = (conversations.create(db, model=MODEL).id for _ in range(2))
    surprising(db, odd, "Odd", 9.0)
    surprising(db, dull, "Dull", 1.0)
    surprising(db, dull, "Duller", 0.5)
    surprising(db, conversations.create(db, model=MODEL).id, "Between", 4.0)
    async with log(model_home, engine) as shown:
        await shown.press("q")
        await shown.at("Odd")
        await shown.press("k")
        await shown.at("Between")
        await shown.press("k")
        await shown.at("Dull")
        await shown.press("z")
        await shown.at("Between")
        await shown.press("z")
        await shown.at("Odd")
        await shown.press("Z")  # Odd is judged again, and its row is still there
        await shown.counted("queue · 1 of 4 judged")
        await shown.at("Odd")


@pytest.mark.usefixtures("three")
async def test_a_search_that_is_complete_counts_its_rows(model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as shown:
        await shown.press("slash", *"whales OR 鲸鱼")  # in what was asked and in the answer
        await shown.counted("1 of 3")


async def test_enter_goes_to_the_message_in_its_conversation(
    three: Database, model_home: Paths, engine: FakeEngine
) -> None:
    reply = exchanges.page(three)[0]
    other = curation.correct(three, reply.message_id, "To be heard.")  # now another branch is open
    async with log(model_home, engine) as shown:
        await shown.press("slash", *"鲸鱼")
        await shown.counted("1 of 4")
        await shown.press("enter", "enter")
        chat = shown.window.app.chat
        await shown.until(lambda: chat.is_current and chat.view.opened.conversation_id == reply.conversation_id)
        assert chat.view.transcript.selected == reply.message_id
        assert other not in [view.id for view in chat.view.shown]
        await shown.press("f8")
        await shown.until(lambda: shown.screen.is_current)
        assert shown.screen.query_one("#search", Input).value == "鲸鱼"  # as it was left


async def test_what_is_said_meanwhile_is_shown_on_coming_back(
    three: Database, model_home: Paths, engine: FakeEngine
) -> None:
    async with log(model_home, engine) as shown:
        await shown.counted("3 of 3")
        await shown.press("escape")
        said(three, "New", ["One more?", "Yes."])
        await shown.press("f8")
        await shown.counted("4 of 4")


async def test_a_row_without_a_reply_is_not_judged(three: Database, model_home: Paths, engine: FakeEngine) -> None:
    said(three, "Open end", ["Unanswered zebra"])
    async with log(model_home, engine) as shown:
        await shown.press("slash", *"zebra", "enter")
        await shown.at("Unanswered")
        await shown.press("plus")
        await shown.told("has no reply to judge")


@pytest.mark.usefixtures("three")
async def test_narrow_terminals_lose_columns_first(model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine, size=(80, 24)) as shown:
        await shown.counted("3 of 3")
        assert shown.lines[0].split() == ["when", "↓", "you", "reply", "surprise", "rating"]
        assert "Why do" in shown.lines[1] and "to find each other" in shown.detail
