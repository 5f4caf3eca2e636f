"""Bindings: unique ids, remapped by the config, with clear words about what can't be."""

import pytest

from assistant.errors import SettingsError
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tui import keys
from tests.assistant.tui.conftest import window
from tests.fake_engine import FakeEngine

UNDELIVERED = {"ctrl+i", "ctrl+j", "ctrl+m", "ctrl+h", "ctrl+left_square_bracket", "ctrl+s", "ctrl+z", "ctrl+c"}


def test_every_binding_has_an_id_of_its_own() -> None:
    ids = [binding.id for section in keys.SECTIONS.values() for binding in keys.bindings(section)]
    assert all(ids)
    shared = {"dialog.cancel"}
    assert len([each for each in ids if each not in shared]) == len({*ids} - shared)


def test_no_key_is_one_that_terminals_keep() -> None:
    used = {
        key.strip()
        for section in keys.SECTIONS.values()
        for binding in keys.bindings(section)
        for key in binding.key.split(",")
    }
    assert not used & UNDELIVERED


@pytest.mark.parametrize(
    ("remapped", "words"),
    [
        ({"chat.regenrate": "r"}, "no such binding"),
        ({"chat.regenerate": "ctrl+nonsense"}, "which is none"),
        ({"chat.regenerate": ""}, "which is none"),
    ],
)
def test_what_can_not_be_remapped_is_told(remapped: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        keys.check(remapped)


@pytest.mark.parametrize("key", ["r", "f5", "ctrl+r", "r,f5", "?", "slash", "alt+x", "pageup"])
def test_real_keys_are_taken(key: str) -> None:
    keys.check({"chat.regenerate": key})


async def test_a_remapped_key_works_and_the_old_one_does_not(model_home: Paths, engine: FakeEngine) -> None:
    async with window(model_home, engine, settings=Settings(keys={"chat.toggle_list": "f12"})) as shown:
        await shown.pilot.press("ctrl+b")
        assert shown.app.chat.side.display
        await shown.pilot.press("f12")
        assert not shown.app.chat.side.display
