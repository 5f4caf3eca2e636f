"""The border at which errors of ours become a sentence on the screen, and the screen lives on."""

from textual.message import Message
from textual.message_pump import MessagePump

from assistant.errors import AssistantError
from assistant.safe_text import printable
from prompts.errors import PromptError


class TellsErrors(MessagePump):
    """A widget, screen or app whose handlers, timers and actions may raise errors of ours, such as a full disk's."""

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except (AssistantError, PromptError) as error:
            self.app.notify(printable(str(error)), severity="error", markup=False, timeout=10)
