"""What is to be taught to which model, read and checked before anything is kept or loaded."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters as registry
from finetune.base import Base, opened_base
from finetune.lineage.lineage import Start, refusal
from finetune.prove.promote import refuse_unusable
from finetune.teach import corrections
from finetune.teach.corrections import Correction


@dataclass(frozen=True)
class Lesson:
    """Corrections for a model. `old`: what the adapter in use was taught, without `replaced`: corrections of before to
    whose questions a new one gives another answer.
    """

    model: str
    base: Base
    new: Sequence[Correction]
    old: Sequence[Correction]
    replaced: Sequence[Correction]
    start: Start | None
    """The adapter in use, which teaching goes on from; None: the base alone."""
    like_base: bool = True
    """Whether everything else is held as the base says it, so that many teachings don't add up to a drift; where an
    adapter was trained before, as that one says it.
    """


def lesson(db: Database, paths: Paths, ids: Sequence[int], model: str) -> Lesson:
    """The corrections of these messages. `model`: empty for the one whose replies were corrected.

    Raises `TrainingRefused` for what can't be taught.
    """
    new = corrections.find(db, ids)
    model = model or _made_by(new)
    base = opened_base(paths, model)
    start = _start(db, paths, model)
    before = corrections.taught_before(db, start)
    answers = {one.prompt: one.text for one in new}
    replaced = [one for one in before if one.text != answers.get(one.prompt, one.text)]
    old = [one for one in before if one.prompt not in answers]
    return Lesson(model, base, new, old, replaced, start, corrections.only_taught(db, start))


def _made_by(new: Sequence[Correction]) -> str:
    models = sorted({one.model for one in new})
    if len(models) > 1 or not models[0]:
        said = ", ".join(f"{one.id}: {one.model or 'not known'}" for one in new)
        raise TrainingRefused(f"The corrected replies don't say which model to teach ({said}). Name it with -m MODEL.")
    return models[0]


def _start(db: Database, paths: Paths, model: str) -> Start | None:
    """The adapter in use. Raises `TrainingRefused` where teaching can't go on from it."""
    adapter = registry.in_use(db, model)
    if adapter is None:
        return None
    refuse_unusable(paths, adapter)
    if refused := refusal(paths, adapter):
        raise TrainingRefused(f"{refused} Use another adapter first, or the base: `finetune rollback -m {model}`.")
    return Start.of(adapter)
