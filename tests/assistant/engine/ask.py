"""One request to an engine that has nothing else to do."""

from collections.abc import Generator, Sequence
from typing import Any

from assistant.engine.engine import Engine
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.schedule import alone
from assistant.engine.request import Chat, Complete, Embed, ReadAgain, Request, Score, Tokenize
from assistant.events import Embedded, Event, Reread, Scored, Tokenized
from prompts.message import Message


def events(engine: Engine, request: Request) -> Generator[Event]:
    """What the request makes the engine say. Closing the iterator stops it."""
    return alone(engine.steps(request), engine.run)


def chat(engine: Engine, messages: Sequence[Message], sampling: Sampling, **options: Any) -> Generator[Event]:
    return events(engine, Chat(messages, sampling, **options))


def complete(engine: Engine, text: str, sampling: Sampling, **options: Any) -> Generator[Event]:
    return events(engine, Complete(text, sampling, **options))


def score(engine: Engine, messages: Sequence[Message], texts: Sequence[str], **options: Any) -> list[list[float]]:
    (scored,) = events(engine, Score(messages, texts, **options))
    assert isinstance(scored, Scored)
    return [list(one) for one in scored.logprobs]


def reread(engine: Engine, messages: Sequence[Message], reply: str | Sequence[int], top: int, **options: Any) -> Reread:
    (said,) = events(engine, ReadAgain(messages, reply, top, **options))
    assert isinstance(said, Reread)
    return said


def embed(engine: Engine, texts: Sequence[str]) -> list[list[float]]:
    (embedded,) = events(engine, Embed(texts))
    assert isinstance(embedded, Embedded)
    return [list(one) for one in embedded.vectors]


def tokenize(engine: Engine, messages: Sequence[Message], texts: Sequence[str]) -> Tokenized:
    (told,) = events(engine, Tokenize(messages, texts))
    assert isinstance(told, Tokenized)
    return told
