"""Adapters in the chat and in the models screen: picked, shown with their lineage, rolled back."""

from sqlite_utils import Database
from textual.widgets import Input, OptionList, Static

from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.training import adapters, datasets, runs
from assistant.tui.models.adapter_rows import adapter_choices, lineage
from assistant.tui.models.screen import ModelsScreen
from assistant.tui.widgets.status_line import StatusLine
from tests.assistant.tui.conftest import MODEL, Window, window
from tests.fake_engine import FakeEngine, Reply

SEA, SKY = "5" * 64, "7" * 64


def register(home: Paths, db: Database, name: str, hash_: str) -> None:
    """An adapter with a run, a dataset and a report, and a folder that looks like one."""
    dataset = datasets.add(db, f"{name} talk", "supervised", name, {}, {}, [])
    run = runs.add(db, name, dataset.id, dataset.hash, MODEL, "b" * 64, {})
    report = {"measures": [{"key": "perplexity", "name": "perplexity", "main": True, "base": 37.94, "adapted": 21.5}]}
    runs.add_evaluation(db, run.id, hash_, report)
    adapters.add(db, hash_, name, run.id, MODEL, "b" * 64, {"dataset": {"name": dataset.name}})
    folder = home.adapters / name
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")


def facts(shown: Window) -> str:
    return " · ".join(shown.app.chat.query_one(StatusLine).facts)


async def test_the_chat_says_and_picks_what_it_speaks_with(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    async with window(model_home, engine) as shown:
        assert "base" not in facts(shown)  # a model without adapters
        register(model_home, db, "sea", SEA)
        adapters.promote(db, SEA)
        register(model_home, db, "sky", SKY)
        shown.app.chat.refresh_all()
        await shown.pilot.settled()
        assert f"{MODEL} · sea · " in facts(shown)
        engine.enqueue(Reply("Waves.", adapter_hash=SEA), Reply("Clouds.", adapter_hash=SKY))
        await shown.say("Hi")
        await shown.reply()
        assert (engine.requests[-1]["adapter"], engine.requests[-1]["adapter_hash"]) == ("sea", SEA)

        await shown.pilot.press("alt+a")
        await shown.until(lambda: bool(shown.app.screen.query(Input)))
        lines = [str(one.prompt) for one in shown.app.screen.query_one("#choices", OptionList).options]
        assert [line.split()[0] for line in lines[2:]] == ["sky", "sea"]
        assert "now sea" in lines[0] and "in use · from sea talk" in lines[3] and "perplexity 37.9 to 21.5" in lines[3]
        await shown.pilot.press(*"sky")
        await shown.pilot.press("enter")
        await shown.until(lambda: f"{MODEL} · sky · " in facts(shown))
        await shown.say("And above?")
        await shown.until(lambda: shown.texts()[-1:] == ["Clouds."])
        assert engine.requests[-1]["adapter"] == "sky"
        (one,) = conversations.page(db, 0, 9)
        assert one.adapter == "sky"
        shown.view.opened.configure(model="another")
        await shown.pilot.settled()
        assert conversations.get(db, one.id).adapter is None


async def models_screen(shown: Window) -> ModelsScreen:
    await shown.pilot.press("f4")
    await shown.until(lambda: isinstance(shown.app.screen, ModelsScreen))
    screen = shown.app.screen
    assert isinstance(screen, ModelsScreen)
    return screen


async def test_the_models_screen_lists_adapters_under_their_base(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    register(model_home, db, "sea", SEA)
    adapters.promote(db, SEA)
    async with window(model_home, engine) as shown:
        screen = await models_screen(shown)
        rows = screen.query_one("#rows", OptionList)
        assert str(rows.options[0].prompt).split()[0] == MODEL
        assert str(rows.options[1].prompt).startswith("  └ sea  in use")
        assert "in use · from sea talk" in str(rows.options[1].prompt)
        rows.highlighted = 1
        await shown.pilot.pause()
        assert "perplexity 37.9 to 21.5" in str(screen.query_one("#details", Static).render())
        assert not screen.check_action("promote", ()) and not screen.check_action("remove", ())
        await shown.pilot.press("z")
        assert adapters.in_use(db, MODEL) is None
        assert screen.check_action("promote", ()) and not screen.check_action("roll_back", ())
        await shown.pilot.press("p")  # its files are none
        await shown.until(lambda: "use it regardless" in problem(screen) or "can't" in problem(screen), seconds=60)
        assert adapters.in_use(db, MODEL) is None
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.app.screen is screen)
        rows.highlighted = 1
        await shown.pilot.press("enter")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        assert shown.view.opened.setup.adapter == "sea"


async def test_a_version_of_the_model_and_the_way_back_to_one_that_is_gone(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    register(model_home, db, "sea", SEA)
    adapters.promote(db, SEA)
    adapters.add(db, SKY, "sky", None, MODEL, "b" * 64, {"settings": {"method": "full"}})
    adapters.promote(db, SKY)
    async with window(model_home, engine) as shown:
        screen = await models_screen(shown)
        rows = screen.query_one("#rows", OptionList)
        assert "sky  in use · all weights · not evaluated" in str(rows.options[1].prompt)
        rows.highlighted = 1
        await shown.pilot.press("z")
        await shown.until(lambda: "sea is in use and can't be used" in problem(screen))
        used = adapters.in_use(db, MODEL)
        assert used is not None and used.name == "sea"
        adapters.remove(db, SEA)
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        shown.app.chat.refresh_all()
        await shown.pilot.settled()
        assert "a deleted adapter" in facts(shown)
        await shown.say("Hi")
        await shown.until(lambda: shown.view.reply is None and bool(conversations.page(db, 0, 1)))
        leaf = conversations.page(db, 0, 1)[0].leaf_id
        assert leaf is not None and "was deleted. Promote another" in messages.get(db, leaf).error
        await shown.pilot.press("alt+a")
        await shown.until(lambda: bool(shown.app.screen.query(Input)))
        assert "now a deleted adapter" in str(shown.app.screen.query_one("#choices", OptionList).options[0].prompt)
    assert not engine.requests


def problem(screen: ModelsScreen) -> str:
    return str(screen.query_one("#problem", Static).render())


async def test_another_branch_goes_on_with_what_made_it(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    register(model_home, db, "sea", SEA)
    engine.enqueue(Reply("Plain."), Reply("Waves.", adapter_hash=SEA))
    async with window(model_home, engine) as shown:
        await shown.say("Hi")
        await shown.reply()
        shown.view.opened.pick_adapter("sea")
        await shown.pilot.settled()
        await shown.pilot.press("up", "r")
        await shown.until(lambda: shown.texts()[-1:] == ["Waves."] and shown.view.reply is None)
        await shown.pilot.press("left")
        await shown.until(lambda: shown.texts()[-1:] == ["Plain."])
        assert shown.view.opened.setup.adapter == ""
        await shown.pilot.press("right")
        await shown.until(lambda: shown.texts()[-1:] == ["Waves."])
        assert shown.view.opened.setup.adapter == "sea"


def test_lineage_in_words(model_home: Paths, db: Database) -> None:
    register(model_home, db, "sea", SEA)
    adapters.add(db, SKY, "sky", None, MODEL, "b" * 64, {})
    (sky,) = [one for one in adapters.every(db) if one.name == "sky"]
    assert lineage(db, sky).startswith("not evaluated")
    choices = adapter_choices(db, MODEL, ["by hand", "sea", "sky"])
    assert [one.value for one in choices] == ["sky", "sea", "by hand"]
    assert choices[2].detail == "not trained here"
