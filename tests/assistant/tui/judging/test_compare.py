"""Two replies side by side: shown blind, voted on, stored with what was shown where."""

import random

import pytest
from sqlite_utils import Database
from textual.widgets import Input, Static

from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.judgements import curation
from assistant.tui.dialogs.form import FormScreen
from assistant.tui.dialogs.pick import PickScreen
from assistant.tui.judging.compare import CompareScreen
from assistant.tui.judging.make_replies import MakeScreen
from assistant.tui.widgets.transcript import Transcript
from tests.assistant.tui.chat.test_chat_curation import to_last_message
from tests.assistant.tui.conftest import MODEL, Window, said, window
from tests.fake_engine import Fail, FakeEngine, Reply


@pytest.fixture(params=[0.0, 0.9], ids=["selected first", "selected second"])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the selected reply is shown as A."""
    monkeypatch.setattr(random, "random", lambda: request.param)
    return bool(request.param < 0.5)


def versions(db: Database, *texts: str) -> tuple[int, list[int]]:
    """A conversation with several replies to one question, the last of them open, and the ids of these."""
    talk = said(db, "Talk", ["Where do whales sleep?", texts[0]])
    question, first = [row.id for row in messages.all_of(db, talk)]
    provenance = messages.Provenance("other", "tutor", "h2", "", {"temperature": 0.25}, 2)
    ids = [first]
    for text in texts[1:]:
        ids.append(messages.begin_reply(db, talk, question, provenance))
        messages.end_reply(db, ids[-1], text, "complete", messages.Outcome())
    return talk, ids


async def compare(shown: Window, key: str = "v") -> CompareScreen:
    await shown.pilot.press(key)
    await shown.until(lambda: isinstance(shown.app.screen, CompareScreen), "the comparison never came")
    screen = shown.app.screen
    assert isinstance(screen, CompareScreen)
    return screen


def what_is_shown(screen: CompareScreen) -> list[str]:
    return [transcript.answer(entry) for transcript in screen.query(Transcript) for entry in ids_in(transcript)]


def ids_in(transcript: Transcript) -> list[int]:
    return list(transcript._messages(transcript._entries))


def everything_on(screen: CompareScreen) -> str:
    return " ".join(str(static.render()) for static in screen.query(Static) if static.display)


async def test_a_vote_is_stored_with_what_was_shown_where(
    model_home: Paths, db: Database, engine: FakeEngine, order: bool
) -> None:
    talk, (first, second) = versions(db, "In the deep.", "Near the surface.")
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        screen = await compare(shown)
        texts = what_is_shown(screen)
        assert texts == (["Near the surface.", "In the deep."] if order else ["In the deep.", "Near the surface."])
        assert "Where do whales sleep?" in everything_on(screen)
        assert "other" not in everything_on(screen) and MODEL not in everything_on(screen)
        await shown.pilot.press("b" if order else "a")
        assert MODEL in everything_on(screen) and "tutor" in everything_on(screen)
        await shown.pilot.press("a", "b", "equals_sign")  # one vote is enough
        await shown.pilot.press("enter")
        await shown.until(lambda: shown.texts() == ["Where do whales sleep?", "In the deep."])
        assert shown.transcript.selected == first
    (vote,) = curation.preferences(db)
    assert (vote.chosen_id, vote.rejected_id, vote.tie, vote.blind) == (first, second, False, True)
    assert vote.chosen_first is not order


async def test_a_tie_is_stored_and_opens_nothing(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk, ids = versions(db, "One.", "Two.")
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await compare(shown)
        await shown.pilot.press("equals_sign", "enter")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        assert shown.texts()[-1] == "Two."
        await shown.pilot.press("z")
        assert curation.preferences(db) == []
        await shown.pilot.press("Z")
    (vote,) = curation.preferences(db)
    assert {vote.chosen_id, vote.rejected_id} == set(ids)
    assert vote.tie and vote.blind


@pytest.mark.parametrize("keys", [("s", "escape"), ("escape",)])
async def test_what_is_skipped_or_left_stores_nothing(
    model_home: Paths, db: Database, engine: FakeEngine, keys: tuple[str, ...]
) -> None:
    talk, _ = versions(db, "One.", "Two.")
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await compare(shown)
        await shown.pilot.press(*keys)
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        assert shown.texts()[-1] == "Two."
    assert curation.preferences(db) == []


async def test_of_three_versions_the_other_one_is_picked(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk, ids = versions(db, "One.", "Two.", "Three.")
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("v")
        assert isinstance(shown.app.screen, PickScreen)
        await shown.pilot.press("down", "enter")
        await shown.until(lambda: isinstance(shown.app.screen, CompareScreen))
        screen = shown.app.screen
        assert isinstance(screen, CompareScreen)
        assert sorted(what_is_shown(screen)) == ["Three.", "Two."]
        await shown.pilot.press("a")
    (vote,) = curation.preferences(db)
    assert {vote.chosen_id, vote.rejected_id} == {ids[1], ids[2]}


async def test_a_version_without_text_is_not_compared(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk, _ = versions(db, "", "Two.")
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("v")
        assert shown.app.screen is shown.app.chat


async def test_two_replies_are_made_as_set_now_and_otherwise(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    old = conversations.get(db, talk).leaf_id or 0
    engine.enqueue(Reply("As set."), Reply("As a tutor."))
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("V")
        assert isinstance(shown.app.screen, PickScreen)
        shown.app.screen.query_one(Input).value = "tutor"
        await shown.pilot.pause()
        await shown.pilot.press("enter")
        await shown.until(lambda: isinstance(shown.app.screen, FormScreen))
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: isinstance(shown.app.screen, CompareScreen))
        screen = shown.app.screen
        assert isinstance(screen, CompareScreen)
        better = what_is_shown(screen).index("As a tutor.")
        await shown.pilot.press("ab"[better])
        assert "tutor" in everything_on(screen)
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.texts() == ["Hello", "As a tutor."])
        assert shown.view.shown[-1].siblings == 3
    _, plain, tutor = messages.siblings(db, old)
    made = [messages.reply_info(db, one).provenance for one in (plain, tutor)]
    assert [one.template for one in made] == ["plain", "tutor"]
    assert made[1].template_text
    (vote,) = curation.preferences(db)
    assert (vote.chosen_id, vote.rejected_id) == (tutor, plain)
    assert conversations.get(db, talk).template == "plain"


async def test_stopping_while_they_are_made_goes_back_to_what_was_open(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    engine.enqueue(Reply("one two three", hold_after=2))
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("V", "enter")
        await shown.until(lambda: bool(shown.view.reply and "two" in shown.view.reply.text))
        assert isinstance(shown.app.screen, MakeScreen)
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        assert shown.texts() == ["Hello", "Hi."]
        assert shown.view.shown[-1].siblings == 2
    assert curation.preferences(db) == []


async def test_a_reply_that_can_not_be_made_is_told(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    engine.enqueue(Reply("Fine."), Fail("The model needs 9 GB.", code="insufficient_memory"))
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("V", "enter")
        await shown.until(lambda: shown.app.screen is shown.app.chat and "9 GB" in told(shown))
        assert shown.texts() == ["Hello", "Hi."]


def told(shown: Window) -> str:
    return " ".join(str(notification.message) for notification in shown.app._notifications)


async def test_quitting_while_they_are_made_keeps_what_came(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    engine.enqueue(Reply("one two three", hold_after=2))
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("V", "enter")
        await shown.until(lambda: bool(shown.view.reply and "two" in shown.view.reply.text))
        await shown.app.action_quit()
    assert [(row.content, row.state) for row in messages.all_of(db, talk)][-1] == ("one two", "stopped")
