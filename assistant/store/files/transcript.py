"""What every reader makes of a file, one conversation at a time: its turns, each naming the one it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assistant.store.judgements.curation import Judgement
from assistant.store.messages import Outcome, Provenance

THOUGHT = "thought"
"""The role of reasoning that a file keeps apart from the reply it led to."""

NOT_JUDGED = Judgement()


class WrongShape(Exception):
    """A conversation of a file has a field missing or of the wrong kind. It is left out and named; the others stay."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message as a file has it. `key` is its name within the conversation, `parent` the key of what it answers.

    `role` is `user`, `assistant`, `system` or `thought`; any other is something the log can't hold, and is counted.
    What a file doesn't tell stays at its default. `created_ms` None: it tells no time, or one that no calendar has.
    """

    key: str
    parent: str | None
    role: str
    content: str
    created_ms: int | None = None
    updated_ms: int | None = None
    state: str = "complete"
    error: str = ""
    model: str = ""
    judgement: Judgement = NOT_JUDGED
    corrects: str | None = None
    """The key of the reply that a person put this one in the place of."""
    provenance: Provenance | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Vote:
    """A preference between two turns, by their keys."""

    chosen: str
    rejected: str
    tie: bool = False
    blind: bool = False
    created_ms: int | None = None
    chosen_first: bool | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """One conversation as a file has it. `name` is what a report calls it.

    `leaf` is the key of the turn where the open path ends; None is the newest. `exact` is said of our own export
    alone: its turns are stored as they are, nothing joined and nothing passed over.
    """

    name: str
    turns: Sequence[Turn]
    title: str = ""
    title_is_automatic: bool = True
    created_ms: int | None = None
    updated_ms: int | None = None
    pinned: bool = False
    model: str = ""
    template: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    draft: str = ""
    system: str = ""
    """The system message. `settle` adds the system turns to it."""
    source: str = ""
    source_id: str = ""
    """What the program that wrote the file calls the conversation."""
    votes: Sequence[Vote] = ()
    leaf: str | None = None
    exact: bool = False
    left: Mapping[str, int] = field(default_factory=dict)
    """What of it the log can't hold or holds in another way, with how often: `{"pictures left out": 2}`."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A conversation that can't be read, and why."""

    name: str
    reason: str
