"""Few-shot accuracy by the choice of examples, on the library's labelled sets, with the default model.

python -m benchmarks.prompts [TEMPLATE ...] [--shots 4]

Examples of `random` and `nearest` are other rows of the set, never the input itself. Probabilities are calibrated by
the set (`batch`). "own" is the template's own examples. The interval is of nearest minus none, paired.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Sequence

from assistant.adapters.speakers import BASE
from assistant.cli.shot_options import NONE_SAID, opened_shots
from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tasks.evaluation import TRUTH, evaluate
from assistant.tasks.rows import rows
from assistant.tasks.task import Task
from benchmarks.cold_start import new_home
from prompts.library import Library
from prompts.metrics import paired
from prompts.template import Template

AT_ONCE = 4


async def measured(client: Client, template: Template, shots: int, choose: str, examples: str) -> list[float]:
    """1 for each row that is right, else 0."""
    options = {**NONE_SAID, "shots": shots, "choose": choose, "examples": examples, "column": "input"}
    chosen = await opened_shots(template, client, catalogue.DEFAULT, Settings(), options)
    task = Task(client, template, catalogue.DEFAULT, BASE, Sampling(temperature=0), {}, shots=chosen)
    assert template.data is not None
    labelled = list(rows(template.data))
    free = asyncio.Semaphore(AT_ONCE)

    async def ask(row: dict[str, str]) -> dict[str, object]:
        async with free:
            return await task.ask(row)

    outcomes = await asyncio.gather(*map(ask, labelled))
    calibrations = await task.calibration("batch", outcomes)
    said = [row | task.predict(row, outcome, calibrations) for row, outcome in zip(labelled, outcomes, strict=True)]
    return evaluate(template, said, "input").values


async def run(paths: Paths, names: Sequence[str], shots: int) -> None:
    templates = [one for one in Library(None).templates() if TRUTH[one.kind] == "label" and not one.reasoning]
    async with Client(paths, Settings()) as client:
        print(f"{'':20} none   own  random nearest   nearest - none")
        better = 0
        for template in [one for one in templates if not names or one.name in names]:
            pool = str(template.data)
            none = await measured(client, template, 0, "first", "")
            own = await measured(client, template, len(template.examples), "first", "")
            drawn = await measured(client, template, shots, "random", pool)
            near = await measured(client, template, shots, "nearest", pool)
            better += sum(near) > sum(none)
            difference, low, high = paired(none, near)
            means = "  ".join(f"{sum(some) / len(some):.2f}" for some in (none, own, drawn, near))
            print(f"{template.name:20} {means}    {difference:+.2f} ({low:+.2f} to {high:+.2f})", flush=True)
        print(f"nearest is above none on {better}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("templates", nargs="*")
    parser.add_argument("--shots", type=int, default=4)
    given = parser.parse_args()
    with new_home() as paths:
        os.environ["ASSISTANT_HOME"] = str(paths.data.parent)
        print(f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f}, {given.shots} shots")
        asyncio.run(run(paths, given.templates, given.shots))


if __name__ == "__main__":
    main()
