"""The last line: at the left what is going on and with what, at the right the keys that work here and now."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.style import Style
from textual.timer import Timer
from textual.widget import Widget

from assistant.safe_text import cell_width, printable

_GAP = 2
_NARROWEST_FACT = 8
"""Fewer cells than this say nothing."""
TOLD_S = 6.0
"""So long what was done is told; the keys have the room again after that."""


class StatusLine(Widget):
    """`state` comes first, or what is told; `facts` follow as far as there is room. Keys can be clicked."""

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
        padding: 0 1;
        color: $foreground 60%;
    }
    """

    state: reactive[str] = reactive("")
    """What is going on, such as `loading the model`; empty when nothing is."""
    told: reactive[str] = reactive("")
    """What was just done, in place of `state` for a while."""
    facts: reactive[Sequence[str]] = reactive(())
    """What replies are made with and how the last one went, most important first."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._hints: list[Hint] = []
        self._told_timer: Timer | None = None

    def tell(self, text: str) -> None:
        """Say for a while what was done."""
        if self._told_timer is not None:
            self._told_timer.stop()
        self.told = text
        self._told_timer = self.set_timer(TOLD_S, partial(setattr, self, "told", ""))

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        hints = hints_of(screen)
        if hints != self._hints:
            self._hints = hints
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        if key := event.style.meta.get("press"):
            self.app.simulate_key(key)

    def render(self) -> Content:
        width = self.content_size.width
        typing = self.screen.focused is not None and self.screen.focused.check_consume_key("a", "a")
        wanted = self._status(width).cell_length if typing else min(cell_width(self.told or self.state), width // 2)
        keys = self._keys(width - wanted - _GAP if wanted else width)
        left = self._status(width - keys.cell_length - _GAP)
        return left + " " * max(0, width - left.cell_length - keys.cell_length) + keys

    def _keys(self, room: int) -> Content:
        """As many hints as fit. Important ones stay: the way out, and the way to all others."""
        hints = list(self._hints)
        while hints and sum(cell_width(hint.text) + _GAP for hint in hints) - _GAP > room:
            spare = [hint for hint in hints if not hint.important]
            if not spare:
                break
            hints.remove(spare[-1])
        return Content("  ").join([hint.content for hint in hints])

    def _status(self, room: int) -> Content:
        said = printable(self.told or self.state, newlines=False)
        parts = [Content.styled(said, "$accent")] if said else []
        parts += [Content(printable(fact, newlines=False)) for fact in self.facts if fact]
        line = Content("")
        for part in parts:
            longer = line + " · " + part if line else part
            if longer.cell_length > room:
                return line or (part.truncate(room, ellipsis=True) if room >= _NARROWEST_FACT else line)
            line = longer
        return line


@dataclass(frozen=True, slots=True)
class Hint:
    """A key, how it is shown, and what it does."""

    key: str
    display: str
    what: str
    important: bool = False

    @property
    def text(self) -> str:
        return f"{self.display} {self.what}"

    @property
    def content(self) -> Content:
        shown = Content.styled(self.display, "$accent") + f" {self.what}"
        return shown.stylize(Style.from_meta({"press": self.key}))


def hints_of(screen: Screen[object]) -> list[Hint]:
    """The keys worth showing: those of the focused widget first, those of the app last."""
    hints: dict[str, Hint] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if binding.show and enabled and binding.action not in hints:
            what = binding.description[:1].lower() + binding.description[1:]
            important = node is screen.app or binding.key == "escape"
            hints[binding.action] = Hint(binding.key, screen.app.get_key_display(binding), what, important)
    return list(hints.values())
