"""One message of the transcript: a header line, folded reasoning, and the text."""

from dataclasses import dataclass


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
    reasoning_s: float | None = None
