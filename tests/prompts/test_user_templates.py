"""A person's own templates on disk."""

from pathlib import Path

import pytest

from prompts import user_templates
from prompts.errors import PromptError
from prompts.library import BUILT_IN, Library
from prompts.template import parse


def test_what_a_new_one_begins_with_is_a_template() -> None:
    assert parse(user_templates.NEW, name="new").kind == "chat"


def test_a_duplicate_is_private_and_has_the_set(tmp_path: Path) -> None:
    library = Library(tmp_path)
    path = user_templates.duplicate(library.find("sentiment"), tmp_path, "moods")
    assert library.find("moods").labels == library.find("sentiment").labels
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_suffix(".jsonl").read_bytes() == (BUILT_IN / "en" / "sentiment.jsonl").read_bytes()


def test_a_duplicate_has_its_own_name(tmp_path: Path) -> None:
    named = parse("---\nname: a\nkind: chat\n---\n# system\nname: a\n", name="a")
    path = user_templates.duplicate(named, tmp_path, "b")
    assert path.read_text() == "---\nname: b\nkind: chat\n---\n# system\nname: a\n"


def test_a_set_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "moods.jsonl").write_text("mine")
    user_templates.duplicate(Library(None).find("sentiment"), tmp_path, "moods")
    assert (tmp_path / "moods.jsonl").read_text() == "mine"


@pytest.mark.parametrize("name", ["Mood", "", "a b", "../a", "taken"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    user_templates.write(tmp_path / "taken.md", user_templates.NEW)
    with pytest.raises(PromptError, match="name"):
        user_templates.create(tmp_path, name, user_templates.NEW)


def test_free_names(tmp_path: Path) -> None:
    for name in ("a", "a-2"):
        user_templates.create(tmp_path, name, user_templates.NEW)
    assert [user_templates.free_name(tmp_path, one) for one in ("a", "b")] == ["a-3", "b"]


def test_a_text_that_cannot_be_written_leaves_the_file(tmp_path: Path) -> None:
    path = user_templates.create(tmp_path, "a", user_templates.NEW)
    with pytest.raises(PromptError, match="half of a surrogate pair"):
        user_templates.write(path, "\ud800")
    assert path.read_text() == user_templates.NEW
    assert list(tmp_path.iterdir()) == [path]


def test_removing_what_is_gone(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="can't be removed"):
        user_templates.remove(tmp_path / "a.md")


def test_the_library_names_every_file(tmp_path: Path) -> None:
    (tmp_path / "broken.md").write_text("nothing")
    user_templates.create(tmp_path, "plain", user_templates.NEW)
    files = {path: one for path, one in Library(tmp_path).files() if tmp_path in path.parents}
    assert {path.stem: type(one).__name__ for path, one in files.items()} == {
        "broken": "TemplateInvalid",
        "plain": "Template",
    }
