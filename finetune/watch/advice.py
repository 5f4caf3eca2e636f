"""Whether to train again: one sentence with its reason, and the commands that come next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from finetune.watch.shift import Shift
from finetune.watch.two_samples import FEWEST_GROUPS

if TYPE_CHECKING:
    from finetune.watch.drift import Drift

GROWN = 0.25
"""So many new conversations for each one of the dataset are worth a training, even where nothing drifts."""
FEWEST_TO_TRAIN = FEWEST_GROUPS
"""New conversations. Of fewer the test part would be too small for a verdict."""

Action = Literal["train", "prove", "wait"]


@dataclass(frozen=True, slots=True)
class Advice:
    """`train` on what is new, `prove` what was trained already, or `wait`."""

    action: Action
    sentence: str
    commands: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What the advice follows from. `waiting`: a run that is newer than what is in use, finished and not refused."""

    conversations: int
    held: int
    """Conversations of the dataset that the adapter in use learned from; 0 without one."""
    judged: Mapping[str, int]
    drift: "Drift | None"
    shift: Shift | None
    waiting: str = ""
    waiting_is_proved: bool = False
    adapter: str = ""


def advice(found: Findings, again: Sequence[str]) -> Advice:
    """`again`: the commands that make a dataset, train on it, prove and promote that."""
    if found.waiting:
        return _prove(found)
    if why := _too_few(found):
        return Advice("wait", why)
    if why := _reason(found):
        return Advice("train", why, again)
    why = f"they are few beside the {found.held:,} that it learned from"
    if found.drift is not None:
        why = "it does no worse on them than on the test part, as far as they show"
    return Advice("wait", f"No need yet: there are {_many(found)}, and {why}.", again)


def _prove(found: Findings) -> Advice:
    proved = found.waiting_is_proved
    what = "and nothing speaks against it" if proved else "and not yet compared with its base"
    commands = [*([] if proved else [f"finetune eval {found.waiting}"]), f"finetune promote {found.waiting}"]
    told = f"Don't train yet: {found.waiting} is trained, newer than what is in use, {what}."
    return Advice("prove", told, commands)


def _too_few(found: Findings) -> str:
    if not found.conversations:
        grown = sum(found.judged[one] for one in ("good", "kept", "corrected"))
        rest = f" {grown:,} more replies of conversations that it knows can wait." if grown else ""
        return f"Nothing to do: there is no new curated conversation.{rest}"
    if found.conversations < FEWEST_TO_TRAIN:
        return f"Wait: {_many(found)} would show nothing. It takes {FEWEST_TO_TRAIN}: rate, keep or correct more."
    return ""


def _reason(found: Findings) -> str:
    """To train, the strongest first; empty for none."""
    many, drift = _many(found), found.drift
    if not found.adapter:
        return f"Train: {many}, and no adapter is in use yet."
    if not found.held:
        return (
            f"Train again, if {found.adapter} is to follow the log: what it learned from is deleted, so that it can't "
            "be told what is new to it."
        )
    if drift is not None and drift.loss.verdict == "higher":
        _, low, high = drift.rise
        return f"Train again: on {many} the perplexity is {low:.1%} to {high:.1%} higher than on the test part."
    if drift is not None and drift.gain is not None and drift.gain.verdict == "lower" and drift.gain.kept > 0:
        less = drift.gain.new / drift.gain.kept
        return f"Train again: on {many} it gains {less:.0%} of what it gains on the test part."
    other = found.shift is not None and found.shift.shown
    if found.conversations >= GROWN * found.held:
        about = ", and about other things" if other else ""
        return f"Train again: {many} beside the {found.held:,} that it learned from{about}."
    return f"Train again: {many} are about other things than what it learned from." if other else ""


def _many(found: Findings) -> str:
    return f"{found.conversations:,} new conversation{'' if found.conversations == 1 else 's'}"
