"""Advice on training again: one sentence with a reason, and the next commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from finetune.watch.shift import Shift
from finetune.watch.two_samples import FEWEST_GROUPS

if TYPE_CHECKING:
    from finetune.watch.drift import Drift

GROWN = 0.25
"""New conversations, relative to the dataset's, that make a training worthwhile even without drift."""
FEWEST_TO_TRAIN = FEWEST_GROUPS
"""Fewest new conversations to train on: with fewer the test part would be too small for a verdict."""

Action = Literal["train", "prove", "wait"]


@dataclass(frozen=True, slots=True)
class Advice:
    """`train` on new conversations, `prove` a finished training, or `wait`."""

    action: Action
    sentence: str
    commands: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """Input of the advice. `waiting`: a finished run, newer than the adapter in use, that was not refused."""

    conversations: int
    held: int
    """Conversations of the dataset of the adapter in use; 0 without an adapter."""
    judged: Mapping[str, int]
    drift: "Drift | None"
    shift: Shift | None
    waiting: str = ""
    waiting_is_proved: bool = False
    adapter: str = ""


def advice(found: Findings, again: Sequence[str]) -> Advice:
    """The advice. `again`: commands that make a dataset, train on it, prove and promote the result."""
    if found.waiting:
        return _prove(found)
    if why := _too_few(found):
        return Advice("wait", why)
    if why := _reason(found):
        return Advice("train", why, again)
    why = f"they are few compared with the {found.held:,} that it learned from"
    if found.drift is not None:
        why = "the model shows no higher loss on them than on the test part"
    return Advice("wait", f"No need yet: there are {_new_conversations(found)}, and {why}.", again)


def _prove(found: Findings) -> Advice:
    proved = found.waiting_is_proved
    what = "and there are no objections to it" if proved else "and not yet compared with its base"
    commands = [*([] if proved else [f"finetune eval {found.waiting}"]), f"finetune promote {found.waiting}"]
    told = f"Don't train yet: {found.waiting} is trained, newer than the adapter in use, {what}."
    return Advice("prove", told, commands)


def _too_few(found: Findings) -> str:
    if not found.conversations:
        grown = sum(found.judged[one] for one in ("good", "kept", "corrected"))
        rest = f" {grown:,} more replies in conversations that it has learned can wait." if grown else ""
        return f"Nothing to do: there is no new curated conversation.{rest}"
    if found.conversations < FEWEST_TO_TRAIN:
        few = f"Wait: {_new_conversations(found)} would show nothing."
        return f"{few} Training needs {FEWEST_TO_TRAIN}: rate, keep or correct more."
    return ""


def _reason(found: Findings) -> str:
    """The strongest reason to train; empty if there is none."""
    many, drift = _new_conversations(found), found.drift
    if not found.adapter:
        return f"Train: {many}, and no adapter is in use yet."
    if not found.held:
        return (
            f"Train again, if {found.adapter} is to follow the log: its dataset was deleted, so it isn't known which "
            "conversations are new."
        )
    if drift is not None and drift.loss.verdict == "higher":
        _, low, high = drift.rise
        return f"Train again: on {many} the perplexity is {low:.1%} to {high:.1%} higher than on the test part."
    if drift is not None and drift.gain is not None and drift.gain.verdict == "lower" and drift.gain.kept > 0:
        less = drift.gain.new / drift.gain.kept
        return f"Train again: on {many} it gains {less:.0%} of its gain on the test part."
    other = found.shift is not None and found.shift.shown
    if found.conversations >= GROWN * found.held:
        about = ", and about other topics" if other else ""
        return f"Train again: {many} beside the {found.held:,} that it learned from{about}."
    return f"Train again: {many} differ in topic from what it learned." if other else ""


def _new_conversations(found: Findings) -> str:
    return f"{found.conversations:,} new conversation{'' if found.conversations == 1 else 's'}"
