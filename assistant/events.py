"""What an engine says while it works. The engine yields these, the server writes them as server-sent
events, the client turns those back into the same objects. Standard library only."""

from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Loading:
    """The engine gets the model ready: `stage` in words, `fraction` 0..1 where it is known."""

    stage: str
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Prefilled:
    """The prompt has been read."""

    prompt_tokens: int
    cached_tokens: int = 0
    """Tokens of the prompt that were still in the KV cache and were not computed again."""
    dropped_messages: int = 0
    """Oldest messages left out so that the prompt fits the context."""
    context_tokens: int = 0
    """Size of the context window; 0 where a remote server doesn't say."""
    read_s: float = field(default=0.0, compare=False)
    """Seconds that it took to read the prompt; 0 where a remote server doesn't say."""


@dataclass(frozen=True, slots=True)
class TopToken:
    """One alternative at a position."""

    text: str
    logprob: float
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One step of the reply. `text` holds whole characters only and is empty while a character or a
    possible stop string is incomplete."""

    text: str
    id: int | None = None
    logprob: float | None = None
    top: tuple[TopToken, ...] = ()
    choice: int = 0
    """Which of several answers to the same prompt it belongs to."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one exchange."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, measured in the engine."""

    load_s: float = 0.0
    """Spent on getting the model ready for this request; 0 when it was loaded already."""
    first_token_s: float = 0.0
    """From the start of prefill to the first token."""
    total_s: float = 0.0
    """From the start of prefill to the last token."""

    def __add__(self, later: "Timing") -> "Timing":
        """Of a reply that was continued: both parts together, also their waits for a first token."""
        return Timing(
            self.load_s + later.load_s, self.first_token_s + later.first_token_s, self.total_s + later.total_s
        )

    def tokens_per_s(self, completion_tokens: int) -> float:
        """Decoding speed: tokens after the first, over the time they took. 0.0 for fewer than two tokens."""
        decode_s = self.total_s - self.first_token_s
        return (completion_tokens - 1) / decode_s if completion_tokens > 1 and decode_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply has ended."""

    reason: FinishReason
    usage: Usage = Usage()
    timing: Timing = Timing()
    seed: int | None = None
    model_hash: str = ""
    """SHA-256 of the model's weights file(s); empty for a remote model."""
    device: str = ""
    adapter_hash: str = ""
    """SHA-256 of the adapter that spoke; empty: the base model."""
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely continuations are: the natural logarithm of the probability of each token of each of them."""

    logprobs: tuple[tuple[float, ...], ...]
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reread:
    """A text that follows a prompt, token by token, each with its probability and the likeliest ones in its place."""

    tokens: tuple[Token, ...]
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Embedded:
    """What texts mean: a vector of length 1 for each."""

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Of each text its ids, and what each id adds to the text: nothing where it only begins a character."""

    ids: tuple[tuple[int, ...], ...]
    pieces: tuple[tuple[str, ...], ...]
    context_tokens: int


Event = Loading | Prefilled | Token | Finished | Scored | Reread | Embedded | Tokenized
