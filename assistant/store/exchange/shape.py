"""Values of a JSON file, taken out with their kinds checked. A wrong kind raises `WrongShape` saying what was seen."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, get_origin

from assistant.store.exchange.transcript import WrongShape

T = TypeVar("T")

LAST_MS = 253_370_764_800_000
"""The year 9999: what comes after has no place in a calendar."""

_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


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
    """`value` itself, held to be of that kind."""
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
