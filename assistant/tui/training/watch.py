"""The training that runs now or ran last, looked at from time to time."""

from dataclasses import dataclass, field

from assistant.tui.training.course import Course
from assistant.tui.training.job import Job
from finetune.progress import from_line


@dataclass(slots=True)
class Watch:
    """A job, and the course of what it does as far as it was read."""

    job: Job
    course: Course = field(default_factory=Course)
    running: bool = False
    failure: str = ""
    _offset: int = 0

    @property
    def run(self) -> str:
        """Name of its run; empty until it has one."""
        return self.course.planned.run if self.course.planned else ""

    @property
    def alive(self) -> str:
        """Name of its run while that is trained."""
        return self.run if self.running else ""

    def is_about(self, run: str) -> bool:
        """Whether it was begun for a run that was there."""
        return run in self.job.arguments

    def start(self, arguments: list[str]) -> None:
        """Begin another one. Raises as `Job.start`."""
        self.job.start(arguments)
        self._begin_anew()

    def look(self) -> None:
        """Read what was said since."""
        running = self.job.is_running  # before its last words are read
        if self.job.size < self._offset:
            self._begin_anew()
        said, self._offset = self.job.output(self._offset)
        for line in said.splitlines():
            if (progress := from_line(line)) is not None:
                self.course.take(progress)
        if self.running and not running:
            self.failure = self.job.failure
        self.running = running

    def _begin_anew(self) -> None:
        self.course, self.running, self.failure, self._offset = Course(), True, "", 0
