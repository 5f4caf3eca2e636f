"""A template's task under attack: every row as it is, then bent in every known way, and what that changed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Any

from assistant.tasks.evaluation import TRUTH, classes, evaluate
from assistant.tasks.run import asked, prediction
from assistant.tasks.task import Outcome, Row, Task, default_calibration
from prompts import metrics
from prompts.attacks import MARKER, Attack, Attacked, Effect, Trial, attacked, attacks, effect
from prompts.labels import Calibration


@dataclass(frozen=True, slots=True)
class Bent:
    """One row under one attack, to be asked about. `target` is the answer that an order wants."""

    attack: Attack
    item: int
    row: Row
    attacked: Attacked
    target: str


@dataclass(slots=True)
class Siege:
    """All attacks on `rows`. `method` "" chooses the calibration by their number; that of the clean rows stays.

    `calibrations`: those of the method `fitted`.
    """

    task: Task
    rows: Sequence[Row]
    method: str
    seed: int
    calibrations: Sequence[Calibration] = ()
    trials: list[Trial] = field(default_factory=list)
    main: str = ""
    clean: list[float] = field(default_factory=list)
    """Of each row untouched, by the `main` measure."""

    async def run(self, progress: Callable[[int, int], None]) -> None:
        """Ask about all of it. `progress` gets what is done and all there is."""
        bent, outcomes = list(self._bent()), list[Outcome]()
        everything = [*self.rows, *(one.row for one in bent)]
        async with aclosing(asked(self.task, everything)) as answers:
            async for outcome in answers:
                outcomes.append(outcome)
                progress(len(outcomes), len(everything))
        clean = outcomes[: len(self.rows)]
        self.method = self.method or (default_calibration(len(clean)) if self.task.scored else "none")
        calibrations = self.calibrations or await self.task.calibration(self.method, clean)
        predicted = [
            {**row, **prediction(self.task, row, outcome, calibrations)}
            for row, outcome in zip(everything, outcomes, strict=True)
        ]
        self._judge(bent, predicted[: len(clean)], predicted[len(clean) :])

    def _judge(self, bent: Sequence[Bent], before: Sequence[Row], after: Sequence[Row]) -> None:
        """Make the trials of the rows with their predictions, untouched and bent."""
        template, column = self.task.template, self.task.column
        after = [_originally(row, one.attacked.originally) for one, row in zip(bent, after, strict=True)]
        measured = evaluate(template, before, column)
        self.main, self.clean = measured.main, measured.values
        for one, row, value in zip(bent, after, evaluate(template, after, column).values, strict=True):
            was, now = self._answer(before[one.item]), self._answer(row)
            obeyed = bool(one.attack.pattern) and self._says(now, one.target) and not self._says(was, one.target)
            self.trials.append(
                Trial(one.attack, one.item, self.clean[one.item], value, not self._same(was, now), obeyed)
            )

    def effects(self) -> list[Effect]:
        """Of each change and each family of orders, in the order they are known."""
        return self._grouped(lambda trial: trial.attack.family)

    def single(self) -> list[tuple[Attack, Effect]]:
        """Of each attack by itself."""
        known = {trial.attack.name: trial.attack for trial in self.trials}
        return [(known[one.name], one) for one in self._grouped(lambda trial: trial.attack.name)]

    def _grouped(self, group: Callable[[Trial], str]) -> list[Effect]:
        groups: dict[str, list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault(group(trial), []).append(trial)
        return [effect(name, some) for name, some in groups.items()]

    def all_of(self, injections: bool) -> Effect | None:
        """Of all orders, or of all changes, together."""
        some = [trial for trial in self.trials if bool(trial.attack.pattern) == injections]
        return effect("all orders" if injections else "all changes", some) if some else None

    def kept(self) -> list[float]:
        """Of each row the share of attacks that didn't change its answer."""
        return [
            1 - sum(some) / len(some)
            for item in range(len(self.rows))
            if (some := [trial.flipped for trial in self.trials if trial.item == item])
        ]

    def _bent(self) -> Iterator[Bent]:
        template, column = self.task.template, self.task.column
        for attack in attacks(template.language):
            for item, row in enumerate(self.rows):
                target = self._target(row, Random(f"{self.seed} {item}"))
                word = template.labels[target][0] if template.labels else target
                random = Random(f"{self.seed} {item} {attack.name}")
                found = attacked(attack, str(row[column]), word, template.language, random)
                if found is not None:
                    yield Bent(attack, item, {**row, column: found.text}, found, target)

    def _target(self, row: Row, random: Random) -> str:
        """A wrong class, or a word that no answer needs."""
        template = self.task.template
        if not template.labels:
            return MARKER.get(template.language, MARKER["en"])
        right = classes(row[TRUTH[template.kind]], template.several)
        return random.choice([name for name in template.labels if name not in right] or list(template.labels))

    def _answer(self, row: Mapping[str, Any]) -> Any:
        """What a row's prediction says: a class, classes, a text or JSON; None where it failed."""
        template = self.task.template
        if not template.labels or template.several or row["probabilities"] is None:
            return row["prediction"]
        return max(row["probabilities"], key=row["probabilities"].__getitem__)

    def _same(self, was: Any, now: Any) -> bool:
        if not self.task.template.labels and isinstance(was, str) and isinstance(now, str):
            return bool(metrics.exact_match(was, now))
        return bool(metrics.same_json(was, now))

    def _says(self, answer: Any, target: str) -> bool:
        if self.task.template.labels:
            return target in answer if isinstance(answer, list) else bool(answer == target)
        return target in json.dumps(answer, ensure_ascii=False).lower()


def _originally(row: Row, classes: Mapping[str, str]) -> Row:
    """A row's prediction in the classes of the untouched input."""
    if not classes or row.get("probabilities") is None or not set(classes) <= set(row["probabilities"]):
        return row
    chances = {classes.get(name, name): p for name, p in row["probabilities"].items()}
    said = row["prediction"]
    return {**row, "probabilities": chances, "prediction": classes.get(said, said) if isinstance(said, str) else said}


def drawn(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """`count` of the rows, or all of them if there are no more, in their order."""
    places = sorted(Random(seed).sample(range(len(rows)), min(count, len(rows))))
    return [rows[at] for at in places]
