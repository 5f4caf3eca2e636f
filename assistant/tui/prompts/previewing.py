"""The messages that the text in the editor makes, and their tokens."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual.message import Message as Event
from textual.widget import Widget

from assistant.errors import AssistantError
from assistant.tui.prompts.preview import Preview
from assistant.tui.prompts.trial import Trial, question
from prompts.errors import InputsInvalid
from prompts.message import Message
from prompts.template import Template
from prompts.tracing import Traced, traced

if TYPE_CHECKING:
    from assistant.tui.logs import Logs

COUNT_AFTER_S = 0.15
"""Tokens are counted when nothing was typed for so long."""


class Previewing:
    """The preview of one text at a time. Posts `Counted` to `widget` when the model has counted its tokens."""

    class Counted(Event):
        """The preview has its number of tokens, or says why not."""

    def __init__(self, widget: Widget, logs: "Logs") -> None:
        self._widget = widget
        self._logs = logs
        self.preview = Preview(())

    def clear(self) -> None:
        """Show nothing of the text before."""
        self.preview = Preview(())

    def make(self, template: Template, trial: Trial) -> str:
        """Make the messages of a trial. The problem where that fails, else empty."""
        values: Mapping[str, str] = trial.values
        try:
            messages = traced(template, [Message("user", trial.said)], values, question(template))
        except InputsInvalid as error:
            return str(error)
        if messages != self.preview.messages:
            self.preview = Preview(messages)
        if self.preview.tokens is None:
            self._widget.run_worker(self._count(messages), group="tokens", exclusive=True)
        return ""

    async def _count(self, messages: Sequence[Traced]) -> None:
        await asyncio.sleep(COUNT_AFTER_S)
        tokens, untold = None, ""
        try:
            if model := self._logs.model():
                tokens = await self._logs.client.tokenize(model, [told.message for told in messages])
            else:
                untold = "no model counts tokens"
        except AssistantError as error:
            untold = f"tokens not counted: {error}"
        if self.preview.messages == messages:
            self.preview = Preview(messages, tokens, untold)
            self._widget.post_message(self.Counted())
