"""Values of a JSON file, checked as they are read. A wrong kind raises `WrongShape` with the value seen.

`Fields` wraps one JSON object and records which of its fields were read, so that the others are counted by name.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, get_origin

from assistant.store.files.transcript import WrongShape

T = TypeVar("T")

LAST_MS = 253_370_764_800_000
"""The year 9999: later times have no place in a calendar."""
NAME_CHARACTERS = 40
"""A longer name of a field is cut in a report."""
NAMES_COUNTED = 60
"""Different kinds of things that one conversation reports as left out; the rest is counted together."""

_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


class Fields:
    """A JSON object that records which of its fields were read."""

    __slots__ = ("_prefix", "_read", "value")

    def __init__(self, value: Mapping[str, Any], prefix: str = "") -> None:
        self.value = value
        self._prefix = prefix
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether the field is there, not empty, and not read yet."""
        return name not in self._read and not is_empty(self.value.get(name))

    def take(self, name: str) -> Any:
        """The field as it is; None where it is missing."""
        self._read.add(name)
        return self.value.get(name)

    def needed(self, name: str, kind: type[T]) -> T:
        """The field. Raises `WrongShape` where it is missing or of another kind."""
        self._read.add(name)
        return needed(self.value, name, kind)

    def first(self, kind: type[T], *names: str) -> T | None:
        """The first of these fields that is of that kind and not empty; the others stay unread."""
        for name in names:
            found = self.value.get(name)
            if isinstance(found, kind) and not is_empty(found) and not (kind is int and isinstance(found, bool)):
                self._read.add(name)
                return found
        return None

    def text(self, *names: str) -> str:
        """The first of these fields that holds text, else "". Others that hold the same text count as read."""
        found = self.first(str, *names) or ""
        if found:
            self._read.update(name for name in names if self.value.get(name) == found)
        return found

    def identity(self, *names: str) -> str:
        """The first of these fields that holds a text or a whole number, as text, else ""."""
        found = self.first(str, *names) or self.first(int, *names)
        return "" if found is None else str(found)

    def number(self, *names: str) -> float | None:
        """The first of these fields that holds a number."""
        for name in names:
            found = self.value.get(name)
            if isinstance(found, int | float) and not isinstance(found, bool):
                self._read.add(name)
                return found
        return None

    def time(self, *names: str) -> int | None:
        """The first of these fields that holds a time, in milliseconds since 1970 UTC."""
        for name in names:
            if (found := time_ms(self.value.get(name))) is not None:
                self._read.add(name)
                return found
        return None

    def inner(self, name: str) -> "Fields":
        """The object in that field, empty where there is none; its unread fields are counted as `name.field`."""
        found = self.first(dict, name)
        return Fields(found or {}, f"{self._prefix}{name}.")

    def skip(self, *names: str) -> None:
        """These fields hold nothing that a person said or thought of it: ids, layout, accounting."""
        self._read.update(names)

    def count_unread(self, left: Counter[str], skip: Collection[str] = ()) -> None:
        """Count in `left`, by name, each field that is not empty, was not read and is not in `skip`."""
        for name, found in self.value.items():
            if name not in self._read and name not in skip and not is_empty(found):
                count(left, f"'{self._prefix}{name[:NAME_CHARACTERS]}' fields")


def count(left: Counter[str], things: str, number: int = 1) -> None:
    """Count so many things as left out. Of very many different ones the rest has one common name."""
    if not number:
        return
    key = f"{things} left out"
    if key not in left and len(left) >= NAMES_COUNTED:
        key = "other fields left out"
    left[key] += number


def is_empty(value: object) -> bool:
    """Whether a field says nothing: null, or text, a list or an object without content."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def needed(value: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """The field of that name. Raises `WrongShape` where it is missing."""
    if name not in value:
        raise WrongShape(f"it has no {name!r}")
    return checked(value[name], name, kind)


def given(value: Mapping[str, Any], name: str, default: T) -> T:
    """The field of that name, of the kind that `default` is; `default` where it is missing or null."""
    found = value.get(name)
    return default if found is None else checked(found, name, type(default))


def list_of(value: Mapping[str, Any], name: str) -> list[Any]:
    """The list of that name, empty where it is missing or null."""
    return given(value, name, list[Any]())


def object_of(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of that name, empty where it is missing or null."""
    return given(value, name, dict[str, Any]())


def checked(value: object, name: str, kind: type[T]) -> T:
    """`value` itself. Raises `WrongShape` where it is of another kind."""
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    wanted = _KINDS.get(get_origin(kind) or kind, kind.__name__)
    raise WrongShape(f"{name!r} is {kind_of(value)}, not {wanted}")


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)


def time_ms(value: object) -> int | None:
    """Milliseconds since 1970 UTC, of seconds, milliseconds, microseconds or ISO 8601 text.

    None for anything else, and for times before 1970 or after the year 9998: a missing time harms nothing.
    """
    if isinstance(value, str):
        return _text_ms(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:  # NaN is not either
        return None
    if value > 1e14:  # as milliseconds past the year 5138
        value = value / 1e6
    elif value > 1e11:  # as seconds past the year 5138
        value = value / 1e3
    return _within(value * 1000)


def _text_ms(text: str) -> int | None:
    if len(text) > 40:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return _within((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        return time_ms(float(text))
    except ValueError:
        return None


def _within(time: float) -> int | None:
    return round(time) if 0 <= time < LAST_MS else None
