"""A test of a template beside the one before it, over the same rows in pairs."""

from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from typing import Any

from assistant.store.template_tests import TemplateTest


@dataclass(frozen=True)
class Difference:
    """A mean of differences in pairs, with its 95 % interval."""

    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """A tie is no win: the whole interval must lie on one side."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no difference is shown"

    def __str__(self) -> str:
        return f"{self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True)
class Comparison(Difference):
    """The difference to an earlier test. `against` says what was tested then, and when."""

    against: str

    def __str__(self) -> str:
        return f"against {self.against}: {super().__str__()}: {self.verdict}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(test: TemplateTest, before: TemplateTest, zone: tzinfo | None = None) -> Comparison:
    """`test` against one on the same rows. Times are told in `zone`, None for this machine's. Imports numpy."""
    from prompts.metrics import paired

    changed = [
        f"template {before.template_hash[:8]}" if before.template_hash != test.template_hash else "",
        before.model if before.model != test.model else "",
        (before.adapter or "no adapter") if before.adapter != test.adapter else "",
        "other settings" if before.settings != test.settings else "",
    ]
    when = datetime.fromtimestamp(before.done_ms / 1000, zone).strftime("%Y-%m-%d %H:%M")
    against = f"{', '.join(filter(None, changed))} on {when}"
    return Comparison(*paired(before.values, test.values), against)
