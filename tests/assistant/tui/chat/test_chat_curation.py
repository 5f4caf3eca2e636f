"""Judging messages where they are read, on a real log."""

import pytest
from sqlite_utils import Database
from textual.widgets import Input, TextArea

from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.judgements import curation
from assistant.store.judgements.curation import Judgement
from assistant.tui.widgets.status_line import StatusLine, hints_of
from tests.assistant.tui.conftest import Window, heading, said, window
from tests.fake_engine import FakeEngine, Reply

JUDGED = [
    ("plus", Judgement(rating=1), "+ good"),
    ("minus", Judgement(rating=-1), "- bad"),
    ("k", Judgement(decision="keep"), "kept"),
    ("s", Judgement(decision="skip"), "skipped"),
]


async def to_last_message(shown: Window, conversation: int) -> None:
    """Open a conversation and go to its last message."""
    await shown.show(conversation)
    shown.composer.load_text("")
    await shown.pilot.press("up")


def marks(shown: Window) -> list[tuple[str, ...]]:
    return [shown.transcript.view(view.id).marks for view in shown.view.shown]


@pytest.mark.parametrize(("key", "judgement", "mark"), JUDGED)
async def test_one_key_judges_and_the_same_again_takes_it_back(
    model_home: Paths, db: Database, engine: FakeEngine, key: str, judgement: Judgement, mark: str
) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    reply = conversations.get(db, talk).leaf_id or 0
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press(key)
        assert curation.judgement(db, reply) == judgement
        assert marks(shown) == [(), (mark,)]
        await shown.pilot.press(key)
        assert curation.judgement(db, reply) == Judgement()
        await shown.pilot.press("z")
        assert marks(shown) == [(), (mark,)]
        await shown.pilot.press("z")
        assert marks(shown) == [(), ()]
        await shown.pilot.press("Z")
        assert curation.judgement(db, reply) == judgement


async def test_a_tag_and_a_note_are_put_on_any_message(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("t")
        assert heading(shown.app.screen) == "Tag"
        shown.app.screen.query_one(Input).value = "旅行"
        await shown.pilot.pause()
        await shown.pilot.press("enter")
        await shown.until(lambda: marks(shown)[1] == ("#旅行",))
        await shown.pilot.press("up", "n")
        assert heading(shown.app.screen) == "Note"
        shown.app.screen.query_one(TextArea).load_text("ask better")
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: marks(shown)[0] == ("note",))
        await shown.pilot.press("down", "t", "enter")  # the tag that is on it comes first
        await shown.until(lambda: marks(shown)[1] == ())
        assert shown.view.target is not None
        assert shown.view.target.role == "assistant"
    user = messages.all_of(db, talk)[0].id
    assert curation.judgements_of(db, talk) == {user: Judgement(note="ask better")}


async def test_a_correction_is_open_and_undoing_it_opens_what_was_said_before(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Talk", ["Hello", "Hi.", "And?", "That's all."])
    first_reply = messages.all_of(db, talk)[1].id
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("up", "up", "e")
        assert heading(shown.app.screen) == "Correct the reply"
        shown.app.screen.query_one(TextArea).load_text("Good morning.")
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: shown.texts() == ["Hello", "Good morning."])
        assert shown.view.shown[1].siblings == 2
        assert marks(shown)[1] == ("correction",)
        assert shown.transcript.selected == shown.view.shown[1].id
        await shown.pilot.press("left")
        assert shown.texts() == ["Hello", "Hi.", "And?", "That's all."]
        await shown.pilot.press("z")
        assert shown.texts() == ["Hello", "Hi.", "And?", "That's all."]
        assert shown.view.shown[1].siblings == 1
        await shown.pilot.press("Z")
        await shown.until(lambda: shown.texts() == ["Hello", "Good morning."])
    assert messages.get(db, first_reply).content == "Hi."


async def test_undoing_goes_to_the_message_that_it_is_about(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Talk", ["Hello", "Hi.", "And?", "That's all."])
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("up", "up", "k")
        line = shown.app.chat.query_one(StatusLine)
        assert line.told == "kept for training · z undoes"
        await shown.pilot.press("down", "down", "z")
        assert line.told.startswith("undone: ")
        assert shown.transcript.selected == shown.view.shown[1].id
        await shown.pilot.press("e")
        shown.app.screen.query_one(TextArea).load_text("Good morning.")
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: shown.texts() == ["Hello", "Good morning."])
        await shown.pilot.press("z")
        assert shown.texts() == ["Hello", "Hi.", "And?", "That's all."]
        assert shown.transcript.selected == shown.view.shown[1].id


async def test_leaving_a_correction_changes_nothing(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("e", "escape")
        assert shown.texts() == ["Hello", "Hi."]
        assert shown.view.shown[1].siblings == 1


async def test_the_same_letters_are_text_in_the_composer(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        await shown.show(talk)
        await shown.pilot.press(*"ktsnz", "plus", "minus", *"evf")
        assert shown.composer.text == "ktsnz+-evf"
        assert not {"+ good", "- bad"} & {hint.text for hint in hints_of(shown.app.screen)}
    assert curation.judgements_of(db, talk) == {}


async def test_an_older_reply_is_judged_while_the_next_one_grows(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    reply = conversations.get(db, talk).leaf_id or 0
    engine.enqueue(Reply("one two three", hold_after=1))
    async with window(model_home, engine) as shown:
        await shown.show(talk)
        await shown.say("Count")
        await shown.until(lambda: bool(shown.view.reply and shown.view.reply.text))
        shown.transcript.focus()
        await shown.pilot.press("plus", "e")  # of the reply that grows: nothing
        assert shown.app.screen is shown.app.chat
        shown.transcript.select(reply)
        await shown.pilot.press("plus")
        await shown.until(lambda: marks(shown)[1] == ("+ good",))
        engine.release()
        await shown.reply()
        assert shown.texts()[-1] == "one two three"
    assert [row.rating for row in curation.judgements_of(db, talk).values()] == [1]


async def test_the_footer_offers_what_works_on_the_message(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    async with window(model_home, engine, size=(160, 45)) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.pause()
        offered = {hint.text for hint in hints_of(shown.app.screen)}
        assert {"+ good", "- bad", "e correct", "t tag", "n note", "k keep", "s skip", "z undo"} <= offered
        assert "e correct" in shown.app.chat.query_one(StatusLine).render().plain
        await shown.pilot.press("up")
        offered = {hint.text for hint in hints_of(shown.app.screen)}
        assert {"e edit", "t tag", "n note"} <= offered
        assert not {"+ good", "- bad", "e correct", "k keep", "s skip"} & offered


async def test_what_is_judged_in_private_stays_there(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    engine.enqueue(Reply("Hi."))
    async with window(model_home, engine) as shown:
        await shown.pilot.press("ctrl+r")
        await shown.say("Hello")
        await shown.reply()
        await shown.pilot.press("up", "plus")
        assert marks(shown)[-1] == ("+ good",)
    assert db["acts"].count == 0


async def test_many_tags_leave_room_for_the_rest(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    reply = conversations.get(db, talk).leaf_id or 0
    for tag in ("a", "一个非常非常长的标签名字", "c", "d"):
        curation.tag(db, reply, tag)
    curation.rate(db, reply, 1)
    async with window(model_home, engine, size=(80, 24)) as shown:
        await to_last_message(shown, talk)
        assert marks(shown)[1][:2] == ("+ good", "#a")
        assert marks(shown)[1][-1] == "+2 tags"
