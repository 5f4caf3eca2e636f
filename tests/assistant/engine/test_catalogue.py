import stat
from pathlib import Path

import keyring
import pytest
from keyring.errors import KeyringLocked, NoKeyringError, PasswordDeleteError

from assistant.engine.hardware.machine import Machine
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import CATALOGUE, DEFAULT, InstalledModel, Remote
from assistant.errors import ModelError, ModelIncomplete, ModelUnknown
from assistant.paths import Paths

GB = 10**9


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (Machine(8 * GB, 4 * GB, 2), DEFAULT),
        (Machine(64 * GB, 60 * GB, 16, "small", 4 * GB), "qwen3-0.6b"),
        (Machine(64 * GB, 60 * GB, 16, "large", 80 * GB), "qwen3-8b"),
    ],
)
def test_the_default_fits_the_machine(machine: Machine, name: str) -> None:
    assert catalogue.default_name(machine) == name
    assert catalogue.fits(catalogue.known(name), machine)


def test_what_does_not_fit_is_said() -> None:
    assert not catalogue.fits(catalogue.known("qwen3-8b"), Machine(8 * GB, 4 * GB, 2))


def test_every_catalogue_entry_is_whole() -> None:
    assert len({model.name for model in CATALOGUE}) == len(CATALOGUE)
    assert all(model.licence and model.description and model.download_bytes > 0 for model in CATALOGUE)
    assert all(catalogue.NAME.fullmatch(model.name) for model in CATALOGUE)


def test_a_known_model_that_is_not_here_says_how_to_pull_it(home: Paths) -> None:
    with pytest.raises(ModelUnknown, match=f"assistant models pull {DEFAULT}"):
        catalogue.find(home, DEFAULT)


@pytest.mark.parametrize("name", ["smollm2-135-instruct", "./none", "/no/such.gguf", "x.gguf", ""])
def test_an_unknown_model_says_what_to_do(home: Paths, name: str) -> None:
    with pytest.raises(ModelUnknown) as caught:
        catalogue.find(home, name)
    assert "models list" in str(caught.value) or "Check the path" in str(caught.value)


def test_near_names_are_offered(home: Paths) -> None:
    with pytest.raises(ModelUnknown, match=DEFAULT):
        catalogue.find(home, "smollm2-135m-instrct")


def test_a_folder_is_used_in_place(home: Paths, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    found = catalogue.find(home, str(tmp_path / "mine"))
    assert isinstance(found, InstalledModel)
    assert found.folder == tmp_path / "mine"
    assert catalogue.installed(home) == []
    with pytest.raises(ModelUnknown, match="delete it yourself"):
        catalogue.remove(home, str(tmp_path / "mine"))


def test_a_gguf_file_becomes_a_model_that_stays(home: Paths, tmp_path: Path) -> None:
    file = tmp_path / "My Model (1).gguf"
    file.write_bytes(b"GGUF")
    found = catalogue.find(home, str(file))
    again = catalogue.find(home, str(file))
    assert found == again
    assert isinstance(found, InstalledModel)
    assert found.folder.parent == home.models
    assert (found.folder / "model.gguf").resolve() == file
    catalogue.remove(home, found.name)
    assert file.exists()
    assert catalogue.installed(home) == []


def test_a_server_elsewhere_keeps_no_key(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote("work", "http://192.0.2.7/v1", "big", "WORK_KEY")
    catalogue.add_remote(home, remote)
    file = home.models / "work" / "remote.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert catalogue.find(home, "work") == remote
    with pytest.raises(ModelError, match="WORK_KEY, which is not set"):
        catalogue.key(remote)
    monkeypatch.setenv("WORK_KEY", "s3cret")
    assert catalogue.key(remote) == "s3cret"
    assert "s3cret" not in file.read_text()
    catalogue.remove(home, "work")
    assert catalogue.remotes(home) == []


@pytest.mark.parametrize("error", [PasswordDeleteError("not found"), KeyringLocked("locked"), NoKeyringError("none")])
def test_a_server_is_removed_though_the_keyring_fails(
    home: Paths, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: str) -> None:
        raise error

    monkeypatch.setattr(keyring, "delete_password", fails)
    catalogue.add_remote(home, Remote("work", "http://192.0.2.7/v1", "big", key_in_keyring=True))
    catalogue.remove(home, "work")
    assert catalogue.remotes(home) == []


def test_a_server_without_a_key_has_none(home: Paths) -> None:
    catalogue.add_remote(home, Remote("open", "http://localhost:1/v1", "m"))
    found = catalogue.find(home, "open")
    assert isinstance(found, Remote)
    assert catalogue.key(found) is None


@pytest.mark.parametrize(
    ("name", "url"), [("a", "ftp://x"), ("a", "localhost:1"), ("../up", "http://x"), ("", "http://x")]
)
def test_bad_names_and_addresses_are_refused(home: Paths, name: str, url: str) -> None:
    with pytest.raises(ModelError):
        catalogue.add_remote(home, Remote(name, url, "m"))
    assert not list(home.models.iterdir())


def test_a_damaged_manifest_is_told(home: Paths) -> None:
    (home.models / "bad").mkdir()
    (home.models / "bad" / "manifest.json").write_text("{")
    with pytest.raises(ModelIncomplete, match="damaged"):
        catalogue.installed(home)
