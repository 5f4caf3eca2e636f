"""The ratings of a reply: the number in the log, the word that is typed, and the sign in a table.

Everything that stores, shows, reads or learns from ratings takes them from here. Another rating is a line here, a step
in `assistant/store/schema/migrations.py` that adds it to the log, and a key in `assistant/tui/keys.py`. Only `GOOD` is
learned from, and only `BAD` is avoided.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rating:
    number: int
    """In the log and in exported files."""
    word: str
    """Typed in commands and filters, and shown."""
    sign: str
    """One cell wide."""


GOOD = Rating(1, "good", "+")
BAD = Rating(-1, "bad", "-")
NONE = Rating(0, "none", "·")
EVERY = (GOOD, BAD, NONE)

UNRATED, RATED = "unrated", "rated"
"""Words of the filter: not rated, and rated in whatever way."""


def of(number: int) -> Rating:
    """The rating of that number. Raises `KeyError`."""
    return {one.number: one for one in EVERY}[number]


def is_known(number: object) -> bool:
    """Whether there is a rating of that number."""
    return any(number == one.number for one in EVERY)


def given(number: int) -> str:
    """The word of a rating; empty where a reply isn't rated."""
    return "" if number == NONE.number else of(number).word


def described() -> str:
    """All of them for an error message: `1 (good), -1 (bad) or 0 (none)`."""
    *first, last = (f"{one.number} ({one.word})" for one in EVERY)
    return f"{', '.join(first)} or {last}"


def sorted_words() -> list[str]:
    """The words of the filter in the order in which replies are sorted, the best first."""
    every = sorted(EVERY, key=lambda one: one.number, reverse=True)
    return [UNRATED if one == NONE else one.word for one in every]


def filters() -> dict[str, int | None]:
    """Each word of the filter with the number it means; None for every number but `NONE`'s."""
    return {**{one.word: one.number for one in EVERY if one != NONE}, UNRATED: NONE.number, RATED: None}
