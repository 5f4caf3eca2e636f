"""An earlier text of a template beside the one that is shown now."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from textual.content import Content

from assistant.safe_text import printable
from assistant.store.templates import Version
from assistant.tui.clock import short_time
from assistant.tui.widgets.page import Blocks
from assistant.tui.widgets.rows import EMPTY, Row

NONE = "No earlier text is known. Those that were saved here, or that a reply or a test was made with, are kept."
SAME = "It is the text above."
_STYLES = {"+": "$text-success", "-": "$text-error", "@": "$foreground 60%"}


@dataclass(frozen=True, slots=True)
class Earlier:
    """One text to compare with, and what is known of it."""

    text: str
    about: str


def earlier(versions: Sequence[Version], built_in: str, shown_hash: str, now: datetime) -> list[Earlier]:
    """Those in the log, the newest first, then the built-in one that the person's own takes the place of, if any."""
    found = [Earlier(one.text, _about(one, now)) for one in versions if one.hash != shown_hash]
    return found + ([Earlier(built_in, "the built-in one")] if built_in else [])


def entries(texts: Sequence[Earlier], at: int, now_shown: str) -> list[Blocks]:
    """What `now_shown` has otherwise than the text number `at`."""
    if not texts:
        return [Blocks([Row(Content.styled(NONE, ".quiet"))])]
    text = texts[at]
    heading = Content(f"{at + 1} of {len(texts)} ‹ ›  " if len(texts) > 1 else "") + Content.styled(
        text.about, ".quiet"
    )
    return [Blocks([Row(heading), Row(EMPTY), *_difference(text.text, now_shown)])]


def _difference(before: str, after: str) -> list[Row]:
    """The lines that were taken out and put in, with two around them."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm=""))[2:]
    if not lines:
        return [Row(Content.styled(SAME, ".quiet"))]
    return [
        Row(Content.styled(printable(line) or " ", _STYLES.get(line[:1], "")), rest=Content("  ")) for line in lines
    ]


def _about(version: Version, now: datetime) -> str:
    uses = ((version.replies, "reply", "replies"), (version.tests, "test", "tests"))
    counted = [f"{count:,} {one if count == 1 else many}" for count, one, many in uses if count]
    return " · ".join([f"text {version.hash[:8]}", short_time(version.since_ms, now), *counted])
