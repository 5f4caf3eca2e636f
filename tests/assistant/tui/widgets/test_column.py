"""Where entries stand, and that the reader's place stays still when estimates turn out wrong."""

from dataclasses import dataclass

import pytest
from textual.content import Content

from assistant.tui.widgets.column import Column
from assistant.tui.widgets.rows import Line


@dataclass
class Counted:
    """An entry of `height` lines that is guessed to have `guess`."""

    name: str
    height: int
    guess: int
    laid_out: int = 0

    def lines(self, width: int) -> list[Line]:
        self.laid_out += 1
        return [Line(Content(f"{self.name}.{i}.{width}")) for i in range(self.height)]

    def estimate(self, width: int) -> int:
        return self.guess * 80 // width


def column(*sizes: tuple[int, int]) -> Column[Counted]:
    made: Column[Counted] = Column()
    made.fill([Counted(str(i), height, guess) for i, (height, guess) in enumerate(sizes)])
    return made


def text(made: Column[Counted], number: int) -> str:
    line = made.line(number)
    assert line is not None
    return line.content.plain


def test_only_what_is_near_is_laid_out() -> None:
    made = column(*[(5, 3)] * 1000)
    made.settle(0, 20, at_end=True)
    assert sum(entry.laid_out > 0 for entry in made.entries) < 15


def test_at_the_end_the_last_line_is_in_sight() -> None:
    made = column(*[(7, 3)] * 100)
    top = made.settle(0, 20, at_end=True)
    assert made.height - top == 20
    assert text(made, top + 19).startswith("99.6")


@pytest.mark.parametrize("sizes", [[(9, 2)] * 60, [(2, 9)] * 200, [(5, 1), (1, 8), (30, 4)] * 40])
def test_scrolling_up_line_by_line_meets_every_line_in_order(sizes: list[tuple[int, int]]) -> None:
    made = column(*sizes)
    top = made.settle(0, 20, at_end=True)
    seen = [text(made, top)]
    while top > 0:
        top = made.settle(top - 1, 20)
        seen.append(text(made, top))
    every_line = [f"{i}.{n}.80" for i, (height, _) in enumerate(sizes) for n in range(height)]
    assert list(reversed(seen)) == every_line[: len(seen)]


def test_what_stands_at_the_top_stays_there_while_the_end_grows() -> None:
    made = column(*[(4, 4)] * 50)
    top = made.settle(40, 20)
    before = text(made, top)
    made.append(Counted("new", 30, 1))
    assert text(made, made.settle(top, 20)) == before


def test_cutting_and_replacing() -> None:
    made = column((3, 3), (3, 3), (3, 3))
    made.cut(2)
    made.replace(1, Counted("x", 10, 1))
    made.settle(0, 50)
    assert (made.height, made.position(2), made.position(3), made.position(13)) == (13, 0, 1, None)


def test_an_empty_column_has_no_lines() -> None:
    made = column()
    assert (made.settle(5, 20), made.line(0), made.position(0)) == (0, None, None)
