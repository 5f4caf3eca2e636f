"""Rows one of which has the cursor: the keys that move it, and how a line is styled."""

from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.style import Style


class CursorList(ScrollView):
    """Rows of a line each, drawn by a subclass."""

    HEADING_LINES = 0
    """Lines at the top that don't scroll."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.count = 0
        """Rows there are."""
        self._cursor = 0

    def go_to(self, index: int) -> None:
        """Put the cursor on a row, or the nearest there is, and bring it into sight."""
        self._cursor = max(0, min(index, self.count - 1))
        self.scroll_to_region(self.region_of(self._cursor), animate=False, force=True)
        self.refresh()
        self.refresh_bindings()

    def region_of(self, index: int) -> Region:
        """The lines that come into sight with a row."""
        return Region(0, index, 1, 1)

    def action_move(self, step: int) -> None:
        self.go_to(self._cursor + step)

    def action_page(self, direction: int) -> None:
        self.go_to(self._cursor + direction * max(1, self.size.height - self.HEADING_LINES - 2))

    def action_to_start(self) -> None:
        self.go_to(0)

    def action_to_end(self) -> None:
        self.go_to(self.count - 1)

    def _style(self, name: str) -> Style:
        background = self.get_component_styles(name).background  # a partial style has none where it is opaque
        return self.visual_style + self.get_visual_style(name, partial=True) + Style(background=background)
