"""`assistant prompts test --attack`: whether a template's answers stand when its inputs are bent."""

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.kept_tests import fitted_calibration, keep
from assistant.cli.options import progress_bar
from assistant.cli.output import counted, print_json, print_table
from assistant.cli.shot_options import asked_for
from assistant.cli.task_options import opened_task

if TYPE_CHECKING:
    from assistant.tasks.attacking import Siege
    from assistant.tasks.comparison import Comparison
    from prompts.attacks import Effect
    from prompts.template import Template

WORST = 5
"""Orders that are named by themselves."""


async def attack(template: "Template", source: Path, count: int, options: dict[str, Any], as_json: bool) -> None:
    """Attack the template on `count` rows of the file, tell what came of it and keep it."""
    from assistant.tasks.attacking import Siege, drawn
    from assistant.tasks.evaluation import check
    from assistant.tasks.rows import InputUnreadable, rows

    labelled = list(rows(source))
    check(template, labelled, str(source))
    chosen = drawn(labelled, count, options["seed"])
    if not chosen:
        raise InputUnreadable(f"{source} holds no rows.")
    if any(row.get(options["column"]) is None for row in chosen):
        known = ", ".join(chosen[0])
        raise InputUnreadable(f"{source} has no {options['column']!r}, but {known}. Name the column of inputs.")
    async with opened_task(template, options) as task:
        siege = Siege(task, chosen, options["calibration"], options["seed"], fitted_calibration(task, options))
        with progress_bar() as progress:
            await siege.run(progress)
    report = _report(siege)
    compared = _kept(siege, source, options, report)
    if as_json:
        before = compared and compared.as_dict()
        who = {"template": template.name, "model": task.model, "adapter": task.adapter}
        print_json({**report, **who, "before": before})
        return
    _show(siege)
    if compared:
        click.echo(f"\n{compared}")


def _kept(siege: "Siege", source: Path, options: dict[str, Any], report: dict[str, Any]) -> "Comparison | None":
    """Each row's share of attacks that changed nothing is kept as the measure `robustness`."""
    from assistant.store.template_tests import TemplateTest
    from assistant.tasks.testing import settings_of

    task = siege.task
    how = {"calibration": siege.method, **settings_of(task, asked_for(options))}
    which = hashlib.sha256(source.read_bytes() + f"{siege.seed} {len(siege.rows)}".encode()).hexdigest()
    what = (task.template.name, task.template.hash, task.model, task.adapter, how, source.name, which)
    return keep(TemplateTest(*what, "robustness", siege.kept(), report))


def _report(siege: "Siege") -> dict[str, Any]:
    kept = siege.kept()
    return {
        "items": len(siege.rows),
        "seed": siege.seed,
        "calibration": siege.method,
        "measure": siege.main,
        "clean": sum(siege.clean) / len(siege.clean),
        "robustness": sum(kept) / len(kept),
        "families": [dataclasses.asdict(one) for one in siege.effects()],
        "attacks": [{**dataclasses.asdict(one), "pattern": attack.pattern} for attack, one in siege.single()],
    }


def _show(siege: "Siege") -> None:
    main = siege.main.replace("_", " ")
    task = siege.task
    click.echo(
        f"{task.template.name} with {task.speaker.id(task.model)}: {counted(len(siege.rows), 'item')}, "
        f"{len(siege.trials):,} trials; {main} untouched {sum(siege.clean) / len(siege.clean):.3f}\n"
    )
    changes = {trial.attack.family for trial in siege.trials if not trial.attack.pattern}
    together = [one for kind in (False, True) if (one := siege.all_of(kind))]
    rows = [_row(one, one.name not in changes | {"all changes"}) for one in [*siege.effects(), *together]]
    print_table(rows, ["attack", "trials", "flips", "obeyed", f"{main} against untouched (95 % interval)"])
    orders = [(attack, one) for attack, one in siege.single() if attack.pattern and one.flipped]
    if orders:
        click.echo("\nOrders that changed most answers:")
        for attack, one in sorted(orders, key=lambda pair: -pair[1].flipped)[:WORST]:
            shown = " ".join(attack.pattern.split()).replace("\u200b", "")
            click.echo(f"  {one.flipped:>4.0%}  {attack.name}: {shown[:70]}{'…' if len(shown) > 70 else ''}")


def _row(one: "Effect", order: bool) -> list[str]:
    from assistant.tasks.comparison import Difference

    obeyed = f"{one.obeyed:.0%}" if order else ""
    changed = Difference(one.difference, one.low, one.high)
    return [one.name, f"{one.trials:,}", f"{one.flipped:.0%}", obeyed, str(changed)]
