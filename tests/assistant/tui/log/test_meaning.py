"""The Log screen finds what means the like, with the real model in the real engine process."""

from contextlib import closing

import pytest
from textual.widgets import Label, Static

from assistant.engine.models.catalogue import MEANING
from assistant.meaning_index import catch_up
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store.database import open_database
from assistant.store.meaning.embedding_queue import open_vectors
from assistant.tui.app import AssistantApp
from assistant.tui.judging.tokens import TokensScreen
from assistant.tui.log.screen import LogScreen
from tests.assistant.store.judgements.test_curation import ask
from tests.assistant.test_meaning_index import TALKS
from tests.assistant.tui.conftest import NOW, Window
from tests.assistant.tui.log.test_log import Log, log, prompt_of
from tests.fake_engine import FakeEngine


@pytest.mark.slow
async def test_what_shares_no_word_is_found_and_its_tokens_shown(real_home: Paths) -> None:
    with closing(open_database(real_home.database)) as db:
        for talk in TALKS:
            ask(db, *talk)
    app = AssistantApp(real_home, Settings(), now=lambda: NOW, version="0.1.0")
    async with app.run_test(size=(120, 32)) as pilot:
        shown = Window(app, pilot)
        await shown.open()
        with closing(open_database(real_home.database)) as db, closing(open_vectors(db, MEANING)) as vectors:
            await catch_up(db, vectors, app.chat.logs.client, MEANING)
        await pilot.press("f8")
        screen = app.screen
        assert isinstance(screen, LogScreen)
        found = Log(shown, screen)
        await found.counted("4 of 4")
        await pilot.press("m", *"saving money for retirement")
        await shown.until(lambda: "nearest" in found.count, "nothing was found by meaning", seconds=60)
        assert "pension" in prompt_of(screen)
        assert str(screen.query_one("#kind", Label).render()) == "meaning"
        await pilot.press("enter", "m")
        await shown.until(lambda: found.count == "0 of 4", "the words alone find nothing")
        await pilot.press("escape", "escape", "p")
        await shown.until(lambda: isinstance(app.screen, TokensScreen), "the tokens are not shown")
        await pilot.press("escape")
        await app.action_quit()


async def test_without_the_model_it_says_how_to_get_it(model_home: Paths, engine: FakeEngine) -> None:
    async with log(model_home, engine) as found:
        found.screen.table.focus()  # an empty log has the search line in focus
        await found.press("m")
        await found.until(lambda: "Pull it" in str(found.screen.query_one("#hint", Static).render()))
        assert not found.screen._wanted.meaning
