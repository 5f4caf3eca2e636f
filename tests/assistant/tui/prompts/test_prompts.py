"""The Prompts screen: found, seen, written, run, tested, brought back, sent to the chat."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlite_utils import Database
from textual.widgets import Input, Static, TextArea

from assistant.paths import Paths
from assistant.store import template_tests, templates
from assistant.store.conversations import recall
from assistant.tui.dialogs.form import FormScreen
from assistant.tui.dialogs.pick import PickScreen
from assistant.tui.prompts.screen import PromptsScreen
from assistant.tui.prompts.writing import DRAFT
from prompts import user_templates
from tests.assistant.tui.conftest import Window, heading, window
from tests.fake_engine import Fail, FakeEngine, Reply

END = ["down"] * 20 + ["end"]
WARM = "---\nkind: chat\ndescription: Warm\ninputs:\n  tone: A tone\n---\n# system\nBe {{ tone }}.\n"


class Shown:
    """The Prompts screen of a window, and what it shows."""

    def __init__(self, window: Window, screen: PromptsScreen) -> None:
        self.window = window
        self.pilot = window.pilot
        self.screen = screen

    def text(self, name: str) -> str:
        return str(self.screen.query_one(f"#{name}", Static).content)

    @property
    def page(self) -> str:
        return "\n".join(line.content.plain for entry in self.screen.page._column.entries for line in entry.lines(200))

    async def until(self, holds: object, what: str = "", seconds: float = 8) -> None:
        assert callable(holds)
        await self.window.until(holds, what, seconds)

    async def find(self, name: str) -> None:
        """Search a template, and go to it."""
        line = self.screen.query_one("#search", Input)
        line.value = name
        await self.until(lambda: self.screen.file is not None and self.screen.file.name == name, f"no {name}")
        self.screen.listed.focus()
        await self.pilot.pause()

    async def dialog(self, kind: type) -> None:
        await self.until(lambda: isinstance(self.window.app.screen, kind), f"no {kind.__name__}")
        await self.pilot.pause()

    async def form(self, begins: str) -> None:
        """Wait for a form whose heading begins so."""
        await self.dialog(FormScreen)
        assert heading(self.window.app.screen).startswith(begins)

    async def back(self) -> None:
        await self.until(lambda: self.window.app.screen is self.screen, "the dialog stays")


@asynccontextmanager
async def prompts(home: Paths, engine: FakeEngine) -> AsyncIterator[Shown]:
    async with window(home, engine) as shown:
        await shown.pilot.press("f6")
        await shown.until(lambda: isinstance(shown.app.screen, PromptsScreen), "no screen")
        screen = shown.app.screen
        assert isinstance(screen, PromptsScreen)
        await shown.until(lambda: screen.file is not None, "no files")
        yield Shown(shown, screen)


async def test_the_conversations_template_is_shown_first(model_home: Paths, engine: FakeEngine) -> None:
    async with prompts(model_home, engine) as shown:
        assert shown.text("about").startswith("plain · chat · en · built-in")
        await shown.pilot.press("f6")
        assert shown.window.app.screen is shown.window.app.chat


async def test_search_looks_in_names_kinds_and_descriptions(model_home: Paths, engine: FakeEngine) -> None:
    async with prompts(model_home, engine) as shown:
        await shown.pilot.press("slash", *"review positive")
        await shown.until(lambda: shown.screen.file is not None and shown.screen.file.name == "sentiment")
        await shown.pilot.press("escape", *"逐行 一种语言")
        await shown.until(lambda: shown.screen.file is not None and shown.screen.file.name == "translation-zh")
        await shown.pilot.press("escape", *"zebra")
        await shown.until(lambda: "Nothing found" in shown.text("about"))
        await shown.pilot.press("escape", "down")
        assert shown.screen.listed.has_focus


async def test_the_preview_tells_the_tokens_of_each_variable(model_home: Paths, engine: FakeEngine) -> None:
    async with prompts(model_home, engine) as shown:
        await shown.find("translation")
        await shown.until(lambda: "tokens" in shown.text("figures"))
        assert shown.text("figures").endswith("of 8,192 tokens")
        variables = {line.split()[0]: line.split()[1:] for line in shown.page.splitlines()[:2]}
        assert variables == {
            "target": ["1", "token", "·French"],
            "input": ["8", "tokens", *["·The", "·train", "·leaves", "·at", "·half", "·past", "·seven", "."]],
        }
        assert "user\nTranslate into French: The train leaves at half past seven." in shown.page


async def test_without_a_model_the_messages_are_shown(home: Paths, engine: FakeEngine) -> None:
    (home.models / "not-a-model").mkdir()  # else the models screen comes first
    async with window(home, engine) as shown:
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        shown.app.chat.action_room("prompts")
        await shown.until(lambda: isinstance(shown.app.screen, PromptsScreen))
        await shown.until(
            lambda: str(shown.app.screen.query_one("#figures", Static).content) == "no model counts tokens"
        )


async def test_a_built_in_one_is_duplicated_before_it_is_written(model_home: Paths, engine: FakeEngine) -> None:
    async with prompts(model_home, engine) as shown:
        await shown.find("sentiment")
        await shown.pilot.press("e")
        await shown.form("Duplicate ")
        await shown.pilot.press("ctrl+u", *"Bad", "enter")
        assert "small letters" in str(shown.window.app.screen.query(".problem").last(Static).content)
        await shown.pilot.press("ctrl+u", *"moods", "enter")
        await shown.until(lambda: shown.screen.writing.active)
        assert shown.text("about").startswith("moods · label · en · yours")
        await shown.pilot.press(*END, "enter", *"xyz", "ctrl+g")
        await shown.until(lambda: not shown.screen.writing.active)
    path = model_home.templates / "moods.md"
    assert path.read_text().endswith("xyz")
    assert path.with_suffix(".jsonl").is_file()


async def test_mistakes_are_told_with_line_and_column_while_typing(model_home: Paths, engine: FakeEngine) -> None:
    user_templates.create(model_home.templates, "warm", WARM)
    async with prompts(model_home, engine) as shown:
        await shown.find("warm")
        await shown.until(lambda: "Be ‹tone›." in shown.page)
        await shown.pilot.press("e", *END, *"{{ mood }}")
        await shown.until(lambda: "mood" in shown.text("problem"))
        assert shown.text("problem").startswith("line 9, column 4: # system uses mood")
        assert shown.text("figures") == "before the mistake" and "Be ‹tone›." in shown.page
        assert not shown.screen.check_action("try_it", ())
        await shown.pilot.press(*["backspace"] * 10)
        await shown.until(lambda: not shown.screen.query_one("#problem").display)
        await shown.pilot.press(*"Well.")
        await shown.until(lambda: "Be ‹tone›.\nWell." in shown.page)


async def test_what_is_not_saved_is_asked_about_and_kept(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    path = user_templates.create(model_home.templates, "warm", WARM)
    async with prompts(model_home, engine) as shown:
        await shown.find("warm")
        await shown.pilot.press("e", *END, *"More.")
        await shown.pilot.press("escape")
        await shown.dialog(PickScreen)
        await shown.pilot.press("escape")
        await shown.back()
        assert shown.screen.writing.active
    assert "More." in recall(db, DRAFT)
    async with prompts(model_home, engine) as shown:
        await shown.until(lambda: shown.screen.writing.active, "the draft is lost")
        assert shown.screen.editor.text == WARM + "More."
        await shown.pilot.press("escape")
        await shown.dialog(PickScreen)
        await shown.pilot.press("down", "enter")
        await shown.until(lambda: not shown.screen.writing.active)
        assert shown.screen.editor.text == path.read_text() == WARM
    assert recall(db, DRAFT) == ""


async def test_a_file_that_changes_is_read_again(model_home: Paths, engine: FakeEngine) -> None:
    path = user_templates.create(model_home.templates, "warm", WARM)
    async with prompts(model_home, engine) as shown:
        await shown.find("warm")
        user_templates.write(path, WARM.replace("Be", "Stay"))
        await shown.until(lambda: "Stay ‹tone›." in shown.page)
        user_templates.write(path, "broken")
        await shown.until(lambda: "must begin with" in shown.text("problem"))
        assert not shown.screen.check_action("use", ()) and shown.screen.check_action("edit", ())
        user_templates.create(model_home.templates, "another", user_templates.NEW)
        await shown.pilot.press("slash", "escape", "escape")
        await shown.until(lambda: "another" in {one.name for one in shown.screen._files})
        assert shown.screen.file is not None and shown.screen.file.name == "warm"


@pytest.mark.parametrize(("keys", "kept"), [(("enter",), "mine"), (("down", "enter"), "disk")])
async def test_a_file_that_changes_under_the_pen(
    model_home: Paths, engine: FakeEngine, keys: tuple[str, ...], kept: str
) -> None:
    path = user_templates.create(model_home.templates, "warm", WARM)
    async with prompts(model_home, engine) as shown:
        await shown.find("warm")
        await shown.pilot.press("e", *END, *"Mine.")
        user_templates.write(path, WARM + "Disk.")
        await shown.until(lambda: shown.screen.file is not None and shown.screen.file.text.endswith("Disk."))
        assert shown.screen.editor.text.endswith("Mine.")
        await shown.pilot.press("ctrl+g")
        await shown.dialog(PickScreen)
        await shown.pilot.press(*keys)
        await shown.until(lambda: not shown.screen.writing.active)
    assert path.read_text() == WARM + {"mine": "Mine.", "disk": "Disk."}[kept]


async def test_a_file_that_goes_while_it_is_written_is_written_anew(model_home: Paths, engine: FakeEngine) -> None:
    path = user_templates.create(model_home.templates, "warm", WARM)
    async with prompts(model_home, engine) as shown:
        await shown.find("warm")
        await shown.pilot.press("e", *END, *"Mine.")
        path.unlink()
        await shown.until(lambda: "warm" not in {one.name for one in shown.screen._files})
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: not shown.screen.writing.active)
    assert path.read_text() == WARM + "Mine."


async def test_a_new_one_is_begun_and_deleted(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    async with prompts(model_home, engine) as shown:
        await shown.pilot.press("n")
        await shown.form("A new template")
        await shown.pilot.press(*"fresh", "enter")
        await shown.until(lambda: shown.screen.writing.active)
        await shown.pilot.press(*END, "x", "ctrl+g")
        await shown.until(lambda: not shown.screen.writing.active)
        assert len(templates.versions(db, "fresh")) == 2
        await shown.pilot.press("d")
        await shown.dialog(PickScreen)
        await shown.pilot.press("down", "enter")
        await shown.until(lambda: "fresh" not in {one.name for one in shown.screen._files})
    assert not (model_home.templates / "fresh.md").exists()
    assert templates.versions(db, "fresh") != []  # until what nothing was made with is erased
    assert db.execute("SELECT count(*) FROM template_saves").fetchone() == (0,)


async def test_a_file_that_is_not_utf8_can_only_be_looked_at(model_home: Paths, engine: FakeEngine) -> None:
    (model_home.templates / "latin.md").write_bytes(WARM.replace("Warm", "Gr\xfc\xdfe").encode("latin-1"))
    async with prompts(model_home, engine) as shown:
        await shown.find("latin")
        assert "not UTF-8" in shown.text("problem")
        await shown.pilot.press("e")
        assert not shown.screen.writing.active


async def test_a_run_shows_the_probabilities(model_home: Paths, engine: FakeEngine) -> None:
    async with prompts(model_home, engine) as shown:
        await shown.find("sentiment")
        await shown.pilot.press("enter")
        await shown.form("Run ")
        area = shown.window.app.screen.query_one(TextArea)
        assert area.text.startswith("The battery lasts")
        area.load_text("It is bad, bad,\nbad.")
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: "▌negative" in shown.page, shown.page)
        assert "It is bad, bad, bad." in shown.page and "█" in shown.page and " positive" in shown.page
        await shown.pilot.press("p")
        await shown.until(lambda: "It is bad, bad,\nbad." in shown.page)


async def test_a_run_needs_its_inputs_and_shows_the_text(model_home: Paths, engine: FakeEngine) -> None:
    user_templates.create(model_home.templates, "warm", WARM)
    engine.enqueue(Reply("A fine day."))
    async with prompts(model_home, engine) as shown:
        await shown.find("warm")
        await shown.pilot.press("r")
        await shown.form("Run ")
        shown.window.app.screen.query_one(TextArea).load_text("How is it?")
        await shown.pilot.press("ctrl+g")
        assert "Still empty: tone" in str(shown.window.app.screen.query(".problem").last(Static).content)
        await shown.pilot.press("tab", *"kind", "enter")
        await shown.until(lambda: "A fine day." in shown.page)
    sent = engine.requests[-1]
    assert [one["content"] for one in sent["messages"]] == ["Be kind.", "How is it?"]
    assert sent["temperature"] == 0


async def test_a_run_that_fails_or_is_stopped_is_told(model_home: Paths, engine: FakeEngine) -> None:
    engine.enqueue(Fail("Out of memory.", code="out_of_memory"), Reply("Slow.", hold_after=0))
    async with prompts(model_home, engine) as shown:
        for stopped in (False, True):
            await shown.pilot.press("r")
            await shown.form("Run ")
            await shown.pilot.press("ctrl+g")
            await shown.back()
            if stopped:
                assert shown.screen.trying.state
                await shown.pilot.press("escape")
            await shown.until(lambda: not shown.screen.trying.state)
        assert "Out of memory." in [note.message for note in shown.window.app._notifications]
        assert shown.screen.is_current


async def test_a_test_is_kept_and_compared(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    async with prompts(model_home, engine) as shown:
        await shown.find("sentiment")
        await shown.pilot.press("c")
        await shown.form("Duplicate ")
        await shown.pilot.press("enter")
        await shown.until(lambda: shown.screen.writing.active)
        await shown.pilot.press("escape")
        await shown.until(lambda: not shown.screen.writing.active)
        await shown.pilot.press("t")
        await shown.until(lambda: "95 % interval" in shown.page, "no result", 60)
        assert "F1 of each class" in shown.page and "against" not in shown.page
        await shown.pilot.press("e", *END, *"Well:", "ctrl+g")
        await shown.until(lambda: not shown.screen.writing.active)
        assert "of an earlier text" in shown.page
        await shown.pilot.press("t")
        await shown.until(lambda: "against template" in shown.page, "no comparison", 60)
        newest, before = template_tests.of(db, "my-sentiment", 5)
        assert len(newest.values) == len(before.values) > 20
        await shown.pilot.press("v")
        await shown.until(lambda: "1 test" in shown.page)
        assert "+In short, the writer finds this:" in shown.page or "+Well:" in shown.page


async def test_a_template_without_a_set_asks_for_one(model_home: Paths, engine: FakeEngine, tmp_path: Path) -> None:
    user_templates.create(model_home.templates, "warm", WARM)
    async with prompts(model_home, engine) as shown:
        await shown.find("warm")
        await shown.pilot.press("t")
        await shown.form("Test on")
        await shown.pilot.press(*"gone", "enter")
        assert "no file gone" in str(shown.window.app.screen.query(".problem").last(Static).content)
        rows = tmp_path / "rows.jsonl"
        rows.write_text('{"input": "Hi", "reference": "Hello.", "tone": "kind"}\n{"input": "Ho"}\n')
        shown.window.app.screen.query_one(Input).value = str(rows)
        await shown.pilot.press("enter")
        await shown.until(lambda: not shown.screen.trying.state)
        assert any("row 2: no 'reference'" in note.message for note in shown.window.app._notifications)
        assert "Not tested yet" in shown.page


async def test_an_earlier_text_is_brought_back(model_home: Paths, engine: FakeEngine) -> None:
    path = user_templates.create(model_home.templates, "warm", WARM)
    async with prompts(model_home, engine) as shown:
        await shown.find("warm")
        for word in ("One.", "Two."):
            await shown.pilot.press("e", *END, *word, "ctrl+g")
            await shown.until(lambda: not shown.screen.writing.active)
        await shown.pilot.press("v")
        await shown.until(lambda: "1 of 2" in shown.page)
        assert "-One." in shown.page and "+One.Two." in shown.page
        await shown.pilot.press("right")
        await shown.until(lambda: "2 of 2" in shown.page)
        assert "+One.Two." in shown.page and "-One." not in shown.page
        await shown.pilot.press("b")
        assert shown.screen.writing.active and shown.screen.editor.text == WARM
        assert path.read_text() == WARM + "One.Two."
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: not shown.screen.writing.active)
    assert path.read_text() == WARM


async def test_a_template_is_used_in_the_chat(model_home: Paths, engine: FakeEngine) -> None:
    user_templates.create(model_home.templates, "warm", WARM)
    async with prompts(model_home, engine) as shown:
        await shown.find("sentiment")
        assert not shown.screen.check_action("use", ())
        await shown.find("warm")
        await shown.pilot.press("u")
        await shown.dialog(FormScreen)
        await shown.pilot.press(*"kind", "enter")
        await shown.until(lambda: shown.window.app.screen is shown.window.app.chat)
        setup = shown.window.view.opened.setup
        assert (setup.template, setup.inputs) == ("warm", {"tone": "kind"})
        await shown.window.say("Hi")
        await shown.window.reply()
    assert engine.requests[-1]["messages"][0]["content"] == "Be kind."


async def test_the_same_template_is_picked_in_the_chat_by_name(model_home: Paths, engine: FakeEngine) -> None:
    user_templates.create(
        model_home.templates, "warm", WARM.replace("  tone: A tone", "  tone: {description: A tone, default: warm}")
    )
    async with window(model_home, engine) as shown:
        await shown.pilot.press("slash", *"warm", "enter")
        await shown.until(lambda: isinstance(shown.app.screen, FormScreen))
        await shown.pilot.press("enter")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        assert shown.view.opened.setup.template == "warm"


async def test_every_key_of_the_screen_is_in_the_palette(model_home: Paths, engine: FakeEngine) -> None:
    async with prompts(model_home, engine) as shown:
        commands = {one.title for one in shown.window.app.get_system_commands(shown.screen)}
        assert {"use it in the open conversation", "a new template", "test it on a labelled set"} <= commands
    async with window(model_home, engine) as shown_chat:
        commands = {one.title for one in shown_chat.app.get_system_commands(shown_chat.app.chat)}
        assert "prompts: try, test, write" in commands
