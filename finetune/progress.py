"""What a command of `finetune` says while it works: one JSON object a line, for the screen and for programs."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, get_args


@dataclass(frozen=True, slots=True)
class Planned:
    """What will be done. `seconds` and `memory_bytes` are expected, not promised."""

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
    """Conversations longer than a row, which are learned in windows."""
    shortened: int = 0
    """Replies learned in pieces, or after the end of their question alone."""
    too_long: int = 0
    """Examples left out, as their reply is longer than a row."""
    start: str = ""
    """Name of the adapter that the training goes on from; empty: the base."""
    replayed: int = 0
    """Examples of earlier datasets that are replayed, beside `examples`."""
    deleted: str = ""
    """Names of earlier datasets that can't be replayed, as they were deleted."""


@dataclass(frozen=True, slots=True)
class Expected:
    """About what will be done, before the model is loaded. `seconds`: None where the machine's speed isn't known."""

    event: ClassVar[str] = "expected"
    examples: int
    tokens: int
    steps: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Stepped:
    """One optimiser step done. `loss` in nats for each supervised token; speed counts all tokens but padding."""

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
    """A look at the validation part. `best`: the lowest loss so far, which is kept."""

    event: ClassVar[str] = "validated"
    step: int
    loss: float
    best: bool


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing is computed until it goes on."""

    event: ClassVar[str] = "paused"
    step: int


@dataclass(frozen=True, slots=True)
class Ended:
    """`state` as in the log; `adapter` is the folder's name, empty where nothing was saved."""

    event: ClassVar[str] = "ended"
    run: str
    state: str
    step: int
    adapter: str
    adapter_hash: str
    reason: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """How far a piece of work has come, in units of its own. `total` 0: how much there is isn't known.

    `what` names the part that is being done. `seconds_left` is expected for all that is left; None: not known yet.
    """

    event: ClassVar[str] = "advanced"
    what: str
    done: int = 0
    total: int = 0
    seconds_left: float | None = None


Did = Callable[[int], None]
"""Called with the units of a piece of work that were done since the last call."""


def ignore(_: int) -> None:
    """Nobody wants to know how far it is."""


Progress = Expected | Planned | Stepped | Validated | Paused | Ended | Advanced


@dataclass
class Work:
    """Says how far a piece of work of several parts has come, at most five times a second.

    The parts count in one unit, such as tokens to be read, so that the time left is that of all of them.
    """

    say: Callable[[Progress], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    total: int = 0
    _what: str = ""
    _began_s: float = 0.0
    _said_s: float = field(default=float("-inf"))

    def expect(self, units: int) -> None:
        """There are so many units more to do."""
        self.total += units

    def begin(self, what: str) -> None:
        """The next part begins. Time is counted from the first part that has units."""
        self._what = what
        if not self.done:
            self._began_s = self.clock()
        self._say()

    def did(self, units: int) -> None:
        """So many units more are done."""
        self.done = min(self.total, self.done + units)
        if self.clock() - self._said_s >= _SAY_EVERY_S or self.done == self.total:
            self._say()

    def reach(self, done: int, total: int) -> None:
        """As much is done of a work whose size is known as it goes on."""
        self.total = total
        self.did(done - self.done)

    def end(self) -> None:
        """All is done: what was expected were estimates."""
        self.did(self.total - self.done)

    def _say(self) -> None:
        self._said_s = self.clock()
        took_s = self._said_s - self._began_s
        sure = self.done and took_s >= _SURE_AFTER_S
        left = took_s / self.done * (self.total - self.done) if sure else None
        self.say(Advanced(self._what, self.done, self.total, left))


_SAY_EVERY_S, _SURE_AFTER_S = 0.2, 0.5


def figures_of(progress: Progress) -> dict[str, float]:
    """What of it is a curve over the steps, by the name that the log and every tracker has it under."""
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
    """A line for people on each kind of text that is longer than a row of tokens; none where all fit."""
    said = (
        (windows, "long conversations, learned in windows"),
        (shortened, "replies learned in pieces, or after the end of their question: together they are too long"),
        (too_long, "examples left out: a reply that has to be read as one is too long"),
    )
    return [f"{count:,} {what}" for count, what in said if count]


def start_lines(planned: Planned) -> list[str]:
    """A line for people on the adapter that a training goes on from, and on what of its data is gone; none from the
    base.
    """
    if not planned.start:
        return []
    replayed = f", replaying {planned.replayed:,} earlier examples" if planned.replayed else ", replaying nothing"
    gone = [f"Deleted, so that it can't be replayed: {planned.deleted}"] if planned.deleted else []
    return [f"Goes on from {planned.start}{replayed}.", *gone]


def as_line(progress: Progress) -> str:
    """One line of JSON, without its end."""
    return json.dumps({"event": progress.event, **asdict(progress)}, ensure_ascii=False)


def from_line(line: str) -> Progress | None:
    """What `as_line` wrote; None for a line that says something else."""
    try:
        fields: dict[str, Any] = json.loads(line)
        kind = {one.event: one for one in get_args(Progress)}[fields.pop("event")]
        told: Progress = kind(**fields)
        return told
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
