"""Which exchanges, and in what order. Standard library only: commands make their options of it."""

from dataclasses import dataclass
from typing import Literal

Sort = Literal[
    "time", "conversation", "model", "adapter", "template", "rating", "decision", "tags", "tokens", "surprise", "length"
]

COLUMNS: dict[Sort, str] = {
    "time": "created_ms",
    "conversation": "conversation_id",
    "model": "model",
    "adapter": "adapter",
    "template": "template",
    "rating": "rating",
    "decision": "decision",
    "tags": "tags",
    "tokens": "tokens",
    "surprise": "surprise",
    "length": "characters",
}
"""What exchanges are sorted by, and the column it is in."""

DECISIONS = ("keep", "skip", "undecided")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which exchanges. None and empty leave everything in; all that is given must hold."""

    since_ms: int | None = None
    """Replies made at this time or later."""
    until_ms: int | None = None
    """Replies made before this time."""
    conversation: int | None = None
    """Replies in the conversation of this id."""
    model: str | None = None
    """Replies of the model of this name."""
    adapter: str | None = None
    """Replies made with the adapter of this hash; empty: with none."""
    template: str | None = None
    """Replies made with the template of this name."""
    rating: str | None = None
    """`good`, `bad`, `unrated`, or `rated` for any rating."""
    decision: str | None = None
    """`keep`, `skip` or `undecided`."""
    tags: tuple[str, ...] = ()
    """Replies that have this tag; given several times, all of them."""
    corrected: bool | None = None
    """Replies that a person has corrected, or those that none has."""
    judged: bool | None = None
    """Replies that are rated, kept, skipped or corrected, or those that are not."""
    imported: bool | None = None
    """Replies that were imported from another program, or those that were not."""
    min_tokens: int | None = None
    """Replies of at least so many tokens."""
    max_tokens: int | None = None
    """Replies of at most so many tokens."""
    min_surprise: float | None = None
    """Replies whose mean negative log-probability is at least this, in nats a token."""
    max_surprise: float | None = None
    """Replies whose mean negative log-probability is known and at most this, in nats a token."""
    min_length: int | None = None
    """Replies of at least so many characters."""
    max_length: int | None = None
    """Replies of at most so many characters."""


EVERYTHING = Filter()
