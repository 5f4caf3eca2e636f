"""Greedy replies of the engine that chats, to many prompts at once."""

from collections.abc import Sequence
from pathlib import Path

from assistant.engine.engine import Engine
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.schedule import Schedule, Task
from assistant.engine.request import Chat
from assistant.growing import Growing
from prompts.message import Message

Prompt = Sequence[Message]
AT_ONCE = 32
"""Replies that grow together."""


def replies(engine: Engine, prompts: Sequence[Prompt], tokens: int, adapter: Path | None) -> list[Growing]:
    """A reply of at most so many tokens to each prompt. `adapter`: its folder; None for the base alone.

    Raises what the engine raises, such as `ContextExceeded`.
    """
    greedy = Sampling(temperature=0.0, max_tokens=tokens)
    said, errors = [Growing() for _ in prompts], list[Exception]()
    for begin in range(0, len(prompts), AT_ONCE):
        schedule = Schedule(engine.run)
        for one, prompt in zip(said[begin : begin + AT_ONCE], prompts[begin : begin + AT_ONCE], strict=True):
            steps = engine.steps(Chat(prompt, greedy, adapter=adapter))
            schedule.add(Task(steps, one.take, lambda error: errors.append(error) if error else None))
        while schedule.tasks:
            schedule.round()
    if errors:
        raise errors[0]
    return said
