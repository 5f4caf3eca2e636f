"""The documentation of a training's settings: each field's docstring is the help of an option."""

from dataclasses import fields

import pytest
from click import Context, Option

from assistant.cli.field_docs import meanings
from finetune.cli.train import SHORT, command
from finetune.config import TrainConfig

HELP = meanings(TrainConfig)
OPTIONS = {one.name: one for one in command.params if isinstance(one, Option)}


@pytest.mark.parametrize("name", [one.name for one in fields(TrainConfig)])
def test_every_setting_is_explained_in_the_help(name: str) -> None:
    assert HELP[name].endswith(".") and len(HELP[name].split()) >= 8
    option = OPTIONS[name]
    assert option.help == HELP[name]
    assert SHORT.get(name, "--" + name.replace("_", "-")) in option.opts
    shown = " ".join(command.get_help(Context(command, terminal_width=10_000, max_content_width=10_000)).split())
    assert HELP[name] in shown


@pytest.mark.parametrize(
    "name",
    [
        one.name
        for one in fields(TrainConfig)
        if isinstance(one.default, int | float) and not isinstance(one.default, bool) and not one.default
    ],
)
def test_a_default_of_nothing_says_what_it_stands_for(name: str) -> None:
    if name != "seed":
        assert "0: " in HELP[name] or "; 0, " in HELP[name]
