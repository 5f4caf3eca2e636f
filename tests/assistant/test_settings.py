from pathlib import Path

import pytest

from assistant import settings
from assistant.errors import SettingsError


def write(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert settings.load(tmp_path / "config.toml") == settings.Settings()


def test_values_are_read(tmp_path: Path) -> None:
    text = 'model = "m"\n[sampling]\ntemperature = 0\n[engine]\nkeep_alive_s = 60\n[keys]\n"chat.stop" = "f4"\n'
    read = settings.load(write(tmp_path, text))
    assert (read.model, read.sampling["temperature"], read.engine.keep_alive_s) == ("m", 0, 60.0)
    assert read.keys["chat.stop"] == "f4"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modle = 'x'", "unknown setting 'modle'"),
        ("model = 3", "model is 3, but must be a text"),
        ("[engine]\nkeep_alive_s = 'long'", "engine.keep_alive_s is 'long', but must be a number"),
        ("[engine]\nthreads = true", "engine.threads is True, but must be a whole number"),
        ("engine = 1", "engine is 1, but must be a table"),
        ("[keys]\nstop = 1", "keys is {'stop': 1}, but must be keys as texts"),
        ("model = ", "can't be read"),
    ],
)
def test_a_bad_file_is_named_with_key_and_value(tmp_path: Path, text: str, told: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        settings.load(file)
    assert told in str(caught.value)
    assert str(file) in str(caught.value)
