"""The question before an adapter is used that isn't proved to be better."""

from assistant.tui.dialogs.ask import AskScreen
from assistant.tui.dialogs.pick import Choice
from assistant.tui.training.record import Record

PROVE, ANYWAY, LEAVE = "prove", "anyway", "leave"
OVERRULE = "--anyway"
"""Option of `finetune promote`."""


def question(found: Record) -> AskScreen:
    """The reasons in words; where there is no proof of this adapter yet, proving it comes first."""
    name = found.run.name
    if found.evaluation is None:
        why = f"{name} was not compared with its base yet: whether it is better isn't known."
        answers = [Choice(PROVE, "Prove it first", "then decide")]
    else:
        why = "\n".join(found.objections)
        answers = [Choice(LEAVE, "Leave it")]
    answers.append(Choice(ANYWAY, "Use it anyway", "the log records these reasons"))
    if found.evaluation is None:
        answers.append(Choice(LEAVE, "Leave it"))
    return AskScreen(f"Use {name} for new replies?", why, answers)
