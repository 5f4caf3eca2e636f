"""What computes logits: the one interface between a model's forward pass and the rest of the engine.

A request is a generator (`Steps`) that yields events for whoever asked, and an `Ask` wherever it needs logits; whoever
runs it sends them back. So many requests can share one forward pass (`schedule.py`), and one alone is a plain loop.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from assistant.events import Event

if TYPE_CHECKING:
    from torch import Tensor


class KVCache(Protocol):
    """Keys and values of one sequence."""

    @property
    def token_bytes(self) -> int:
        """Memory of one token; 0 where it doesn't grow."""

    def crop(self, length: int) -> bool:
        """Keep the first `length` tokens. False where that can't be done: then it is of no more use."""

    def copy(self, length: int) -> "KVCache | None":
        """The first `length` tokens once more; None where that can't be done."""


@dataclass(slots=True, eq=False)
class Conversation:
    """The tokens `ids` and what is known of them. One request at a time writes to it."""

    kv: KVCache
    adapter: str = ""
    """Hash of the adapter that the keys and values were made with; empty: none."""
    ids: list[int] = field(default_factory=list)
    busy: bool = False
    """Whether a request is at work on it."""
    peak_tokens: int = 0
    """Most tokens it ever held: so much of its memory is in use."""


@dataclass(frozen=True, slots=True)
class Ask:
    """`ids` follow what the conversation holds: logits (last, V) after each of the `last` ones, please.

    With `parents` the ids are a tree: each follows the one with that index among them, or the conversation for -1. Only
    networks with `trees` can; nothing of it stays in the conversation.
    """

    conversation: Conversation
    ids: Sequence[int]
    last: int = 1
    parents: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """The last layer's output (T, C) for a text of its own, please."""

    ids: Sequence[int]


Steps = Generator[Event | Ask | Read, "Tensor", None]
"""A request at work. It is sent the tensor that each `Ask` or `Read` wants; closing it gives up what it holds."""


class Network(Protocol):
    """A model's forward pass, of whatever architecture."""

    device: Any
    """torch's."""
    together: bool
    """Whether several asks share one pass over the weights, each with the logits it would have alone, bit for bit."""
    trees: bool
    """Whether asks may have parents."""

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding. A tokenizer may have more tokens: their ids can't be asked for."""

    def cache(self, adapter: str = "") -> KVCache:
        """An empty one for conversations with the adapter of that hash, or with the base alone."""

    def logits(self, asks: Sequence[Ask]) -> "list[Tensor]":
        """Logits (last, V) of each ask, float32 or what the model has. Conversations hold the ids then.

        Whatever is raised, the conversations of `asks` are of no more use.
        """

    def hidden(self, ids: Sequence[int]) -> "Tensor":
        """The last layer's output (T, C) for a text of its own, float32."""

    def use(self, folder: Any) -> str:
        """Make the adapter in `folder` ready to be named in a conversation; its hash. Raises `AdapterError`."""

    def beginning_tokens(self, adapter: str) -> int:
        """Positions that the adapter takes before a conversation's first token."""

    def close(self) -> None:
        """Give the memory back."""
