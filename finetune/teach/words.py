"""What teaching came to, in lines for the terminal and the screen. Loads no torch."""

from collections.abc import Iterator
from dataclasses import dataclass

from finetune.teach.outcome import Answer, Asked, Outcome

SHOWN_CHANGES = 3
"""Other replies that changed, in full."""
CHARACTERS = 70
"""Of a question or a reply."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `good` says whether that is what was wanted; None: neither."""

    label: str
    text: str
    verdict: str = ""
    good: bool | None = None


def lines(found: Outcome) -> list[Line]:
    """The replies before and after, and what else has changed."""
    return [*(line for one in found.asked for line in _asked(one)), *_earlier(found), *_others(found)]


def _asked(one: Asked) -> Iterator[Line]:
    yield Line("question", short(one.after.question))
    yield Line("answer before", short(one.before))
    yield Line("answer now", short(one.after.reply), *_said(one.after.right))
    count, right = len(one.reworded), one.reworded_right
    yield Line(f"reworded ({count})", f"{right} of {count} answered as corrected", "", right == count)
    yield from (_wrong(answer) for answer in one.reworded if not answer.right)


def _said(right: bool) -> tuple[str, bool]:
    return ("as corrected", True) if right else ("not as corrected", False)


def _wrong(one: Answer) -> Line:
    return Line("", f"{short(one.question)} → {short(one.reply)}", "not as corrected", False)


def _earlier(found: Outcome) -> Iterator[Line]:
    if found.earlier:
        right = sum(one.right for one in found.earlier)
        yield Line(
            f"taught earlier ({len(found.earlier)})",
            f"{right} of {len(found.earlier)} still answered as corrected",
            "",
            right == len(found.earlier),
        )
        yield from (_wrong(one) for one in found.earlier if not one.right)
    if found.replaces:
        ids = ", ".join(map(str, found.replaces))
        yield Line("", f"replaces correction {ids} of the same question")


def _others(found: Outcome) -> Iterator[Line]:
    same = found.others - len(found.changed)
    text = f"{same} of {found.others} answers unchanged · perplexity of general text {100 * found.general_text:+.1f} %"
    yield Line("other questions", text, "", None)
    for one in found.changed[:SHOWN_CHANGES]:
        yield Line("", f"{short(one.question)} → {short(one.after)}", "changed")


def short(text: str, characters: int = CHARACTERS) -> str:
    """In one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"
