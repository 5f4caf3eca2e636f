"""The two themes of our own: quiet, with one accent colour. Textual's built-in ones can be chosen as well."""

import os

from textual.theme import Theme

DARK = Theme(
    name="quiet-dark",
    primary="#7fb3c8",
    secondary="#7fb3c8",
    accent="#7fb3c8",
    warning="#d9b26a",
    error="#e08585",
    success="#8fbf8f",
    foreground="#d5d8dd",
    background="#15171b",
    surface="#1d2025",
    panel="#262a30",
    dark=True,
    variables={
        "border-blurred": "#2c3138",
        "block-cursor-background": "#2b3a42",
        "block-cursor-foreground": "#e6e9ed",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#23282e",
        "input-selection-background": "#7fb3c8 30%",
        "screen-selection-background": "#7fb3c8 30%",
        "scrollbar": "#3a4048",
        "scrollbar-hover": "#4b525c",
        "scrollbar-active": "#7fb3c8",
        "scrollbar-background": "#15171b",
        "scrollbar-background-hover": "#15171b",
        "scrollbar-background-active": "#15171b",
    },
)
LIGHT = Theme(
    name="quiet-light",
    primary="#1d6a83",
    secondary="#1d6a83",
    accent="#1d6a83",
    warning="#8a5a00",
    error="#b3261e",
    success="#2f6d33",
    foreground="#24272c",
    background="#fbfaf8",
    surface="#f1efeb",
    panel="#e7e4df",
    dark=False,
    variables={
        "border-blurred": "#d6d2cb",
        "block-cursor-background": "#d5e5ea",
        "block-cursor-foreground": "#17191c",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#eae7e2",
        "input-selection-background": "#1d6a83 25%",
        "screen-selection-background": "#1d6a83 25%",
        "scrollbar": "#c9c5bd",
        "scrollbar-hover": "#b0aba2",
        "scrollbar-active": "#1d6a83",
        "scrollbar-background": "#fbfaf8",
        "scrollbar-background-hover": "#fbfaf8",
        "scrollbar-background-active": "#fbfaf8",
    },
)


def default() -> str:
    """The name of the theme that suits the terminal: light where it says that its background is.

    `COLORFGBG` is `foreground;background` as numbers of the 16 colours; 7 and 15 are the light ones.
    """
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in ("7", "15") else DARK.name
