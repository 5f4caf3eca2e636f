"""What a person does in the chat, on a scripted engine and a real log."""

import pytest
from sqlite_utils import Database

from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages
from assistant.tui.dialogs.pick import PickScreen
from assistant.tui.models.screen import ModelsScreen
from tests.assistant.tui.conftest import said, window
from tests.fake_engine import Die, Fail, FakeEngine, Reply


def latest_path(db: Database) -> list[tuple[str, str]]:
    """(text, state) of every message of the open path of the newest conversation."""
    conversation = conversations.latest(db)
    assert conversation is not None and conversation.leaf_id is not None
    return [(row.content, row.state) for row in messages.path(db, conversation.leaf_id)]


async def test_enter_sends_and_the_reply_is_shown_and_stored(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    engine.enqueue(Reply("Paris, of course."))
    async with window(model_home, engine) as shown:
        await shown.pilot.press(*"Capital?")
        await shown.pilot.press("enter")
        await shown.reply()
        assert shown.texts() == ["Capital?", "Paris, of course."]
        assert shown.composer.text == ""
        row = shown.app.chat.side.conversations.cursor_row
        assert row is not None and row.title == "Capital?"
    assert latest_path(db) == [("Capital?", "complete"), ("Paris, of course.", "complete")]


async def test_escape_stops_the_reply_and_keeps_what_was_said(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    engine.enqueue(Reply("one two three four", hold_after=2))
    async with window(model_home, engine) as shown:
        await shown.say("Count")
        await shown.until(lambda: "two" in (shown.view.reply.text if shown.view.reply else ""))
        await shown.pilot.press("escape")
        await shown.reply()
        assert shown.texts()[-1] == "one two"
        assert shown.states()[-1] == "stopped"
    assert latest_path(db)[-1] == ("one two", "stopped")


async def test_regenerate_makes_a_sibling_and_the_arrows_step_through_them(
    model_home: Paths, engine: FakeEngine
) -> None:
    engine.enqueue(Reply("First."), Reply("Second."))
    async with window(model_home, engine) as shown:
        await shown.say("Hi")
        await shown.reply()
        await shown.pilot.press("up", "r")
        await shown.until(lambda: shown.texts() == ["Hi", "Second."])
        assert shown.view.shown[-1].siblings == 2
        await shown.pilot.press("left")
        assert shown.texts() == ["Hi", "First."]
        await shown.pilot.press("right")
        assert shown.texts() == ["Hi", "Second."]


async def test_the_arrows_are_offered_where_a_message_has_versions(model_home: Paths, engine: FakeEngine) -> None:
    engine.enqueue(Reply("First."), Reply("Second."))
    async with window(model_home, engine) as shown:
        await shown.say("Hi")
        await shown.reply()
        await shown.pilot.press("up")
        assert not shown.view.check_action("sibling", (1,))
        await shown.pilot.press("r")
        await shown.until(lambda: shown.texts() == ["Hi", "Second."])
        await shown.reply()
        assert shown.view.check_action("sibling", (1,))
        await shown.pilot.press("up")
        assert not shown.view.check_action("sibling", (1,)), "of what the person said there is one version"


async def test_edit_fills_the_composer_and_makes_a_sibling_with_a_reply_of_its_own(
    model_home: Paths, engine: FakeEngine
) -> None:
    engine.enqueue(Reply("Old."), Reply("New."))
    async with window(model_home, engine) as shown:
        await shown.say("Question")
        await shown.reply()
        shown.composer.load_text("")
        await shown.pilot.press("up", "up", "e")
        assert shown.composer.text == "Question"
        await shown.pilot.press(*" 2", "enter")
        await shown.until(lambda: shown.texts()[-1:] == ["New."])
        await shown.reply()
        assert shown.texts() == ["Question 2", "New."]
        assert shown.view.shown[0].siblings == 2
        await shown.pilot.press("up", "up", "left")
        assert shown.texts() == ["Question", "Old."]


async def test_leaving_an_edit_brings_the_draft_back(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    said(db, "Talk", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        await shown.pilot.press("ctrl+l", "enter")
        shown.composer.load_text("half a thought")
        shown.transcript.focus()
        await shown.pilot.press("up", "e")
        assert shown.composer.text == "Hello"
        await shown.pilot.press("escape")
        assert shown.composer.text == "half a thought"


async def test_a_cut_reply_goes_on_in_its_own_row(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    engine.enqueue(Reply("The end is", reason="length"), Reply(" near."))
    async with window(model_home, engine) as shown:
        await shown.say("Tell")
        await shown.reply()
        assert shown.states()[-1] == "cut"
        await shown.pilot.press("up", "m")
        await shown.until(lambda: shown.texts()[-1] == "The end is near.")
        await shown.reply()
    assert latest_path(db) == [("Tell", "complete"), ("The end is near.", "complete")]
    assert engine.requests[-1]["continue_final_message"] is True


async def test_an_engine_that_dies_is_told_and_can_be_tried_again(model_home: Paths, engine: FakeEngine) -> None:
    engine.enqueue(Die(after=2), Reply("Whole."))
    async with window(model_home, engine) as shown:
        await shown.say("Hi")
        await shown.reply()
        assert shown.states()[-1] == "interrupted"
        assert "F5 tries again" in shown.view.shown[-1].note
        await shown.pilot.press("f5")
        await shown.until(lambda: shown.texts()[-1] == "Whole.")


async def test_an_error_of_the_engine_is_shown_under_the_message(model_home: Paths, engine: FakeEngine) -> None:
    engine.enqueue(Fail("The model needs 9 GB.", code="insufficient_memory"))
    async with window(model_home, engine) as shown:
        await shown.say("Hi")
        await shown.reply()
        assert shown.states()[-1] == "failed"
        assert "9 GB" in shown.view.shown[-1].note


async def test_a_reply_goes_on_while_another_conversation_is_looked_at(model_home: Paths, engine: FakeEngine) -> None:
    engine.enqueue(Reply("one two three", hold_after=1))
    async with window(model_home, engine) as shown:
        await shown.say("Count")
        await shown.until(lambda: bool(shown.view.reply and shown.view.reply.text))
        counting = shown.view.opened.conversation_id
        await shown.pilot.press("ctrl+n")
        assert shown.texts() == []
        engine.release()
        await shown.until(lambda: not shown.app.chat.replies.busy)
        assert shown.texts() == []
        await shown.show(counting)
        assert shown.texts() == ["Count", "one two three"]


async def test_coming_back_to_a_reply_that_grows_shows_all_of_it(model_home: Paths, engine: FakeEngine) -> None:
    engine.enqueue(Reply("one two three", hold_after=2))
    async with window(model_home, engine) as shown:
        await shown.say("Count")
        await shown.until(lambda: bool(shown.view.reply and "two" in shown.view.reply.text))
        counting = shown.view.opened.conversation_id
        await shown.pilot.press("ctrl+n")
        await shown.show(counting)
        assert shown.texts()[-1] == "one two"
        engine.release()
        await shown.reply()
        assert shown.texts()[-1] == "one two three"


async def test_a_draft_survives_a_restart(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        await shown.pilot.press(*"not begun")
        await shown.show(talk)
        assert shown.composer.text == ""
        await shown.pilot.press(*"half")
    async with window(model_home, engine) as shown:
        assert shown.view.opened.conversation_id == talk
        assert shown.composer.text == "half"
        await shown.pilot.press("ctrl+n")
        assert shown.composer.text == "not begun"


async def test_what_is_typed_is_kept_without_leaving(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    async with window(model_home, engine) as shown:
        await shown.pilot.press(*"kept")
        await shown.until(lambda: conversations.get_draft(db, None) == "kept")


async def test_a_private_conversation_leaves_no_trace(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    engine.enqueue(Reply("My lips are sealed."))
    async with window(model_home, engine) as shown:
        await shown.pilot.press("ctrl+r")
        await shown.say("A secret xyzzy")
        await shown.reply()
        assert shown.texts() == ["A secret xyzzy", "My lips are sealed."]
        row = shown.app.chat.side.conversations.cursor_row
        assert row is not None and row.private
        await shown.pilot.press(*"another xyzzy")
    assert conversations.count(db) == 0
    for file in model_home.data.rglob("*"):
        if file.is_file():
            assert b"xyzzy" not in file.read_bytes()


async def test_quitting_keeps_the_part_of_a_reply_that_came(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    engine.enqueue(Reply("one two three", hold_after=2))
    async with window(model_home, engine) as shown:
        await shown.say("Count")
        await shown.until(lambda: bool(shown.view.reply and "two" in shown.view.reply.text))
        await shown.pilot.press("ctrl+q")
    assert latest_path(db)[-1] == ("one two", "stopped")


async def test_the_reader_is_told_what_is_left_out(model_home: Paths, engine: FakeEngine) -> None:
    engine.enqueue(Reply("Hello.", dropped_messages=3))
    async with window(model_home, engine) as shown:
        await shown.say("Hi")
        await shown.reply()
        lines = [str(strip.text) for strip in map(shown.transcript.render_line, range(shown.transcript.size.height))]
        assert any("3 oldest messages are left out" in line for line in lines)


async def test_a_template_that_is_broken_takes_nothing_away(model_home: Paths, engine: FakeEngine) -> None:
    async with window(model_home, engine, settings=Settings(template="no-such-one")) as shown:
        await shown.say("Hi")
        await shown.until(lambda: shown.composer.text == "Hi")
        assert shown.texts() == []


async def test_slash_opens_the_templates_and_one_is_taken(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    async with window(model_home, engine) as shown:
        await shown.pilot.press("slash")
        assert isinstance(shown.app.screen, PickScreen)
        await shown.pilot.press(*"concise", "enter")
        await shown.say("Hi")
        await shown.reply()
    conversation = conversations.latest(db)
    assert conversation is not None and conversation.template == "concise"


async def test_a_template_with_inputs_asks_for_them(model_home: Paths, engine: FakeEngine) -> None:
    (model_home.templates / "pirate.md").write_text(
        "---\nkind: chat\ndescription: A pirate\ninputs:\n  ship:\n    description: Name of the ship\n---\n"
        "# system\nYou sail {{ ship }}.\n"
    )
    async with window(model_home, engine) as shown:
        await shown.pilot.press("slash", *"pirate", "enter")
        await shown.pilot.press("enter")  # empty, without a default: it asks on
        await shown.pilot.press(*"Gull", "enter")
        await shown.say("Hi")
        await shown.reply()
    assert engine.requests[0]["messages"][0]["content"] == "You sail Gull."


async def test_sampling_is_of_the_conversation(model_home: Paths, engine: FakeEngine) -> None:
    async with window(model_home, engine) as shown:
        await shown.pilot.press("ctrl+g", *"9", "ctrl+g")
        assert shown.app.screen is not shown.app.chat  # 9 is out of range: the form stays
        await shown.pilot.press("backspace", *"0.2", "ctrl+g")
        await shown.say("Hi")
        await shown.reply()
        assert engine.requests[0]["temperature"] == 0.2
        await shown.pilot.press("ctrl+n")
        await shown.say("Hi")
        await shown.until(lambda: len(engine.requests) == 2)
        assert engine.requests[1]["temperature"] == 0.7


async def test_another_window_sees_what_was_said(model_home: Paths, engine: FakeEngine) -> None:
    async with window(model_home, engine) as one, window(model_home, engine) as other:
        await one.say("Hi")
        await one.reply()
        rows = other.app.chat.side.conversations
        await other.until(lambda: rows.cursor_row is not None and rows.cursor_row.title == "Hi")


async def test_without_a_model_the_models_are_shown(home: Paths, engine: FakeEngine) -> None:
    async with window(home, engine) as shown:
        await shown.until(lambda: isinstance(shown.app.screen, ModelsScreen))
        await shown.pilot.press("escape")
        await shown.say("Hi")
        await shown.until(lambda: isinstance(shown.app.screen, ModelsScreen))
        assert shown.composer.text == "Hi"


@pytest.mark.parametrize(("columns", "both"), [(60, False), (99, False), (100, True), (300, True)])
async def test_a_narrow_terminal_shows_one_side_at_a_time(
    model_home: Paths, engine: FakeEngine, columns: int, both: bool
) -> None:
    async with window(model_home, engine, size=(columns, 20)) as shown:
        assert shown.app.chat.side.display == both
        assert shown.composer.size.height > 0 and shown.transcript.size.height > 5
        await shown.pilot.press("ctrl+b")
        assert shown.app.chat.side.display != both
        if not both:
            await shown.pilot.press("escape")
            assert shown.composer.has_focus


async def test_every_action_is_in_the_palette(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    said(db, "Talk", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        await shown.pilot.press("ctrl+l", "enter")
        titles = {command.title for command in shown.app.get_system_commands(shown.app.screen)}
    assert {"regenerate the reply", "new private conversation", "choose the model", "theme", "quit"} <= titles


async def test_a_log_that_can_not_be_written_is_told_and_nothing_typed_is_lost(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    async with window(model_home, engine) as shown:
        log = shown.view.opened.log
        assert log is not None
        await log.worker.act(lambda db: db.conn.execute("PRAGMA query_only = ON"))
        await shown.say("Keep this")
        await shown.until(lambda: bool(shown.app._notifications))
        assert shown.composer.text == "Keep this"
        await log.worker.act(lambda db: db.conn.execute("PRAGMA query_only = OFF"))
        await shown.pilot.press("enter")
        await shown.reply()
    assert latest_path(db)[0] == ("Keep this", "complete")
