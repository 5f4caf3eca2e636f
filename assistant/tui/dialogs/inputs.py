"""The inputs of a template: for one conversation, or to try it with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.widgets import TextArea

from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.tui.dialogs.form import Field, FormScreen, T

if TYPE_CHECKING:
    from assistant.tui.prompts.trial import Trial
    from prompts.template import Template


class _Inputs(FormScreen[T]):
    """A line for each input. Those left empty take their defaults."""

    def __init__(self, heading: str, template: "Template", values: Mapping[str, str]) -> None:
        self._required = [each.name for each in template.inputs if each.default is None]
        fields = [
            Field(each.name, each.name, each.description, values.get(each.name, ""), each.default or "")
            for each in template.inputs
        ]
        super().__init__(heading, template.description, fields)

    def given(self, typed: Mapping[str, str]) -> dict[str, str]:
        """What was typed. Raises `AssistantError` where an input without a default is empty."""
        if missing := [name for name in self._required if not typed[name].strip()]:
            raise AssistantError(f"Still empty: {', '.join(missing)}. The template has no default for it.")
        return {name: text for name, text in typed.items() if text.strip()}


class InputsScreen(_Inputs[dict[str, str]]):
    """The result holds what was typed."""

    def __init__(self, template: "Template", values: Mapping[str, str]) -> None:
        super().__init__(template.name, template, values)

    def result(self, typed: dict[str, str]) -> dict[str, str]:
        return self.given(typed)


class TryScreen(_Inputs["Trial"]):
    """The result is what to run a template with: the person's turn, of several lines, and the inputs."""

    DEFAULT_CSS = """
    TryScreen TextArea, TryScreen TextArea:focus {
        height: auto;
        min-height: 3;
        max-height: 40vh;
        margin-bottom: 1;
        padding: 0 1;
        border: none;
        background: $panel;
        background-tint: $foreground 0%;
        scrollbar-size-vertical: 1;
    }
    TryScreen .text-area--cursor-line { background: $panel; }
    """
    KEYS: ClassVar[str] = "tab next field · ctrl+g run · esc cancel"

    def __init__(self, template: "Template", trial: "Trial") -> None:
        super().__init__(f"Run {template.name}", template, trial.values)
        self._said = printable(trial.said)

    def above(self) -> ComposeResult:
        yield TextArea(self._said, soft_wrap=True, placeholder="the input")

    def on_mount(self) -> None:
        self.query_one(TextArea).select_all()

    def result(self, typed: dict[str, str]) -> "Trial":
        from assistant.tui.prompts.trial import Trial

        return Trial(self.query_one(TextArea).text, self.given(typed))
