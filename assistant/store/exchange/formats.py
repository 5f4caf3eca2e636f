"""The format of a file, found from what is in it, and its conversations read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from assistant.errors import ImportRefused
from assistant.store.exchange import (
    alpaca,
    chatgpt,
    claude,
    completion,
    json_values,
    llm_logs,
    markdown,
    openai,
    own,
    sharegpt,
)
from assistant.store.exchange.json_values import Broken
from assistant.store.exchange.shape import kind_of
from assistant.store.exchange.source import Source
from assistant.store.exchange.transcript import LeftOut, Transcript, WrongShape

LOOKED_AT = 20
"""So many values are looked at for one of a known format: the first ones may be broken."""


@dataclass(frozen=True, slots=True)
class _Format:
    is_one: Callable[[object], bool]
    read: Callable[[Any, str], Transcript]


_JSON = {
    "json": _Format(own.is_one, own.read),
    "chatgpt": _Format(chatgpt.is_one, lambda value, place: chatgpt.read(value, place, {})),
    "claude": _Format(claude.is_one, claude.read),
    "sharegpt": _Format(sharegpt.is_one, sharegpt.read),
    "openai": _Format(openai.is_one, openai.read),
    "alpaca": _Format(alpaca.is_one, alpaca.read),
    "completion": _Format(completion.is_one, completion.read),
}
_KNOWN = (
    "It can be an export of ChatGPT or Claude (the zip or its conversations.json), our own export (json or markdown), "
    "ShareGPT, OpenAI messages, Alpaca or prompt and completion (JSON or JSON Lines), or the logs.db of llm."
)


def find(source: Source) -> str:
    """The name of the file's format. Raises `ImportRefused` where it is none that is known."""
    if source.is_sqlite:
        if llm_logs.is_one(source.path):
            return "llm"
        raise ImportRefused(f"{source.path} is a database of another program. {_KNOWN}")
    with source.texts() as texts:
        text = next(texts, None)
        head = "" if text is None else text.read(4096)
    if not head.strip():
        raise ImportRefused(f"{source.path} is empty.")
    if head.lstrip().startswith(("{", "[")):
        return _json_format(source)
    if markdown.is_one(head):
        return "markdown"
    raise ImportRefused(f"{source.path} is of no format that can be imported. {_KNOWN}")


def _json_format(source: Source) -> str:
    with source.texts() as texts:
        looked_at = list(islice(chain.from_iterable(map(json_values.values, texts)), LOOKED_AT))
    if openai.is_message(looked_at[0][1] if looked_at else None):
        return "openai"  # a list of messages alone
    for name, format_ in _JSON.items():
        if any(format_.is_one(value) for _, value in looked_at):
            return name
    raise ImportRefused(f"{source.path} is JSON, but of no format that can be imported: {_seen(looked_at)}. {_KNOWN}")


def _seen(values: list[tuple[str, Any]]) -> str:
    if not values:
        return "it is an empty list"
    place, value = values[0]
    if isinstance(value, Broken):
        return f"{place}: {value.reason}"
    if isinstance(value, dict):
        names = ", ".join(repr(name[:30]) for name in list(value)[:8])
        return f"its first object has the fields {names}" if names else "its first object has no fields"
    return f"its first value is a {type(value).__name__}"


def read(source: Source, format_: str) -> Iterator[Transcript | LeftOut]:
    """The conversations of the file, one in memory at a time."""
    if format_ == "llm":
        yield from llm_logs.read(source.path)
        return
    rated = chatgpt.ratings(source) if format_ == "chatgpt" else {}
    with source.texts() as texts:
        for text in texts:
            if format_ == "markdown":
                yield from markdown.read(text)
            else:
                yield from _objects(format_, json_values.values(text), rated)


def _objects(
    format_: str, values: Iterator[tuple[str, Any]], rated: Mapping[str, int]
) -> Iterator[Transcript | LeftOut]:
    read_one = _JSON[format_].read
    if format_ == "chatgpt":
        read_one = lambda value, place: chatgpt.read(value, place, rated)  # noqa: E731
    if format_ == "openai":
        values = _gathered(values)
    for place, value in values:
        yield _one(read_one, value, place)


def _gathered(values: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """A file that is one list of messages as one value, any other as it is."""
    first = next(values, None)
    if first is None:
        return
    if openai.is_message(first[1]):
        yield "the conversation", [first[1], *(value for _, value in values)]
    else:
        yield from chain([first], values)


def _one(read_one: Callable[[Any, str], Transcript], value: Any, place: str) -> Transcript | LeftOut:
    if isinstance(value, Broken):
        return LeftOut(place, value.reason)
    title = _title(value)
    name = f"{place}, {title!r}" if title else place
    if not isinstance(value, dict) and not (read_one is openai.read and isinstance(value, list)):
        return LeftOut(name, f"it is {kind_of(value)}, not an object")
    try:
        return read_one(value, place)
    except WrongShape as error:
        return LeftOut(name, str(error))
    except RecursionError:  # quoting what is nested nearly as deeply as the decoder takes
        return LeftOut(name, "it is nested too deeply")


def _title(value: Any) -> str:
    title = value.get("title") or value.get("name") if isinstance(value, dict) else None
    return " ".join(title.split())[:60] if isinstance(title, str) else ""
