"""`assistant prompts optimize`: a better template, searched for on labelled rows."""

import asyncio
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.output import as_json, counted, print_json
from assistant.cli.shot_options import NONE_SAID
from assistant.cli.task_options import find_template, model_options, opened_task
from assistant.errors import AssistantError
from assistant.paths import Paths

if TYPE_CHECKING:
    from assistant.tasks.optimizing import Optimization
    from prompts.optimize import Found
    from prompts.template import Template


@click.command("optimize")
@click.argument("template")
@click.option("-d", "--data", default="", help="A .jsonl or .csv file. [default: the set beside the template]")
@click.option("--budget", default=200, type=click.IntRange(1), help="Calls of the model, all told.", show_default=True)
@click.option("--out", default="", help="The new file. [default: NAME-optimized.md among your templates]")
@click.option("--seed", default=0, help="Of all that is drawn by chance.", show_default=True)
@click.option(
    "--calibration", type=click.Choice(["batch", "none"]), default="batch", help="Of probabilities.", show_default=True
)
@model_options
@as_json
def optimize(template: str, data: str, budget: int, out: str, as_json: bool, **options: Any) -> None:
    """Search for a better template on labelled rows.

    Instructions (in the model's own words and from a bank), examples and their order, the words of the classes and
    reasoning are tried on one part of the rows. A second part chooses, a third is looked at once: it tells how good
    the new template is. It is written where the second part finds it better, with how it came about.
    """
    from assistant.tasks.testing import set_beside

    found = find_template(template)
    target = _target(found, out)
    source = Path(data) if data else set_beside(found)
    run, result = asyncio.run(_search(found, source, budget, options))
    lineage = _lineage(run, result, source)
    if result.improved:
        _write(result.chosen.template, lineage, target, source)
    if as_json:
        print_json({**lineage, "improved": result.improved, "file": str(target) if result.improved else None})
        return
    _tell(found, run, lineage)
    if result.improved:
        click.echo(f"written: {target}")


async def _search(
    template: "Template", source: Path, budget: int, options: dict[str, Any]
) -> "tuple[Optimization, Found]":
    from assistant.tasks.evaluation import check
    from assistant.tasks.optimizing import Optimization
    from assistant.tasks.rows import rows

    labelled = list(rows(source))
    check(template, labelled, str(source))
    async with opened_task(template, {**NONE_SAID, **options}) as task:
        run = Optimization(task, labelled, budget, options["seed"], options["calibration"])
        return run, await run.run(lambda line: click.echo(line, err=True) if sys.stderr.isatty() else None)


def _target(template: "Template", out: str) -> Path:
    """The file to write. Raises `AssistantError` before anything is asked."""
    from prompts.template import NAME

    path = Path(out) if out else Paths.from_environment().create().templates / f"{template.name}-optimized.md"
    if path.suffix != ".md" or not NAME.fullmatch(path.stem):
        raise AssistantError(f"{path}: name the file with small letters, digits and hyphens, and .md at its end.")
    if path.exists():
        raise AssistantError(f"{path} is there already. Name another file: --out FILE.")
    if not path.parent.is_dir() and out:
        raise AssistantError(f"{path.parent} is no folder. Make it first.")
    return path


def _lineage(run: "Optimization", found: "Found", source: Path) -> dict[str, Any]:
    """Where the template comes from and how good it was, as its file tells it."""
    from prompts.metrics import paired
    from prompts.optimize import about

    task, parts = run.task, run.parts
    told: dict[str, Any] = {
        "parent": task.template.name,
        "parent_hash": task.template.hash,
        "data": source.name,
        "data_hash": hashlib.sha256(source.read_bytes()).hexdigest(),
        "model": task.model,
        **({"adapter": task.adapter} if task.adapter else {}),
        "seed": run.seed,
        "budget": run.budget,
        "calls": run.judge.calls,
        "changes": about(found.chosen.moves),
        "train": {"rows": len(parts.train)},
        "validation": {"rows": len(parts.validation), "before": round(found.before, 4), "after": round(found.after, 4)},
    }
    if found.test_after:
        gain, low, high = paired(found.test_before, found.test_after, run.seed)
        before, after = (sum(some) / len(some) for some in (found.test_before, found.test_after))
        scores = {"before": before, "after": after, "difference": gain, "low": low, "high": high}
        told["test"] = {"rows": len(parts.test), **{name: round(value, 4) for name, value in scores.items()}}
    return told


def _write(template: "Template", lineage: dict[str, Any], target: Path, source: Path) -> None:
    from prompts.rewriting import rewritten

    data = source.name if source.parent.resolve() == target.parent.resolve() else None
    made = rewritten(template, name=target.stem, more={"data": data, "lineage": lineage})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(made.text)
    except OSError as error:
        raise AssistantError(f"{target} can't be written: {error.strerror}. The template is:\n{made.text}") from error


def _tell(template: "Template", run: "Optimization", lineage: dict[str, Any]) -> None:
    from assistant.tasks.comparison import Difference

    parts, validation = run.parts, lineage["validation"]
    split = f"{counted(len(parts.train), 'row')} to learn from, {len(parts.validation)} to choose by"
    calls = f"{run.judge.calls:,} of {run.budget:,} calls"
    click.echo(
        f"{template.name} with {run.task.speaker.id(run.task.model)}: {split}, {len(parts.test)} to test on; {calls}"
    )
    if "test" not in lineage:
        click.echo(f"Nothing was better than the template as it is ({validation['before']:.3f} in validation).")
        return
    test = lineage["test"]
    gain = Difference(test["difference"], test["low"], test["high"])
    click.echo(f"changed     {lineage['changes']}")
    click.echo(f"validation  {validation['before']:.3f} before, {validation['after']:.3f} after, the best of several")
    click.echo(f"test        {test['before']:.3f} before, {test['after']:.3f} after: {gain}: {gain.verdict}")
