"""Teaching from end to end: corrections of the log in, an adapter with its lineage and what it changed out.

The adapter goes on from the one in use. It is used only once it is kept; dropped, nothing of it remains.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters as registry
from assistant.store.training import datasets, runs
from assistant.store.training.runs import Run
from finetune.config import TrainConfig
from finetune.network import trainable
from finetune.progress import Advanced, Ended, Progress
from finetune.prove.paired import Measure, perplexity
from finetune.run_folder import RunFolder, only_training
from finetune.teach import corrections, decide, loop, material
from finetune.teach.alike import is_right, is_same
from finetune.teach.asking import Prompt
from finetune.teach.lesson import Lesson, lesson
from finetune.teach.loop import Learned, Pace
from finetune.teach.material import LONGEST_PROMPT, LONGEST_ROW, Material, Taught
from finetune.teach.outcome import Answer, Asked, Change, Outcome
from finetune.teach.report import report
from finetune.teach.session import Look, Session, prompts_of
from finetune.versions import made_with

HELD, PIECES, CHECKED = 64, 24, 24
"""Anchors: other questions, and pieces of general text. Other questions that are asked before and after."""


@dataclass(frozen=True)
class Plan:
    """What will be learned, and which other questions are held and which asked."""

    lesson: Lesson
    new: Sequence[Taught]
    old: Sequence[Taught]
    held: Sequence[Prompt]
    checked: Sequence[Prompt]
    config: TrainConfig


def teach(
    db: Database,
    paths: Paths,
    ids: Sequence[int],
    model: str,
    say: Callable[[Progress], None],
    stop_wanted: Callable[[], bool] = lambda: False,
    *,
    pace: Pace | None = None,
) -> Outcome | None:
    """Teach the corrections of these messages; None where it was stopped.

    `model`: empty for the one whose replies were corrected. Raises a `TrainingError`; then, too, nothing remains.
    """
    pace = pace or Pace()
    with only_training(paths):
        decide.clean(db, paths)
        plan = _plan(db, lesson(db, paths, ids, model), pace)
        run = _begun(db, plan)
        done = None
        try:
            done = _done(db, paths, run, plan, pace, say, stop_wanted)
        finally:
            if done is None:
                decide.drop(db, paths, run.name)
    return done


def _plan(db: Database, about: Lesson, pace: Pace) -> Plan:
    """Raises `TrainingRefused` for a correction that is too long.

    The seed follows from the corrections, so that each teaching holds other questions and other text. With the same
    questions and text every time, general text got 10 % worse over twenty teachings.
    """
    seed = max(one.id for one in about.new)
    tokenizer, form = about.base.tokenizer_of_rows(LONGEST_ROW), about.base.chat_format
    new, old = material.taught(tokenizer, about.new, about.old)
    found = material.other_prompts(db, [*about.new, *about.old], 2 * (HELD + CHECKED), seed)
    others = [one for one in found if len(form.encode(one)) <= LONGEST_PROMPT]
    config = TrainConfig(learning_rate=pace.learning_rate, seed=seed)
    return Plan(about, new, old, others[CHECKED : CHECKED + HELD], others[:CHECKED], config)


def _begun(db: Database, plan: Plan) -> Run:
    about, start = plan.lesson, plan.lesson.start
    dataset = corrections.freeze(db, about.new)
    told = {
        "settings": plan.config.as_json(),
        "shape": {},
        corrections.NAME: [one.id for one in about.new],
        "start": start.as_json() if start else None,
    }
    return runs.add(db, dataset.name, dataset.id, dataset.hash, about.model, about.base.hash, told)


def _done(
    db: Database,
    paths: Paths,
    run: Run,
    plan: Plan,
    pace: Pace,
    say: Callable[[Progress], None],
    stop_wanted: Callable[[], bool],
) -> Outcome | None:
    began_s = time.monotonic()
    say(Advanced("loading the model"))
    session = Session.load(plan.lesson, paths, plan.config)
    say(Advanced("asking before"))
    before = session.look(plan.lesson, plan.checked, session.start)
    held, text = session.held(plan.held), session.text(PIECES, plan.config.seed)
    todo = Material(plan.new, plan.old, held, text, plan.config.seed)
    learned = loop.learn(session.trainee, todo, pace, session.device, say, stop_wanted)
    if learned is None or stop_wanted():
        return None
    say(Advanced("asking again"))
    best = RunFolder(paths, run.name).create().best
    trainable.save(session.model, best)
    after = session.look(plan.lesson, plan.checked, best)
    general = _general(session, before, after)
    hash_ = trainable.keep(best, paths.adapters / run.name)
    seconds = time.monotonic() - began_s
    found = _outcome(run, hash_, plan, learned, before, after, general.difference, seconds)
    dataset = datasets.by_id(db, run.dataset_id)
    if dataset is None:
        raise TrainingRefused("The corrections were deleted while they were taught. Nothing was changed.")
    _registered(db, run, plan, learned, report(plan.lesson, found, before, after, general, dataset))
    say(Ended(run.name, "finished", learned.steps, run.name, hash_, "finished"))
    return found


def _general(session: Session, before: Look, after: Look) -> Measure:
    """Perplexity of general text, before and after."""
    old, new = ([-sum(one) for one in look.general] for look in (before, after))
    tokens = session.general_tokens
    return perplexity("forgetting", "general text", old, new, tokens, range(len(tokens)))


def _outcome(
    run: Run, hash_: str, plan: Plan, learned: Learned, before: Look, after: Look, general_text: float, seconds: float
) -> Outcome:
    about = plan.lesson
    asked = []
    for one, old, new in zip(about.new, before.asked, after.asked, strict=True):
        questions = [prompt[-1].content for prompt in prompts_of(one)]
        answers = [Answer(*pair, is_right(one.text, pair[1])) for pair in zip(questions, new, strict=True)]
        asked.append(Asked(one.id, one.text, old[0], answers[0], tuple(answers[1:])))
    earlier = [
        Answer(one.question, said, is_right(one.text, said))
        for one, said in zip(about.old, after.earlier, strict=False)
    ]
    changed = [
        Change(prompt[-1].content, *pair)
        for prompt, *pair in zip(plan.checked, before.others, after.others, strict=True)
        if not is_same(*pair)
    ]
    return Outcome(
        run.name,
        about.model,
        hash_,
        about.start.adapter if about.start else "",
        tuple(asked),
        tuple(earlier),
        len(plan.checked),
        tuple(changed),
        general_text,
        learned.steps,
        round(seconds, 1),
        tuple(one.id for one in about.replaced),
    )


def _registered(db: Database, run: Run, plan: Plan, learned: Learned, told: Mapping[str, Any]) -> None:
    """Put the adapter into the log with its lineage and its report."""
    result = {"steps": learned.steps, "seconds": learned.seconds, "loss": learned.loss, "adapter": run.name}
    about, hash_ = plan.lesson, str(told["adapter_hash"])
    lineage = {
        "base": {"model": about.model, "sha256": about.base.hash},
        "dataset": {name: told["dataset"][name] for name in ("name", "sha256")},
        "start": run.config["start"],
        "settings": plan.config.as_json(),
        "result": result,
        "made_with": made_with(),
    }
    registry.add(db, hash_, run.name, run.id, run.model, run.base_hash, lineage)
    runs.add_evaluation(db, run.id, hash_, told)
    runs.set_result(db, run.id, result, hash_)
    runs.set_state(db, run.id, "finished")
