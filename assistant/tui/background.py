"""Work that a widget starts and doesn't wait for; errors of this program become a sentence on the screen."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from textual.dom import DOMNode
from textual.worker import Worker

from assistant.errors import AssistantError
from assistant.safe_text import printable
from prompts.errors import PromptError

REPEATED = "repeated"
"""Group of what never ends by itself."""


@contextmanager
def errors_shown(node: DOMNode) -> Iterator[None]:
    """Show an error that is raised inside, such as a full disk's, and go on after the block."""
    try:
        yield
    except (AssistantError, PromptError) as error:
        node.app.notify(printable(str(error)), severity="error", markup=False, timeout=10)


def in_background(
    node: DOMNode, work: Callable[[], Awaitable[object]], group: str = "background", *, exclusive: bool = False
) -> None:
    """Run `work` beside the screen, with its errors shown. `exclusive`: in place of what runs in the group."""

    async def shown() -> None:
        with errors_shown(node):
            await work()

    _: Worker[None] = node.run_worker(shown, group=group, exclusive=exclusive)


class InOrder:
    """Work of one widget that runs in the background, each piece after the end of the piece before."""

    def __init__(self, node: DOMNode) -> None:
        self._node = node
        self._turn = asyncio.Lock()

    def run(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` when all that was started before has ended."""

        async def in_turn() -> None:
            async with self._turn:
                await work()

        in_background(self._node, in_turn, "in order")


def every(node: DOMNode, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Run `work` again and again, so many seconds after it has ended, as long as the node is there."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            with errors_shown(node):
                await work()

    _: Worker[None] = node.run_worker(repeat, group=REPEATED)
