"""Several requests at once, in rounds: each round every request gets one forward pass. Loads no torch.

Prompts are read in pieces, one piece a round, the oldest request's first, so that nobody waits for the end of another's
long prompt; replies get one token each, all in the same pass over the weights.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.engine.networks.network import Ask, Read, Steps
from assistant.events import Event

FEW_TOKENS = 16
"""An ask of at most so many tokens is part of every round; longer ones, pieces of a prompt, take turns."""

Run = Callable[[Sequence[Ask | Read]], Sequence[Any]]
"""Asks -> the tensor for each, or the exception that it ended with."""


@dataclass(slots=True, eq=False)
class Task:
    """One request at work. `emit` gets its events; `ended` is called once, with the exception that ended it or None."""

    steps: Steps
    emit: Callable[[Event], None]
    ended: Callable[[Exception | None], None]
    left: Callable[[], bool] = lambda: False
    """Whether nobody waits for it any more."""
    ask: Ask | Read | None = None


class Schedule:
    """The requests that run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.tasks: list[Task] = []  # oldest first

    def add(self, task: Task) -> None:
        """Begin a request: up to the first logits it needs."""
        self.tasks.append(task)
        self._advance(task, None)

    def round(self) -> None:
        """One forward pass for each, and the events that come of it."""
        for task in [task for task in self.tasks if task.left()]:
            self._end(task, None)
        chosen = self._chosen()
        if not chosen:
            return
        asks = [task.ask for task in chosen if task.ask is not None]
        for task, logits in zip(chosen, self._run(asks), strict=True):
            self._advance(task, logits)

    def clear(self, error: Exception) -> None:
        """End them all."""
        for task in list(self.tasks):
            self._end(task, error)

    def _chosen(self) -> list[Task]:
        """Whoever needs few tokens, and the first of those who need many, who goes to the end of their queue."""
        few = [task for task in self.tasks if task.ask and len(task.ask.ids) <= FEW_TOKENS]
        many = [task for task in self.tasks if task.ask and len(task.ask.ids) > FEW_TOKENS]
        for task in many[:1]:
            self.tasks.remove(task)
            self.tasks.append(task)
        return few + many[:1]

    def _advance(self, task: Task, logits: Any) -> None:
        """Send a task what it asked for, and pass its events on, until it asks again or ends."""
        try:
            # None the first time: it begins
            said = task.steps.throw(logits) if isinstance(logits, Exception) else task.steps.send(logits)
            while not isinstance(said, Ask | Read):
                task.emit(said)
                said = next(task.steps)
            task.ask = said
        except StopIteration:
            self._end(task, None)
        except Exception as error:
            self._end(task, error)

    def _end(self, task: Task, error: Exception | None) -> None:
        self.tasks.remove(task)
        task.steps.close()
        task.ended(error)


def alone(steps: Steps, run: Run) -> Generator[Event]:
    """The events of one request that has the model for itself. Closing the iterator ends the request."""
    try:
        said = next(steps)
        while True:
            if isinstance(said, Ask | Read):
                (answer,) = run([said])
                said = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            else:
                yield said
                said = next(steps)
    except StopIteration:
        return
    finally:
        steps.close()
