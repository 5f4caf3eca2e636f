"""How often `assistant prompts optimize` finds a better template, on the built-in labelled sets.

Each line has the score on the validation part, by which the template was chosen, and on the test part, used once.

python -m benchmarks.optimize [--budget 200] [--seeds 1] [NAME ...]
"""

import argparse
import asyncio
import os
import time

from assistant.adapters.speakers import BASE
from assistant.cli.shot_options import NONE_SAID, opened_shots
from assistant.client import Client
from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tasks.optimizing import Optimization
from assistant.tasks.rows import rows
from assistant.tasks.task import Task, task_sampling
from benchmarks.cold_start import new_home
from prompts.library import Library
from prompts.metrics import paired
from prompts.optimize import BudgetTooSmall, Found, about
from prompts.template import Template


async def optimized(paths: Paths, template: Template, budget: int, seed: int) -> tuple[Optimization, Found]:
    assert template.data is not None
    async with Client(paths, Settings()) as client:
        shots = await opened_shots(template, client, catalogue.DEFAULT, Settings(), NONE_SAID)
        sampling = task_sampling(template, {})
        task = Task(client, template, catalogue.DEFAULT, BASE, sampling, {}, shots=shots)
        run = Optimization(task, list(rows(template.data)), budget, seed)
        return run, await run.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    chosen = [one for one in Library(None).templates() if one.labels and (not asked.names or one.name in asked.names)]
    differences, improved, runs = [], 0, 0
    print(f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f}, budget {asked.budget}")
    with new_home() as paths:
        for template in chosen:
            for seed in range(asked.seeds):
                began_s = time.perf_counter()
                runs += 1
                try:
                    run, found = asyncio.run(optimized(paths, template, asked.budget, seed))
                except BudgetTooSmall as error:
                    print(f"{template.name:<20} seed {seed}  {error}", flush=True)
                    continue
                took_s = time.perf_counter() - began_s
                improved += found.improved
                test = ""
                if found.test_after:
                    gain, low, high = paired(found.test_before, found.test_after)
                    test = f"test {gain:+.3f} ({low:+.3f} to {high:+.3f})"
                # one value a row, 0 if nothing was chosen: the expected gain of a user who accepts the result
                differences += [b - a for a, b in zip(found.test_before, found.test_after, strict=True)] or [0.0] * len(
                    run.parts.test
                )
                print(
                    f"{template.name:<20} seed {seed}  {run.judge.calls:>3} calls {took_s:>4.0f} s  validation "
                    f"{found.before:.3f} -> {found.after:.3f}  {test:<34} {about(found.chosen.moves)[:90]}",
                    flush=True,
                )
    gain, low, high = paired([0.0] * len(differences), differences)
    print(
        f"better in validation: {improved} of {runs}; test, all rows together: {gain:+.3f} ({low:+.3f} to {high:+.3f})"
    )


if __name__ == "__main__":
    main()
