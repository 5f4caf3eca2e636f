"""The Prompts screen with the real model: tokens of variables, probabilities, a test."""

import json

import pytest
from textual.widgets import TextArea

from assistant.engine.models.catalogue import DEFAULT
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import template_tests
from assistant.store.database import open_database
from assistant.tui.app import AssistantApp
from assistant.tui.prompts.screen import PromptsScreen
from assistant.wire import address
from prompts import user_templates
from prompts.library import Library
from tests.assistant.server.conftest import until
from tests.assistant.tui.conftest import Window
from tests.assistant.tui.prompts.test_prompts import Shown

pytestmark = pytest.mark.slow

REVIEWS = [("Warm bread and a smile.", "positive"), ("Never again, it broke at once.", "negative")] * 6


async def test_a_template_is_seen_run_and_tested(real_home: Paths) -> None:
    path = user_templates.duplicate(Library(None).find("sentiment"), real_home.templates, "moods")
    rows = [json.dumps({"input": f"{number}: {text}", "label": label}) for number, (text, label) in enumerate(REVIEWS)]
    path.with_suffix(".jsonl").write_text("\n".join(rows))
    app = AssistantApp(real_home, Settings(model=DEFAULT))
    async with app.run_test(size=(120, 32)) as pilot:
        window = Window(app, pilot)
        await window.open()
        await pilot.press("f6")
        await window.until(lambda: isinstance(app.screen, PromptsScreen) and app.screen.file is not None)
        screen = app.screen
        assert isinstance(screen, PromptsScreen)
        shown = Shown(window, screen)
        await shown.find("moods")
        await shown.until(lambda: "8,192 tokens" in shown.text("figures"), "no tokens", 120)
        first = shown.page.splitlines()[0].split()
        assert first[0] == "input" and first[2] == "tokens"
        pieces = first[3:]
        assert len(pieces) == int(first[1]) > 5
        assert "".join(pieces).replace("·", " ").strip() == "0: Warm bread and a smile."
        await pilot.press("r")
        await shown.form("Run ")
        app.screen.query_one(TextArea).load_text("Horrible, broken, a waste of money.")
        await pilot.press("ctrl+g")
        await shown.until(lambda: "▌negative" in shown.page, "no answer", 60)
        await pilot.press("t")
        await shown.until(lambda: "95 % interval" in shown.page, "no result", 120)
        await app.action_quit()
    db = open_database(real_home.database)
    (test,) = template_tests.of(db, "moods", 5)
    assert len(test.values) == len(REVIEWS)
    assert sum(test.values) / len(test.values) > 0.5
    db.close()
    await until(lambda: not address.is_running(real_home), 30)
