"""Several requests in rounds, with a model that answers at once."""

from collections.abc import Sequence
from typing import Any

from assistant.engine.generate.schedule import Schedule, Task, alone
from assistant.engine.networks.network import Ask, Conversation, Read, Steps
from assistant.events import Event, Token


class Model:
    """Answers each ask with the number of its tokens, and notes what was asked together."""

    def __init__(self) -> None:
        self.rounds: list[list[int]] = []

    def run(self, asks: Sequence[Ask | Read]) -> list[Any]:
        self.rounds.append([len(ask.ids) for ask in asks])
        return [RuntimeError("no") if 13 in ask.ids else len(ask.ids) for ask in asks]


class Seen:
    """One task, and what came of it."""

    def __init__(self, *sizes: int, token: int = 0) -> None:
        self.events: list[Event] = []
        self.ends: list[Exception | None] = []
        self.gone = self.closed = False
        self.task = Task(self.steps(sizes, token), self.events.append, self.ends.append, lambda: self.gone)

    def steps(self, sizes: Sequence[int], token: int) -> Steps:
        conversation = Conversation(None)  # type: ignore[arg-type]
        try:
            for size in sizes:
                answer = yield Ask(conversation, [token] * size)
                yield Token(str(answer))
        finally:
            self.closed = True

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Token)]


def begun(*seen: Seen) -> tuple[Model, Schedule]:
    model = Model()
    schedule = Schedule(model.run)
    for one in seen:
        schedule.add(one.task)
    return model, schedule


def test_replies_share_every_round() -> None:
    one, other = Seen(1, 1, 1), Seen(1, 2)
    model, schedule = begun(one, other)
    for _ in range(3):
        schedule.round()
    assert model.rounds == [[1, 1], [1, 2], [1]]
    assert (one.said, other.said) == (["1", "1", "1"], ["1", "2"])
    assert (one.ends, other.ends, schedule.tasks) == ([None], [None], [])


def test_long_prompts_take_turns_and_hold_nobody_up() -> None:
    reader, other, talker = Seen(500, 500, 1), Seen(400, 1), Seen(1, 1, 1)
    model, schedule = begun(reader, other, talker)
    for _ in range(4):
        schedule.round()
    assert [sorted(one) for one in model.rounds] == [[1, 500], [1, 400], [1, 1, 500], [1]]


def test_whoever_leaves_frees_the_place_with_the_next_round() -> None:
    one, other = Seen(1, 1, 1), Seen(1, 1)
    model, schedule = begun(one, other)
    schedule.round()
    one.gone = True
    schedule.round()
    assert (one.closed, one.ends, one.said) == (True, [None], ["1"])
    assert model.rounds == [[1, 1], [1]]


def test_one_that_fails_leaves_the_others() -> None:
    bad, good = Seen(1, token=13), Seen(1, 1)
    _, schedule = begun(bad, good)
    schedule.round()
    schedule.round()
    assert [str(error) for error in bad.ends] == ["no"]
    assert bad.closed
    assert (good.said, good.ends) == (["1", "1"], [None])


def test_clear_ends_them_all() -> None:
    one, other = Seen(1), Seen(1)
    _, schedule = begun(one, other)
    schedule.clear(MemoryError())
    assert (one.closed, other.closed, schedule.tasks) == (True, True, [])
    assert isinstance(one.ends[0], MemoryError)


def test_alone_is_the_same_without_rounds() -> None:
    seen = Seen(3, 1)
    assert [event.text for event in alone(seen.task.steps, Model().run) if isinstance(event, Token)] == ["3", "1"]
    left = Seen(1, 1)
    stream = alone(left.task.steps, Model().run)
    next(stream)
    stream.close()
    assert left.closed
