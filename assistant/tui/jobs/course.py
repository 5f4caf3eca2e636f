"""The course of a training, put together from the events it prints, or from the points that the log has of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assistant.tui.training.loss_plot import Curves
from finetune.progress import Advanced, Ended, Paused, Planned, Progress, Stepped, Validated


@dataclass(slots=True)
class Course:
    """What is known so far. A step that is done again after a kill replaces what it said before."""

    planned: Planned | None = None
    last: Stepped | None = None
    paused: bool = False
    ended: Ended | None = None
    advanced: Advanced | None = None
    """The last event of work that isn't steps: what comes before the first step, and the proof."""
    laid_out: int = 0
    """Steps that the log says there will be."""
    _train: dict[int, float] = field(default_factory=dict)
    _held_out: dict[int, float] = field(default_factory=dict)

    def take(self, progress: Progress) -> None:
        """Add an event."""
        self.paused = isinstance(progress, Paused)
        match progress:
            case Planned():
                self.planned = progress
            case Stepped():
                self.last = progress
                self._train[progress.step] = progress.loss
            case Validated():
                self._held_out[progress.step] = progress.loss
            case Ended():
                self.ended, self.advanced = progress, None
            case Advanced():
                self.advanced = progress

    def take_points(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Note what the log has, such as that of a run before it was resumed."""
        for step, figures in points:
            if "loss" in figures:
                self._train[step] = figures["loss"]
            if "validation_loss" in figures:
                self._held_out[step] = figures["validation_loss"]

    def join(self, later: "Course") -> None:
        """Note all that another course has, too."""
        self.planned, self.last, self.paused, self.ended = later.planned, later.last, later.paused, later.ended
        self.advanced = later.advanced
        self._train |= later._train
        self._held_out |= later._held_out

    @property
    def steps(self) -> int:
        """How many there will be, as far as is known."""
        return self.last.steps if self.last else self.planned.steps if self.planned else self.laid_out

    @property
    def curves(self) -> Curves:
        """What a plot shows."""
        return Curves(sorted(self._train.items()), sorted(self._held_out.items()), self.steps)
