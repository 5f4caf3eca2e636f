"""The course of a training: the loss of each step as a line of braille dots, the held-out loss as marks on it.

Both are told apart by their form, so that the plot reads well without colours.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

Points = Sequence[tuple[int, float]]
"""(step, loss in nats for each supervised token), in order."""

MARK = "o"
"""Of held-out loss: a letter is one cell wide in every terminal, also where East Asian ones draw circles wide."""
_ACROSS, _DOWN = 2, 4
"""Dots of a braille cell."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot, by row and column (https://www.unicode.org/charts/PDF/U2800.pdf)."""
_BLANK = 0x2800
_QUIET = "$foreground 60%"


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn. `steps`: how far the horizontal axis goes, at least."""

    train: Points = ()
    held_out: Points = ()
    steps: int = 0


class LossPlot(Widget):
    """Axes with the extreme values alone, and a legend under them."""

    DEFAULT_CSS = """
    LossPlot { height: 10; }
    """

    curves: reactive[Curves] = reactive(Curves())

    def render(self) -> Content:
        width, height = self.content_size
        return plot(self.curves, width, height)


def plot(curves: Curves, width: int, height: int) -> Content:
    """The plot in so many cells; a loss that is no number is left out."""
    train, held_out = _finite(curves.train), _finite(curves.held_out)
    losses = [loss for _, loss in (*train, *held_out)]
    if not losses or height < 3:
        return Content("")
    top, bottom = max(losses), min(losses)
    labels = [f"{top:.2f}", f"{bottom:.2f}" if bottom < top else ""]
    gutter = max(len(label) for label in labels)
    first = min(step for step, _ in (*train, *held_out))
    last = max(curves.steps, *(step for step, _ in (*train, *held_out)))
    area = Area(max(1, width - gutter - 2), height - 2, (first, last), (bottom, top))
    lines = []
    for number, cells in enumerate(_rows(area, train, held_out)):
        label = labels[0] if number == 0 else labels[1] if number == area.height - 1 else ""
        lines.append(Content.styled(f"{label:>{gutter}} {'┤' if label else '│'}", _QUIET) + cells)
    steps = f"step {first:,}" + f"{last:,}".rjust(area.width - len(f"step {first:,}"))
    lines.append(Content.styled(" " * (gutter + 2) + steps, _QUIET))
    legend = Content.styled("⠤⠤⠤", "$foreground") + Content.styled(" train", _QUIET)
    if held_out:
        legend += Content.styled(f"   {MARK}", "$accent bold") + Content.styled(" held out", _QUIET)
    return Content("\n").join([*lines, Content(" " * (gutter + 2)) + legend])


@dataclass(frozen=True, slots=True)
class Area:
    """A grid of cells, and the steps and losses at its edges."""

    width: int
    height: int
    steps: tuple[int, int]
    losses: tuple[float, float]

    def across(self, step: int, cells: int) -> int:
        """Which of `cells` columns a step is in."""
        first, last = self.steps
        return round((step - first) / (last - first) * (cells - 1)) if last > first else 0

    def down(self, loss: float, cells: int) -> int:
        """Which of `cells` rows a loss is in, from the top."""
        bottom, top = self.losses
        return round((top - loss) / (top - bottom) * (cells - 1)) if top > bottom else 0


def _rows(area: Area, train: Points, held_out: Points) -> Iterable[Content]:
    dots = [[0] * area.width for _ in range(area.height)]
    for x, y in _line(area, train):
        dots[y // _DOWN][x // _ACROSS] |= _DOTS[y % _DOWN][x % _ACROSS]
    marked = {(area.down(loss, area.height), area.across(step, area.width)) for step, loss in held_out}
    for y, row in enumerate(dots):
        pieces = [
            Content.styled(MARK, "$accent bold") if (y, x) in marked else chr(_BLANK + bits) if bits else " "
            for x, bits in enumerate(row)
        ]
        yield Content("").join(piece if isinstance(piece, Content) else Content(piece) for piece in pieces)


def _line(area: Area, points: Points) -> Iterable[tuple[int, int]]:
    """The dots of a line through the mean of each column of dots."""
    columns: dict[int, list[float]] = {}
    for step, loss in points:
        columns.setdefault(area.across(step, area.width * _ACROSS), []).append(loss)
    means = {x: area.down(sum(losses) / len(losses), area.height * _DOWN) for x, losses in sorted(columns.items())}
    before: tuple[int, int] | None = None
    for x, y in means.items():
        yield from _between(before or (x, y), (x, y))
        before = (x, y)


def _between(start: tuple[int, int], end: tuple[int, int]) -> Iterable[tuple[int, int]]:
    """Every dot of a straight line."""
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for number in range(length + 1):
        yield tuple(round(a + (b - a) * number / length) for a, b in zip(start, end, strict=True))  # type: ignore[misc]


def _finite(points: Points) -> Points:
    return [(step, loss) for step, loss in points if math.isfinite(loss)]
