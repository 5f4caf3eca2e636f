"""`assistant prompts test`: how good a template is, on a labelled set."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.adapters.speakers import Speaker
from assistant.cli import prompts_attack
from assistant.cli.kept_tests import keep
from assistant.cli.options import progress_bar
from assistant.cli.output import as_json, print_json, print_table
from assistant.cli.shot_options import asked_for
from assistant.cli.task_options import find_template, opened_task, task_options

if TYPE_CHECKING:
    from assistant.store.template_tests import TemplateTest
    from assistant.tasks.evaluation import Evaluation
    from prompts.template import Template


@click.command("test")
@click.argument("template")
@click.option("-d", "--data", default="", help="A .jsonl or .csv file. [default: the set beside the template]")
@click.option("--attack", is_flag=True, help="Bend the inputs and count the answers that change.")
@click.option("--attack-rows", default=20, type=click.IntRange(1), help="Rows to attack.", show_default=True)
@task_options
@as_json
def test(template: str, data: str, attack: bool, attack_rows: int, as_json: bool, **options: Any) -> None:
    """Measure a template on a labelled set, and compare it with the test before.

    Rows have an `input`, and a `label` (of kinds label and score) or a `reference` (of the others). The result is kept,
    and the next test on the same set, of a changed template, another model or adapter, is compared with it in pairs.

    With --attack the rows are bent: typos, case, other words, options in another order, sentences that don't belong,
    and some forty orders to answer something else. It asks about 50 times for each row.
    """
    from assistant.tasks.testing import set_beside

    found = find_template(template)
    source = Path(data) if data else set_beside(found)
    if attack:
        asyncio.run(prompts_attack.attack(found, source, attack_rows, options, as_json))
        return
    result, evaluation = asyncio.run(_test(found, source, options))
    compared = keep(result)
    if as_json:
        told = {"template": result.template, "model": result.model, "adapter": result.adapter, "data": result.data}
        main = {"value": evaluation.value, "low": evaluation.low, "high": evaluation.high}
        print_json(
            {
                **told,
                "items": len(result.values),
                **result.report,
                result.main: main,
                "before": compared and compared.as_dict(),
            }
        )
        return
    about = f"{result.template} with {Speaker(result.adapter).id(result.model)}"
    click.echo(f"{about}: {len(result.values):,} items of {result.data}")
    click.echo(
        f"{_words(result.main)} {evaluation.value:.3f} (95 % interval {evaluation.low:.3f} to {evaluation.high:.3f})"
    )
    _show(result.report, result.main)
    if compared:
        click.echo(f"\n{compared}")


async def _test(template: "Template", source: Path, options: dict[str, Any]) -> "tuple[TemplateTest, Evaluation]":
    from assistant.tasks import testing

    async with opened_task(template, options) as task:
        with progress_bar() as progress:
            return await testing.run(task, source, options["calibration"], progress, asked_for(options))


def _show(report: Mapping[str, Any], main: str) -> None:
    plain = {name: value for name, value in report.items() if not isinstance(value, dict | list) and name != main}
    click.echo(", ".join(f"{_words(name)} {value:.3f}" if isinstance(value, float) else f"{_words(name)} {value}"
                         for name, value in plain.items()))  # fmt: skip
    entities = report.get("entities", {})
    if entities:
        click.echo(", ".join(f"{name} {entities[name]:.3f}" for name in ("precision", "recall", "f1")))
    if per_class := report.get("per_class") or entities.get("per_class"):
        rows = [
            [name, *(f"{row[key]:.2f}" for key in ("precision", "recall", "f1-score")), f"{row['support']:.0f}"]
            for name, row in per_class.items()
        ]
        click.echo()
        print_table(rows, ["class", "precision", "recall", "F1", "items"])
    if confusion := report.get("confusion"):
        names = list(report["per_class"])
        click.echo()
        print_table(
            [[name, *map(str, row)] for name, row in zip(names, confusion, strict=True)], ["is \\ said", *names]
        )


def _words(name: str) -> str:
    return name.replace("_f1", " F1").replace("_", " ")
