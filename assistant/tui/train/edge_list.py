"""An option list among others: the arrows leave it at its first and last option."""

from dataclasses import dataclass

from textual.message import Message
from textual.widgets import OptionList


class EdgeList(OptionList):
    """Posts `Left` where an arrow goes beyond its ends, instead of going round."""

    @dataclass
    class Left(Message):
        """An arrow went beyond the first option (`step` -1) or the last (1)."""

        options: "EdgeList"
        step: int

        @property
        def control(self) -> "EdgeList":
            return self.options

    def action_cursor_down(self) -> None:
        if self.highlighted == self.option_count - 1:
            self.post_message(self.Left(self, 1))
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        if not self.highlighted:
            self.post_message(self.Left(self, -1))
        else:
            super().action_cursor_up()
