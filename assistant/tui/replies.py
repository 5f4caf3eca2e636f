"""Replies that grow. They go on while another conversation is looked at, and end with the program."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from assistant.dialogue.exchange import Dialogue, ReplyEnded, ReplyStarted, Step
from assistant.errors import AssistantError
from assistant.events import Finished, Loading, Prefilled, Token
from assistant.growing import Growing
from assistant.tui.chat.conversation_list import Key
from assistant.tui.logs import Log
from prompts.errors import PromptError

Begin = Callable[[Dialogue], AsyncGenerator[Step, None]]


@dataclass(slots=True)
class Reply:
    """A reply and what is known of it so far."""

    log: Log
    conversation_id: int
    message_id: int = 0
    growing: Growing = field(default_factory=Growing)
    state: str = "reading the prompt"
    """What the engine does before the first token; empty from then on."""

    @property
    def key(self) -> Key:
        return self.log.private, self.conversation_id

    @property
    def text(self) -> str:
        """All of it, also what a continued reply had before."""
        return self.growing.text

    def take(self, step: Step) -> None:
        """Note a step."""
        match step:
            case ReplyStarted():
                self.message_id, self.growing = step.message_id, step.growing
            case Loading():
                percent = "" if step.fraction is None else f" {step.fraction:.0%}"
                self.state = step.stage + percent
            case Prefilled() | Token():
                self.state = ""
                self.growing.take(step)
            case Finished():
                self.growing.take(step)


Listener = Callable[[Reply, Step], Awaitable[None]]
Refused = Callable[[Reply, AssistantError | PromptError], None]


class Replies:
    """The replies that grow now, at most one for each conversation.

    `listener` is told every step, `refused` what kept a reply from being begun or stored.
    """

    def __init__(self, listener: Listener, refused: Refused) -> None:
        self._listener = listener
        self._refused = refused
        self._growing: dict[Key, tuple[Reply, asyncio.Task[None]]] = {}

    @property
    def busy(self) -> frozenset[Key]:
        """The conversations in which one grows."""
        return frozenset(self._growing)

    def of(self, key: Key) -> Reply | None:
        """The reply that grows in a conversation, if there is one."""
        found = self._growing.get(key)
        return found[0] if found else None

    def start(self, log: Log, conversation_id: int, begin: Begin, *, before: str = "") -> Reply:
        """Begin an exchange and read it to its end, in the background. `before` is the text that it goes on from."""
        reply = Reply(log, conversation_id, growing=Growing(before))
        self._growing[reply.key] = reply, asyncio.create_task(self._read(reply, log.steps(begin)))
        return reply

    async def ended(self, reply: Reply) -> None:
        """Wait until a reply has ended, however it does."""
        found, task = self._growing.get(reply.key, (None, None))
        if found is reply and task is not None:
            await asyncio.wait([task])

    async def _read(self, reply: Reply, steps: AsyncGenerator[Step]) -> None:
        try:
            async with aclosing(steps):
                async for step in steps:
                    reply.take(step)
                    if isinstance(step, ReplyEnded):
                        self._growing.pop(reply.key, None)
                    await self._listener(reply, step)
        except (AssistantError, PromptError) as error:
            self._growing.pop(reply.key, None)
            self._refused(reply, error)

    async def stop(self, key: Key) -> None:
        """Stop the reply of a conversation. What was said is stored when this returns."""
        if key not in self._growing:
            return
        reply, task = self._growing.pop(key)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if reply.message_id:
            await self._listener(reply, ReplyEnded(reply.message_id, "stopped"))

    async def stop_all(self) -> None:
        """Stop every reply."""
        for key in list(self._growing):
            await self.stop(key)
