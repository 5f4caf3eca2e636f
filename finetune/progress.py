"""Progress of a `finetune` command as events: one JSON object a line, for the screen and for programs."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, get_args


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of a training. `seconds` and `memory_bytes` are estimates."""

    event: ClassVar[str] = "planned"
    run: str
    examples: int
    tokens: int
    supervised_tokens: int
    steps: int
    seconds: float
    memory_bytes: int
    trained_parameters: int
    windows: int = 0
    """Conversations longer than a row, cut into windows."""
    shortened: int = 0
    """Replies learned in pieces, or after only the end of their question."""
    too_long: int = 0
    """Examples left out, as their reply is longer than a row."""
    start: str = ""
    """Name of the adapter that the training starts from; empty: the base."""
    replayed: int = 0
    """Replayed examples of earlier datasets, in addition to `examples`."""
    deleted: str = ""
    """Names of earlier datasets that were deleted and can't be replayed."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An estimate before the model is loaded. `seconds`: None if the machine's speed is unknown."""

    event: ClassVar[str] = "expected"
    examples: int
    tokens: int
    steps: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Stepped:
    """One optimiser step. `loss` is in nats for each supervised token; `tokens_per_s` excludes padding."""

    event: ClassVar[str] = "stepped"
    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_s: float
    supervised_per_s: float
    memory_bytes: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Validated:
    """A measurement of the validation loss. `best`: the lowest so far, whose weights are kept."""

    event: ClassVar[str] = "validated"
    step: int
    loss: float
    best: bool


@dataclass(frozen=True, slots=True)
class Paused:
    """The training waits until it is resumed."""

    event: ClassVar[str] = "paused"
    step: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a training. `state` as in the log; `adapter`: the folder's name, empty if nothing was saved."""

    event: ClassVar[str] = "ended"
    run: str
    state: str
    step: int
    adapter: str
    adapter_hash: str
    reason: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """Progress of a piece of work, in its own units. `total` 0: the amount is unknown.

    `what` names the current part. `seconds_left` covers all remaining parts; None: not known yet.
    """

    event: ClassVar[str] = "advanced"
    what: str
    done: int = 0
    total: int = 0
    seconds_left: float | None = None


Did = Callable[[int], None]
"""Called with the units of work done since the last call."""


def ignore(_: int) -> None:
    """Report nothing."""


Progress = Expected | Planned | Stepped | Validated | Paused | Ended | Advanced


@dataclass
class Work:
    """Reports the progress of work in several parts, at most five times a second.

    All parts count in the same unit, such as tokens, so that the time left covers all of them.
    """

    say: Callable[[Progress], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    total: int = 0
    _what: str = ""
    _began_s: float = 0.0
    _said_s: float = field(default=float("-inf"))

    def expect(self, units: int) -> None:
        """Add units to the total."""
        self.total += units

    def begin(self, what: str) -> None:
        """Begin the next part. Time is measured from the first part that has units."""
        self._what = what
        if not self.done:
            self._began_s = self.clock()
        self._say()

    def did(self, units: int) -> None:
        """Add finished units."""
        self.done = min(self.total, self.done + units)
        if self.clock() - self._said_s >= _SAY_EVERY_S or self.done == self.total:
            self._say()

    def reach(self, done: int, total: int) -> None:
        """Set units done and total, for work whose size becomes known as it proceeds."""
        self.total = total
        self.did(done - self.done)

    def end(self) -> None:
        """Report the work as complete, whatever was estimated."""
        self.did(self.total - self.done)

    def _say(self) -> None:
        self._said_s = self.clock()
        took_s = self._said_s - self._began_s
        sure = self.done and took_s >= _SURE_AFTER_S
        left = took_s / self.done * (self.total - self.done) if sure else None
        self.say(Advanced(self._what, self.done, self.total, left))


_SAY_EVERY_S, _SURE_AFTER_S = 0.2, 0.5


def figures_of(progress: Progress) -> dict[str, float]:
    """Curves over the steps: figure name, as stored in the log and sent to trackers -> value."""
    match progress:
        case Stepped():
            return {
                "loss": progress.loss,
                "learning_rate": progress.learning_rate,
                "gradient_norm": progress.gradient_norm,
                "tokens_per_s": progress.tokens_per_s,
            }
        case Validated():
            return {"validation_loss": progress.loss}
    return {}


def cut_lines(windows: int, shortened: int, too_long: int) -> list[str]:
    """A line to print for each kind of text that is longer than a row; none if all fit."""
    said = (
        (windows, "long conversations, learned in windows"),
        (shortened, "replies learned in pieces, or after only the end of their question: together they are too long"),
        (too_long, "examples left out: their reply is longer than a row and can't be cut"),
    )
    return [f"{count:,} {what}" for count, what in said if count]


def start_lines(planned: Planned) -> list[str]:
    """Lines to print on the adapter that a training starts from and on deleted datasets; none from the base."""
    if not planned.start:
        return []
    replayed = f", replaying {planned.replayed:,} earlier examples" if planned.replayed else ", replaying nothing"
    gone = [f"Deleted, so it can't be replayed: {planned.deleted}"] if planned.deleted else []
    return [f"Starts from {planned.start}{replayed}.", *gone]


def as_line(progress: Progress) -> str:
    """One line of JSON, without a line end."""
    return json.dumps({"event": progress.event, **asdict(progress)}, ensure_ascii=False)


def from_line(line: str) -> Progress | None:
    """Read what `as_line` wrote; None for any other line."""
    try:
        fields: dict[str, Any] = json.loads(line)
        kind = {one.event: one for one in get_args(Progress)}[fields.pop("event")]
        told: Progress = kind(**fields)
        return told
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
