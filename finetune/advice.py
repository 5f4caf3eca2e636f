"""Whether to train again: one sentence with its reason, and the commands that come next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from finetune.drift import Drift
from finetune.gap import FEWEST_GROUPS
from finetune.shift import Shift

GROWN = 0.25
"""So many new conversations for each one of the dataset are worth a training, even where nothing drifts."""
FEWEST_TO_TRAIN = FEWEST_GROUPS
"""New conversations. Of fewer, one or none would come into the test part."""

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
    drift: Drift | None
    shift: Shift | None
    waiting: str = ""
    waiting_is_proved: bool = False
    adapter: str = ""


def advice(found: Findings, again: Sequence[str]) -> Advice:
    """`again`: the commands that make a dataset, train on it, prove and promote that."""
    new = found.conversations
    many = _counted(new)
    if found.waiting:
        proved = found.waiting_is_proved
        what = "and nothing speaks against it" if proved else "and not yet compared with its base"
        commands = [*([] if proved else [f"finetune eval {found.waiting}"]), f"finetune promote {found.waiting}"]
        return Advice(
            "prove", f"Don't train yet: {found.waiting} is trained, newer than what is in use, {what}.", commands
        )
    if not new:
        grown = sum(found.judged[one] for one in ("good", "kept", "corrected"))
        rest = f" {grown} more replies of conversations it knows can wait for the next training." if grown else ""
        return Advice("wait", f"Nothing to do: there is no new curated conversation.{rest}")
    if new < FEWEST_TO_TRAIN:
        return Advice(
            "wait", f"Wait: {many} would show nothing. It takes {FEWEST_TO_TRAIN}: rate, keep or correct more."
        )
    if found.adapter and not found.held:
        why = "what it learned from is deleted, so that it can't be told what is new to it"
        return Advice("train", f"Train again, if {found.adapter} is to follow the log: {why}.", again)
    if not found.adapter:
        return Advice("train", f"Train: {many}, and no adapter is in use yet.", again)
    if found.drift is not None and found.drift.loss.verdict == "higher":
        _, low, high = found.drift.rise
        return Advice(
            "train",
            f"Train again: on {many} the perplexity is {low:.1%} to {high:.1%} higher than on the test part.",
            again,
        )
    if new >= GROWN * found.held:
        return Advice("train", f"Train again: {many} beside the {found.held:,} that it learned from.", again)
    if found.shift is not None and found.shift.shown:
        return Advice("train", f"Train again: {many} are about other things than what it learned from.", again)
    why = (
        "it does no worse on them than on the test part, as far as they show" if found.drift else "they are few beside"
    )
    tail = "" if found.drift else f" the {found.held:,} that it learned from"
    return Advice("wait", f"No need yet: there are {many}, and {why}{tail}.", again)


def _counted(new: int) -> str:
    return f"{new:,} new conversation{'' if new == 1 else 's'}"
