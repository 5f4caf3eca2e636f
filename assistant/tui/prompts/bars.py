"""Shares as bars, an eighth of a cell fine. Told apart by length, so that they read well without colours."""

from textual.content import Content

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


def bar(share: float, cells: int) -> Content:
    """`share` from 0 to 1 of so many cells; what is above nothing shows."""
    eighths = round(min(1.0, max(0.0, share)) * cells * 8)
    if share > 0:
        eighths = max(1, eighths)
    text = _FULL * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return Content.styled(text, "$accent") + Content.styled("·" * (cells - len(text)), "$foreground 20%")


def percent(share: float) -> str:
    """`83 %`, in five cells."""
    return f"{share * 100:3.0f} %"
