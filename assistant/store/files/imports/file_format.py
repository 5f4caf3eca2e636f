"""A format as its module declares it, and the place of a value in its file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.store.files.transcript import Transcript
from assistant.store.files.values.source import Source

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a value: `item 3` of that file."""

    place: str
    source: Source


@dataclass(frozen=True, slots=True)
class Format:
    """A program whose file holds conversations as JSON objects. `read` raises `WrongShape`."""

    name: str
    """The source that its transcripts name."""
    program: str
    """What people call it."""
    matches: Callable[[Object], bool]
    read: Callable[[Object, Origin], Transcript]
    grows: bool = False
    """Whether each export gives a message the same name, so that a conversation that went on there goes on here."""


@dataclass(frozen=True, slots=True)
class MessageFormat:
    """A program whose file holds messages as JSON objects; those with the same `key` are one conversation."""

    name: str
    program: str
    matches: Callable[[Object], bool]
    key: Callable[[Object], str]
    read: Callable[[Sequence[Object], Origin], Transcript]
    grows: bool = False
