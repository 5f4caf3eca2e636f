"""Transcripts in Markdown: the open path, a heading for each message, several conversations one after another.

    # Title

    ## You · 2026-11-23 17:24

    What was said

A line of what was said that could be taken for such a heading gets a backslash before it, which Markdown doesn't show.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TextIO

from assistant.store.files.exports.stored import Stored
from assistant.store.files.transcript import Transcript, Turn
from assistant.store.files.turns_in_a_row import in_a_row

HEADING = re.compile(r"## (You|Assistant)(?: · (.*))?")
_TITLE = re.compile(r"# (.*)")
_LIKE_A_HEADING = re.compile(r"\\*## (You|Assistant)( · .*)?|\\+# .*")
_ESCAPED = re.compile(r"\\+(## (You|Assistant)( · .*)?|# .*)")
_ROLES = {"You": "user", "Assistant": "assistant"}
_NAMES = {"user": "You", "assistant": "Assistant"}


def write(conversation: Stored) -> Iterator[str]:
    """The open path as a transcript that reads well and can be told apart again."""
    yield f"# {' '.join(conversation.fields['title'].split()) or 'Conversation'}\n"
    for row in conversation.path:
        yield f"\n## {_NAMES[row.role]} · {_time(row.created_ms)}\n\n{_escaped(row.content)}\n"


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _escaped(content: str) -> str:
    """What was said, with a backslash before lines like our headings; a title can only come last."""
    if "## " not in content and "# " not in content:
        return content
    lines = content.split("\n")
    last = next((at for at in reversed(range(len(lines))) if lines[at]), 0)
    return "\n".join(
        f"\\{line}" if _LIKE_A_HEADING.fullmatch(line) or (at == last and _TITLE.fullmatch(line)) else line
        for at, line in enumerate(lines)
    )


def is_one(head: str) -> bool:
    """Whether a text that begins so is such a transcript."""
    return any(HEADING.fullmatch(line.strip()) for line in head.splitlines())


def read(file: TextIO) -> Iterator[Transcript]:
    """The conversations of a transcript. What stands before the first heading is its title, if it is one."""
    title = ""
    sections: list[tuple[str, str, list[str]]] = []
    before: list[str] = []
    for line in (line.rstrip("\n") for line in file):
        heading = HEADING.fullmatch(line)
        if heading is None:
            before.append(line)
            continue
        new_title = _title_at_end(before)
        if new_title is not None:
            if sections:
                yield _transcript(title, sections)
            title, sections = new_title, []
        before = []
        sections.append((_ROLES[heading[1]], heading[2] or "", before))
    if sections:
        yield _transcript(title, sections)


def _title_at_end(lines: list[str]) -> str | None:
    """The title that stands at the end of `lines`, taken off them with the empty lines around it; None without one."""
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1
    match = _TITLE.fullmatch(lines[end - 1]) if end else None
    if match is None:
        return None
    del lines[end - 1 :]
    return match[1]


def _transcript(title: str, sections: Iterable[tuple[str, str, list[str]]]) -> Transcript:
    kept = list(sections)
    turns = in_a_row((role, _unescaped(lines)) for role, _, lines in kept)
    timed = [_at(turn, time) for turn, (_, time, _) in zip(turns, kept, strict=True)]
    title = "" if title == "Conversation" else title
    return Transcript(title or "Conversation", timed, title, not title, source="markdown")


def _unescaped(lines: list[str]) -> str:
    """What was said: without the empty line on either side."""
    inner = lines[1:] if lines and not lines[0] else lines
    inner = inner[:-1] if inner and not inner[-1] else inner
    return "\n".join(line[1:] if _ESCAPED.fullmatch(line) else line for line in inner)


def _at(turn: Turn, time: str) -> Turn:
    try:
        moment = datetime.strptime(time, "%Y-%m-%d %H:%M").astimezone()
    except (ValueError, OverflowError):
        return turn
    ms = round(moment.timestamp() * 1000)
    return Turn(turn.key, turn.parent, turn.role, turn.content, ms) if ms >= 0 else turn
