"""One message of the transcript: a header line, folded reasoning, and the text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from time import monotonic

from textual.content import Content
from textual.style import Style

from assistant.safe_text import printable
from assistant.tui.widgets import markdown_blocks
from assistant.tui.widgets.reasoning import Reasoning, split
from assistant.tui.widgets.rows import Block, Line, Row, Sides, plain_rows
from assistant.tui.widgets.streaming_markdown import StreamingMarkdown

_HEAD_LINES = 200
_HEAD_CHARACTERS = 16_000
"""A longer text shows this much until it is unfolded: a pasted file should not bury the conversation."""
NAMES = {"user": "you"}
STATES = {"cut": "cut at the limit", "stopped": "stopped", "interrupted": "interrupted", "failed": "failed"}


@dataclass(frozen=True)
class MessageView:
    """What the transcript shows of one message. `time` is ready to show; `sibling` counts from 1."""

    id: int
    role: str
    text: str
    time: str
    state: str = "complete"
    sibling: int = 1
    siblings: int = 1
    note: str = ""
    """A quiet line under the text; an error where the state is `failed` or `interrupted`."""
    reasoning_s: float | None = None
    """How long the model thought, where it is known."""
    marks: tuple[str, ...] = ()
    """Judgements as short display strings."""
    name: str = ""
    """What stands at its head; empty: who speaks."""


class Notice:
    """A quiet line between messages."""

    def __init__(self, text: str) -> None:
        self._row = Row(Content.styled(printable(text, newlines=False), ".quiet"))

    def lines(self, width: int) -> Sequence[Line]:
        return [*self._row.lines(width), Line(Content(""))]

    def estimate(self, width: int) -> int:
        return len(self.lines(width))


class ShownMessage:
    """A message that is laid out when it comes into sight."""

    def __init__(self, view: MessageView) -> None:
        self.view = view
        self._reasoning = Reasoning()
        self._reasoning.duration_s = view.reasoning_s
        self._stream: StreamingMarkdown | None = None
        self._arrived: list[str] = []
        self._thinking_since: float | None = None
        self._unfolded = False
        self._body: list[Block] | None = None
        self._laid_out: tuple[int, list[Line]] | None = None

    # --- what is shown

    def lines(self, width: int) -> Sequence[Line]:
        """All lines of the message, an empty one last."""
        if self._laid_out is None or self._laid_out[0] != width:
            self._laid_out = width, list(chain.from_iterable(block.lines(width) for block in self._blocks()))
        return self._laid_out[1]

    def estimate(self, width: int) -> int:
        """About how many lines there will be: cheap, and right for short plain text."""
        text = self.view.text[:_HEAD_CHARACTERS]
        return min(text.count("\n") + len(text) // width, _HEAD_LINES) + 3

    @property
    def answer(self) -> str:
        """The text without its reasoning, as it came."""
        return split(self.view.text).answer if self.view.role == "assistant" else self.view.text

    def code_blocks(self) -> list[str]:
        """The code blocks of the answer, first to last."""
        return markdown_blocks.code_blocks(self.answer.replace("\r\n", "\n"))

    def _blocks(self) -> list[Block]:
        if self._body is None:
            self._body = self._make_body()
        return [self._header(), *self._body, *self._note(), markdown_blocks.gap()]

    def _header(self) -> Block:
        view = self.view
        name = view.name or NAMES.get(view.role, view.role)
        left = [Content.styled(name, ".role" if view.role == "assistant" else ".strong")]
        if view.siblings > 1:
            left += [
                Content.styled(f" · {view.sibling} of {view.siblings}", ".quiet"),
                _arrow("‹", -1),
                _arrow("›", 1),
            ]
        if view.state == "growing":
            left.append(Content.styled(" ▍", ".role"))
        elif view.state in STATES:
            left.append(Content.styled(f" · {STATES[view.state]}", ".quiet"))
        time = Content.styled(printable(view.time, newlines=False), ".quiet")
        marks = [Content.styled(printable(mark, newlines=False), ".mark") for mark in view.marks]
        return Sides(Content("").join(left), Content("  ").join([*marks, time]))

    def _note(self) -> list[Block]:
        style = ".error" if self.view.state in ("failed", "interrupted") else ".quiet"
        return [Row(Content.styled(printable(self.view.note), style))] if self.view.note else []

    # --- a whole text

    def _make_body(self) -> list[Block]:
        text = printable(self.view.text)
        if self.view.role != "assistant":
            return self._folded(text.rstrip("\n"))
        parts = split(text)
        self._reasoning.update(parts.reasoning)
        thoughts = self._reasoning.blocks(thinking=False)
        answer = self._folded(parts.answer)
        return [*thoughts, markdown_blocks.gap(), *answer] if thoughts and answer else [*thoughts, *answer]

    def _folded(self, text: str) -> list[Block]:
        """The blocks of `text`, or of its head and a line that says how much more there is."""
        head = text if self._unfolded else _head(text)
        blocks = self._render(head.rstrip("\n"))
        if len(head) < len(text):
            lines = text.count("\n", len(head.rstrip("\n")) + 1) + 1
            more = f"{lines:,} more lines" if lines > 1 else f"{len(text) - len(head):,} more characters"
            blocks.append(Row(Content.styled(f"… {more}", ".link").stylize(Style.from_meta({"part": "more"}))))
        return blocks

    def _render(self, text: str) -> list[Block]:
        if self.view.role == "assistant":
            return markdown_blocks.render(text)
        return [*plain_rows(text)]

    # --- a text that grows

    def start(self) -> None:
        """The text grows from now on, from what it is."""
        self._stream = StreamingMarkdown()
        self._arrived = [self.view.text]
        self._unfolded = True
        self.show_arrived()

    def arrive(self, text: str) -> None:
        """Keep `text` for the next time that the message is shown."""
        self._arrived.append(text)

    def show_arrived(self) -> None:
        """Take in all that arrived."""
        if self._stream is None:
            return
        text = "".join(self._arrived)
        self._arrived = [text]
        self.view = replace(self.view, text=text, state="growing")
        parts = split(printable(text), growing=True)
        self._clock(parts.thinking)
        self._reasoning.update(parts.reasoning)
        self._stream.update(parts.answer)
        thoughts = self._reasoning.blocks(thinking=parts.thinking)
        between = [markdown_blocks.gap()] if thoughts and self._stream.blocks else []
        self._body = [*thoughts, *between, *self._stream.blocks]
        self._laid_out = None

    def _clock(self, thinking: bool) -> None:
        if thinking and self._thinking_since is None:
            self._thinking_since = monotonic()
        elif not thinking and self._thinking_since is not None and self._reasoning.duration_s is None:
            self._reasoning.duration_s = monotonic() - self._thinking_since

    def finished(self, view: MessageView, width: int) -> "ShownMessage":
        """The message as it stays, laid out at `width`. Slow for a long text, and safe in a thread."""
        message = ShownMessage(view)
        message._reasoning.unfolded = self._reasoning.unfolded
        message._unfolded = self._unfolded
        if view.reasoning_s is None:
            message._reasoning.duration_s = self._reasoning.duration_s
        message.lines(width)
        return message

    # --- folding

    def toggle_reasoning(self) -> None:
        """Fold the reasoning, or unfold it."""
        self._reasoning.unfolded = not self._reasoning.unfolded
        self._body = self._laid_out = None
        self.show_arrived()

    def unfolded(self, width: int) -> "ShownMessage":
        """The message with all of its text, laid out at `width`. Slow for a long text, and safe in a thread."""
        self._unfolded = True
        return self.finished(self.view, width)

    @property
    def is_folded(self) -> bool:
        """Whether a part of a long text is not shown."""
        return not self._unfolded and len(_head(self.answer)) < len(self.answer)


def _head(text: str) -> str:
    """The first lines of a long text, all of a shorter one."""
    head = "".join(text[:_HEAD_CHARACTERS].splitlines(keepends=True)[:_HEAD_LINES])
    if len(head) == len(text):
        return text
    return head[: head.rfind("\n") + 1] or head


def _arrow(text: str, step: int) -> Content:
    return Content.styled(f" {text}", ".role").stylize(Style.from_meta({"part": "sibling", "step": step}))
