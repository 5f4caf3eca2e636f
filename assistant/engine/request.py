"""What an engine can be asked, one class for each act. Loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.engine.generate.sampling import Sampling
from prompts.message import Message


@dataclass(frozen=True, slots=True)
class Chat:
    """The reply to a conversation: `Prefilled`, a `Token` each step, `Finished`.

    A conversation that outgrows the context loses its oldest turns. `ContextExceeded` is raised where its last turn
    alone is too long, and with `drop_oldest=False` wherever the conversation is.
    """

    messages: Sequence[Message]
    sampling: Sampling
    continue_final: bool = False
    """Go on with the last message, which is the assistant's."""
    drop_oldest: bool = True
    adapter: Path | None = None
    """Folder of the adapter that replies; None for the engine's own, or the base."""
    choice: int = 0
    """Number of this reply among several to the same prompt."""


@dataclass(frozen=True, slots=True)
class Complete:
    """What follows a text, without a chat template: events as of `Chat`. Raises `ContextExceeded`."""

    text: str
    sampling: Sampling
    adapter: Path | None = None
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """`Scored`: the log-probability of each token of each continuation of a conversation. Raises `ContextExceeded`.

    The prompt is computed once for all continuations.
    """

    messages: Sequence[Message]
    continuations: Sequence[str]
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """`Reread`: a reply to a conversation, token by token. Raises `ContextExceeded`, and `RequestRefused` for an id
    that the model doesn't have.
    """

    messages: Sequence[Message]
    reply: str | Sequence[int]
    """Its text, or the ids that it was made of."""
    top: int = 0
    """Alternatives at each position."""
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class Embed:
    """`Embedded`: for each text the mean of the last layer's output, of length 1. Raises `ContextExceeded`."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Tokenize:
    """`Tokenized`: the ids of a prompt where there are `messages`, and of texts that follow a prompt."""

    messages: Sequence[Message] = ()
    texts: Sequence[str] = ()


Adapted = Chat | Complete | Score | ReadAgain
"""Requests that an adapter may answer."""
Request = Adapted | Embed | Tokenize
