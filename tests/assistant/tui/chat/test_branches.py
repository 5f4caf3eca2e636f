"""The branches of a conversation: seen, gone to, forked from."""

from sqlite_utils import Database

from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.files.exports.exporter import export
from assistant.store.judgements import curation
from assistant.tui.chat.branch_tree import BranchTree
from assistant.tui.chat.branches import BranchesScreen
from tests.assistant.tui.chat.test_chat_curation import to_last_message
from tests.assistant.tui.conftest import Window, said, window
from tests.fake_engine import FakeEngine


def branched(db: Database) -> tuple[int, dict[str, int]]:
    """A conversation whose first reply was corrected and rated good, with the older branch longer; ids by text."""
    talk = said(db, "Talk", ["Hello", "Hi.", "And?", "That's all."])
    curation.correct(db, messages.all_of(db, talk)[1].id, "Good morning.")
    ids = {row.content: row.id for row in messages.all_of(db, talk)}
    curation.rate(db, ids["Hi."], -1)
    return talk, ids


async def tree(shown: Window) -> BranchTree:
    await shown.pilot.press("f9")
    await shown.until(lambda: isinstance(shown.app.screen, BranchesScreen), "the branches never came")
    await shown.pilot.pause()
    return shown.app.screen.query_one(BranchTree)


def lines(tree: BranchTree) -> list[str]:
    return ["".join(segment.text for segment in tree.render_line(y)).rstrip() for y in range(len(tree._rows))]


async def test_the_open_path_and_what_is_thought_are_seen(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk, _ = branched(db)
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        drawn = lines(await tree(shown))
    assert [" ".join(line.split()) for line in drawn] == [
        "● you Hello",
        "├─○ assistant Hi. - bad",
        "│ ○ you And?",
        "│ ○ assistant That's all.",
        "● assistant Good morning. correction",
    ]


async def test_enter_opens_the_path_through_the_message(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk, ids = branched(db)
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        at = await tree(shown)
        assert at.cursor_row is not None and at.cursor_row.id == ids["Good morning."]
        await shown.pilot.press("left")
        assert at.cursor_row.id == ids["Hi."]
        await shown.pilot.press("down", "enter")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        await shown.until(lambda: shown.texts() == ["Hello", "Hi.", "And?", "That's all."])
        assert shown.transcript.selected == ids["And?"]
        assert shown.transcript.has_focus
    assert conversations.get(db, talk).leaf_id == ids["That's all."]
    exported = "".join(export(db, [talk], "openai"))
    assert "That's all." in exported and "Good morning." not in exported


async def test_escape_leaves_all_as_it_was(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk, ids = branched(db)
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await tree(shown)
        await shown.pilot.press("home", "escape")
        assert shown.texts() == ["Hello", "Good morning."]
    assert conversations.get(db, talk).leaf_id == ids["Good morning."]


async def test_a_fork_is_open_at_its_end(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk, _ = branched(db)
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await tree(shown)
        await shown.pilot.press("up", "up", "f")
        await shown.until(lambda: shown.view.opened.conversation_id not in (None, talk))
        assert shown.texts() == ["Hello", "Hi.", "And?"]
        assert shown.view.opened.conversation is not None
        assert shown.view.opened.conversation.title == "Talk (fork)"
    assert len(messages.all_of(db, talk)) == 5


async def test_f_on_a_message_forks_there(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["Hello", "Hi.", "And?", "That's all."])
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("up", "up", "f")
        await shown.until(lambda: shown.view.opened.conversation_id not in (None, talk))
        assert shown.texts() == ["Hello", "Hi."]


async def test_a_conversation_that_has_not_begun_has_no_branches(model_home: Paths, engine: FakeEngine) -> None:
    async with window(model_home, engine) as shown:
        await shown.pilot.press("f9")
        assert shown.app.screen is shown.app.chat


async def test_five_thousand_messages_are_drawn_a_screen_at_a_time(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Long", ["word", "reply"] * 2_500)
    async with window(model_home, engine, size=(80, 24)) as shown:
        await shown.show(talk)
        at = await tree(shown)
        assert at.cursor_row is not None and at.cursor_row.id == messages.all_of(db, talk)[-1].id
        assert at.scroll_offset.y == 5_000 - at.size.height
        await shown.pilot.press("home")
        assert at.scroll_offset.y == 0


async def test_versions_are_offered_only_where_there_are_several(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk, _ = branched(db)
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        offered = {}
        for _ in range(2):
            target = shown.view.target
            assert target is not None
            offered[target.text] = shown.view.check_action("sibling", (1,))
            await shown.pilot.press("up")
    assert offered == {"Good morning.": True, "Hello": False}
