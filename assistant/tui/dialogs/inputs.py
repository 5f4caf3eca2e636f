"""The inputs of a template as a form: a line for each. Those left empty take their defaults."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from assistant.errors import AssistantError
from assistant.tui.dialogs.form import Field, FormScreen

if TYPE_CHECKING:
    from prompts.template import Template


def inputs_form(template: "Template", values: Mapping[str, str]) -> FormScreen[dict[str, str]]:
    """The result holds what was typed."""
    return FormScreen(
        template.name, template.description, fields(template, values), lambda typed: given(template, typed)
    )


def fields(template: "Template", values: Mapping[str, str]) -> list[Field]:
    """A field for each input."""
    return [
        Field(each.name, each.name, each.description, values.get(each.name, ""), each.default or "")
        for each in template.inputs
    ]


def given(template: "Template", typed: Mapping[str, str]) -> dict[str, str]:
    """What was typed. Raises `AssistantError` where an input without a default is empty."""
    required = [each.name for each in template.inputs if each.default is None]
    if missing := [name for name in required if not typed[name].strip()]:
        raise AssistantError(f"Still empty: {', '.join(missing)}. The template has no default for it.")
    return {name: text for name, text in typed.items() if text.strip()}
