import os
from pathlib import Path

import pytest

from assistant.engine.generate.sampling import Sampling
from prompts.errors import TemplateInvalid, TemplateUnknown
from prompts.library import Library
from prompts.message import Message
from prompts.render import complete, render

PLAIN = "---\nkind: chat\ndescription: {}\n---\n# system\nhi\n"
NAMES = ["coder", "concise", "customer-service", "editor", "plain"]
NAMES += ["reasoner", "role-player", "summariser", "translator", "tutor"]
TASKS = ["code", "commonsense", "controlled-text", "entities", "intent", "interest", "news-sentiment", "open-question"]
TASKS += ["paraphrase", "passage-question", "relations", "sentiment", "service-reply", "summary", "topic"]
TASKS += ["translation", "yes-no-question", "commonsense-steps", "yes-no-question-steps"]
BUILT_IN = sorted(name + language for name in NAMES + TASKS for language in ("", "-zh"))


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name}.md"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}-zh" for name in NAMES)])
def test_every_chat_template_is_sound(name: str) -> None:
    template = Library(None).find(name)
    assert template.language == ("zh" if name.endswith("-zh") else "en")
    assert template.description
    assert all(one.description and one.default is not None for one in template.inputs)
    assert Sampling().replace(template.sampling)
    messages = render(template, [Message("user", "你好 {{ x }}")], complete(template, {}))
    assert (messages[0].role == "system") == (name != "plain")
    assert "你好 {{ x }}" in messages[-1].content


def test_the_built_in_ones_are_all_listed() -> None:
    library = Library(None)
    assert [one.name for one in library.templates()] == BUILT_IN
    assert library.problems() == []


def test_ones_own_takes_the_place_of_a_built_in_one(tmp_path: Path) -> None:
    write(tmp_path, "plain", PLAIN.format("mine"))
    library = Library(tmp_path)
    assert library.find("plain").description == "mine"
    assert library.is_own(library.find("plain"))
    assert not library.is_own(library.find("tutor"))
    assert len(library.templates()) == len(BUILT_IN)


def test_a_broken_file_leaves_the_others_usable(tmp_path: Path) -> None:
    broken = write(tmp_path, "broken", "no front matter")
    library = Library(tmp_path)
    assert len(library.templates()) == len(BUILT_IN)
    assert [str(broken) in str(one) for one in library.problems()] == [True]
    with pytest.raises(TemplateInvalid, match="broken"):
        library.find("broken")


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path, "mine", PLAIN.format("one"))
    library = Library(tmp_path)
    assert library.find("mine") is library.find("mine")
    write(tmp_path, "mine", PLAIN.format("two"))
    os.utime(file, ns=(1, 1))
    assert library.find("mine").description == "two"


def test_two_of_ones_own_with_one_name(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    write(tmp_path, "mine", PLAIN.format("one"))
    write(tmp_path / "deeper", "mine", PLAIN.format("two"))
    assert "same name" in str(Library(tmp_path).problems()[0])


def test_an_unknown_name_gets_near_ones() -> None:
    with pytest.raises(TemplateUnknown, match="Did you mean translator"):
        Library(None).find("translater")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert len(Library(tmp_path / "none").templates()) == len(BUILT_IN)
