"""The filter line: `unrated model:qwen3 tag:"to do" since:30d surprise>2` as a `Filter`. Standard library only.

A word is a name and a value, or a value that says by itself what it is. Words of different names must all hold.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from assistant import ratings
from assistant.errors import StoreError
from assistant.store.search.filter import DECISIONS, Filter

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_TEXTS = ("model", "adapter", "template")
_NUMBERS: dict[str, type[int] | type[float]] = {"tokens": int, "surprise": float, "length": int}
_BARE: dict[str, tuple[str, object]] = {
    **{rating: ("rating", rating) for rating in ratings.filters()},
    **{decision: ("decision", decision) for decision in DECISIONS},
    "corrected": ("corrected", True),
    "uncorrected": ("corrected", False),
    "judged": ("judged", True),
    "unjudged": ("judged", False),
    "imported": ("imported", True),
}
_WORD = re.compile(
    r'(?P<name>[a-z]+)(?P<sign>[:<>])=?(?:"(?P<quoted>[^"]*)"?|(?P<value>\S*))|#(?P<tag>\S+)|(?P<bare>\S+)'
)

WORDS = (
    f"{' '.join(word for word in ratings.filters() if word != ratings.RATED)} keep skip undecided corrected judged "
    "imported tag: model: adapter: template: since: until: tokens> surprise> length>"
)
"""What can be typed."""

EXAMPLE = "unrated good keep #tag model: since:30d surprise>2 · → completes"
"""Some of it, for a hint of one line."""


def parse(typed: str, now: datetime) -> Filter:
    """The filter that a line stands for. Raises `StoreError` that names the word that is none, and what would be."""
    values: dict[str, object] = {}
    tags: list[str] = []
    for match in _WORD.finditer(typed):
        if match["bare"]:
            _take_bare(values, match["bare"])
        elif match["tag"] or match["name"] == "tag":
            tags.append(_needed("tag", match["tag"] or match["quoted"] or match["value"] or ""))
        else:
            _take(values, match["name"], match["sign"], match["quoted"] or match["value"] or "", now)
    return Filter(**values, tags=tuple(tags))  # type: ignore[arg-type]


def _take_bare(values: dict[str, object], word: str) -> None:
    if word.lower() not in _BARE:
        raise StoreError(f"The filter has no word {word!r}. It knows {WORDS}")
    field, value = _BARE[word.lower()]
    values[field] = value


def _take(values: dict[str, object], name: str, sign: str, value: str, now: datetime) -> None:
    if name in _NUMBERS:
        values[f"{'max' if sign == '<' else 'min'}_{name}"] = _number(name, value)
    elif sign == ":" and name in ("rating", "decision"):
        known = tuple(ratings.filters()) if name == "rating" else DECISIONS
        if value not in known:
            raise StoreError(f"{name}:{value} is no {name}. Type {', '.join(known)}.")
        values[name] = value
    elif sign == ":" and name in _TEXTS:
        _needed(name, value)
        values[name] = "" if (name, value) == ("adapter", "none") else value
    elif sign == ":" and name in ("since", "until"):
        values[f"{name}_ms"] = moment(value, now)
    else:
        raise StoreError(f"The filter has no word {name + sign + value!r}. It knows {WORDS}")


def _needed(name: str, value: str) -> str:
    if not value:
        raise StoreError(f"{name}: needs a value, such as {name}:{'story' if name == 'tag' else 'plain'}.")
    return value


def _number(name: str, value: str) -> int | float:
    try:
        return _NUMBERS[name](value)
    except ValueError:
        raise StoreError(f"{name} needs a number, such as {name}>100 or {name}<500, not {value!r}.") from None


def moment(value: str, now: datetime) -> int:
    """Milliseconds since 1970 of `2026-11-24`, `2026-11-24T14:05` (in the zone of `now`), or of `30d`, `12h`, `2w`
    before `now`. Raises `StoreError` for anything else."""
    try:
        if ago := re.fullmatch(r"(\d{1,5})([hdw])", value):
            when = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            when = datetime.fromisoformat(value)
            when = when if when.tzinfo else when.replace(tzinfo=now.tzinfo)
        return int(when.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise StoreError(f"{value!r} is no date such as 2026-11-24, 2026-11-24T14:05, 30d, 12h or 2w.") from None


def completed(typed: str, values: Mapping[str, Sequence[str]]) -> str | None:
    """`typed` with its last word completed, or None. `values`: those that there are of a name, such as `model`."""
    last = re.search(r'(?:[a-z]+:"[^"]*|\S+)$', typed)
    if last is None:
        return None
    word = last[0]
    known = [*_BARE, *(known for known in WORDS.split() if known[-1] in ":>")]
    name, sign, begun = word.partition(":")
    if word.startswith("#"):
        known = [f"#{tag}" for tag in values.get("tag", ()) if not re.search(r"\s", tag)]
    elif sign:
        known = [f"{name}:{_quoted(value, begun)}" for value in values.get(name, ())]
    longer = next((one for one in known if one.startswith(word) and one != word), None)
    return None if longer is None else typed[: last.start()] + longer


def _quoted(value: str, begun: str) -> str:
    return f'"{value}"' if begun.startswith('"') or re.search(r"\s", value) else value or "none"
