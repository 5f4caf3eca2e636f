"""How the next token is chosen, for one conversation."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from assistant.engine.generate.sampling import Sampling, SamplingError
from assistant.tui.dialogs.form import Field, FormScreen

LABELS = {
    "temperature": ("temperature", "0 is greedy"),
    "top_p": ("top-p", "probability mass kept, 1: off"),
    "top_k": ("top-k", "candidates kept, 0: off"),
    "min_p": ("min-p", "relative to the top, 0: off"),
    "repetition_penalty": ("repetition penalty", "1: off"),
    "max_tokens": ("max tokens", "longest reply"),
    "seed": ("seed", "empty: a new seed each time"),
    "stop": ("stop", r"separated by |, \n: new line"),
}
WHOLE = ("top_k", "max_tokens", "seed")
SEPARATOR = "|"


def sampling_form(inherited: Sampling, own: Mapping[str, Any]) -> FormScreen[dict[str, Any]]:
    """The result holds the values of this conversation's own; those left empty follow the template and the settings."""
    fields = [
        Field(name, label, hint, as_text(own.get(name)), as_text(getattr(inherited, name)))
        for name, (label, hint) in LABELS.items()
    ]
    about = "For this conversation. An empty field takes the grey value."
    return FormScreen("Sampling", about, fields, lambda typed: own_values(inherited, typed))


def own_values(inherited: Sampling, typed: Mapping[str, str]) -> dict[str, Any]:
    """The values that were typed, as kept with the conversation. Raises `SamplingError` for the first that won't do."""
    values = {name: _value(name, text) for name, text in typed.items() if text.strip()}
    checked = inherited.replace(values).as_dict()
    return {name: checked[name] for name in values}


def as_text(value: object) -> str:
    """A sampling value as it is typed."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return SEPARATOR.join(text.replace("\\", "\\\\").replace("\n", "\\n") for text in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe(own: Mapping[str, Any]) -> str:
    """The conversation's own values in a few words: `temperature 0.2 · seed 42`."""
    return " · ".join(f"{LABELS[name][0]} {as_text(value)}" for name, value in own.items() if name in LABELS)


def _value(name: str, text: str) -> Any:
    if name == "stop":
        pieces = [piece for piece in text.split(SEPARATOR) if piece]
        return tuple(piece.replace("\\n", "\n").replace("\\\\", "\\") for piece in pieces)
    kind = int if name in WHOLE else float
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise SamplingError(f"{LABELS[name][0]} is {text!r}, but must be {expected}.") from None


FOR_PROGRAMS = ("presence_penalty", "frequency_penalty", "logit_bias", "top_logprobs", "json_schema")
"""What a template or a program sets; a form of 24 lines has no room for more."""
KNOWN = [field.name for field in dataclasses.fields(Sampling)]
assert [*LABELS, *FOR_PROGRAMS] == KNOWN, "a sampling setting has no line in the form"
