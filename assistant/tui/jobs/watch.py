"""The job that runs now or ran last, read from time to time."""

from dataclasses import dataclass, field

from assistant.tui.jobs.course import Course
from assistant.tui.jobs.job import Job
from finetune.progress import from_line


@dataclass(slots=True)
class Watch:
    """A job, and its course as far as its output was read."""

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
        """Name of its run while that is trained; empty during the proof."""
        return self.run if self.running and self.course.ended is None else ""

    @property
    def is_proving(self) -> bool:
        """Whether the steps are over, and the job compares what they made with the base."""
        ended = self.course.ended
        return self.running and ended is not None and ended.state == "finished"

    def is_about(self, run: str) -> bool:
        """Whether it was started for an existing run."""
        return run in self.job.arguments

    def start(self, arguments: list[str]) -> None:
        """Start the job again, for something else. Raises as `Job.start`."""
        self.job.start(arguments)
        self._begin_anew()

    def look(self) -> None:
        """Read the output since the last look."""
        running = self.job.is_running  # before its last lines are read
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
