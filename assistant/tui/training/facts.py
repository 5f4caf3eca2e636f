"""What a training was made of, as lines of labels and texts."""

from textual.content import Content

from assistant.safe_text import printable
from assistant.tui.jobs.course import Course
from assistant.tui.training import words
from assistant.tui.training.record import Record

LABEL_CELLS = 14


def shown(found: Record, course: Course) -> Content:
    """Model, data, method, and the plan or the time; of a training that has ended no more than two lines."""
    config, data = words.settings(found.run), found.dataset or "a dataset that was deleted"
    if start := found.run.config.get("start"):
        data += f" · goes on from {start['adapter']}"
    if found.run.state == "finished":
        rows: tuple[tuple[str, str], ...] = (
            ("model", f"{found.run.model} · learned from {data}"),
            ("method", words.method(config)),
        )
    else:
        rows = (
            ("model", found.run.model),
            ("learned from", data),
            ("method", words.method(config)),
            ("plan", words.plan(course.planned, config)) if course.planned else ("time", words.budget(config)),
        )
    return Content("\n").join(
        Content.styled(f"{label:<{LABEL_CELLS}}", "$foreground 60%") + printable(said, newlines=False)
        for label, said in rows
    )
