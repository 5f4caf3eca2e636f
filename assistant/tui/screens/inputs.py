"""The inputs of a template, for one conversation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from assistant.errors import AssistantError
from assistant.tui.screens.form import Field, FormScreen

if TYPE_CHECKING:
    from prompts.template import Template


class InputsScreen(FormScreen[dict[str, str]]):
    """The result holds what was typed; inputs left empty take their defaults."""

    def __init__(self, template: "Template", values: Mapping[str, str]) -> None:
        self._required = [each.name for each in template.inputs if each.default is None]
        fields = [
            Field(each.name, each.name, each.description, values.get(each.name, ""), each.default or "")
            for each in template.inputs
        ]
        super().__init__(template.name, template.description, fields)

    def result(self, typed: dict[str, str]) -> dict[str, str]:
        if missing := [name for name in self._required if not typed[name].strip()]:
            raise AssistantError(f"Still empty: {', '.join(missing)}. The template has no default for it.")
        return {name: text for name, text in typed.items() if text.strip()}
