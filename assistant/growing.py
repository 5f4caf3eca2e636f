"""A reply that is being written: its text, its tokens and its time so far. Standard library only."""

from dataclasses import dataclass, field
from time import monotonic

from assistant.events import Event, Finished, Prefilled, Timing, Token


@dataclass(slots=True)
class Clock:
    """The time of one request, from when its prompt is read."""

    started_s: float = field(default_factory=monotonic)
    first_token_s: float = 0.0
    """Seconds until the first token; 0.0 before it."""

    @property
    def elapsed_s(self) -> float:
        return monotonic() - self.started_s

    def restart(self, ago_s: float = 0.0) -> None:
        """Count from `ago_s` seconds before now."""
        self.started_s, self.first_token_s = monotonic() - ago_s, 0.0

    def token(self) -> None:
        """Note that a token came."""
        self.first_token_s = self.first_token_s or self.elapsed_s

    def timing(self) -> Timing:
        """The time until now."""
        return Timing(0.0, self.first_token_s, self.elapsed_s)


@dataclass(slots=True)
class Growing:
    """What has come of a reply, also what it had before it was continued."""

    text: str = ""
    tokens_before: int = 0
    timing_before: Timing = Timing()  # noqa: RUF009  frozen
    """Tokens and time of the reply before it was continued."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    token_lengths: list[int] = field(default_factory=list)
    """Characters of `text` that came with each token; what came before the first one counts as its own."""
    prefilled: Prefilled | None = None
    finished: Finished | None = None
    clock: Clock = field(default_factory=Clock)
    _unclaimed: int = 0
    """Characters that came before any token."""
    _ids: int = 0
    _pieces: int = 0
    """Tokens since `clock` began: those with an id, and all that came."""

    def take(self, event: Event) -> None:
        """Add an event of the engine, or of any server."""
        match event:
            case Prefilled():
                self.prefilled = event
                self.clock.restart(event.read_s)
            case Token():
                self._add(event)
            case Finished():
                self.finished = event

    def _add(self, token: Token) -> None:
        self.clock.token()
        self.text += token.text
        self._pieces += 1
        if token.id is not None and token.logprob is not None:
            self._ids += 1
            self.token_ids.append(token.id)
            self.logprobs.append(token.logprob)
            self.token_lengths.append(self._unclaimed + len(token.text))
            self._unclaimed = 0
        elif self.token_lengths:
            self.token_lengths[-1] += len(token.text)
        else:
            self._unclaimed += len(token.text)

    @property
    def tokens(self) -> int:
        """Of the whole reply: as the server counted them, or as they came, where servers without ids send pieces."""
        done = self.finished
        return self.tokens_before + (done.usage.completion_tokens if done else self._ids or self._pieces)

    @property
    def prompt_tokens(self) -> int:
        """Before the reply: a reply that is continued is part of the prompt that is read."""
        read = self.finished.usage.prompt_tokens if self.finished else 0
        if not read and self.prefilled:
            read = self.prefilled.prompt_tokens
        return max(read - self.tokens_before, 0)

    @property
    def timing(self) -> Timing:
        """Of the whole reply: the server's, or by the clock here while none is known."""
        return self.timing_before + (self.finished.timing if self.finished else self.clock.timing())

    @property
    def tokens_per_s(self) -> float:
        """Speed of decoding; 0.0 for fewer than two tokens."""
        return self.timing.tokens_per_s(self.tokens)
