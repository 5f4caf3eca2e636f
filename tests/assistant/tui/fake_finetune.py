"""A program in the place of `finetune` that trains nothing: the same lines, log and files, but steps that tests time.

`FAKE_STEP_S` is how long a step takes; a step named by `FAKE_FAIL_AT` fails.
"""

import os
import signal
import sys
import time
from itertools import pairwise

import click

from assistant.errors import StoreError
from assistant.paths import Paths
from assistant.store import adapters, datasets, runs
from assistant.store.database import open_database
from assistant.store.datasets import StoredExample
from finetune.config import TrainConfig
from finetune.progress import Ended, Paused, Planned, Stepped, Validated, as_line
from finetune.run_folder import PAUSE, STOP, RunFolder, only_training

STEPS = 40
MODEL = "smollm2-135m-instruct"


def main() -> None:
    paths, (action, *options) = Paths.from_environment(), sys.argv[1:]
    db = open_database(paths.database)
    given = dict(pairwise(options))
    if action == "data":
        examples = [StoredExample("train", number, None, f"{number:064d}", "{}") for number in range(12)]
        datasets.add(db, given["--name"], "supervised", "d" * 64, {"asked": options}, {}, examples)
        click.echo('{\n  "name": "' + given["--name"] + '"\n}')
    elif action == "train" and "--plan" in options:
        datasets.get(db, given["--data"])
        click.echo(as_line(planned("")))
    elif action == "train":
        with only_training(paths):
            train(db, paths, given)
    elif action == "eval":
        run = runs.get(db, options[0])
        measure = {
            "key": "perplexity",
            "name": "perplexity",
            "main": True,
            "relative": True,
            "base": 37.9,
            "adapted": 37.5,
        }
        measure |= {"difference": -0.01, "low": -0.03, "high": 0.01, "verdict": "unclear", "items": 9, "groups": 9}
        runs.add_evaluation(db, run.id, run.adapter_hash, {"measures": [measure]})
        click.echo('{"run": "' + run.name + '"}')
    elif action == "promote":
        run = runs.get(db, options[0])
        if "--anyway" not in options:
            sys.exit(
                "finetune: It is not shown to be better. To use it all the same: `finetune promote NAME --anyway`."
            )
        adapters.promote(db, run.adapter_hash, anyway=True, reasons="It is not shown to be better.")
        click.echo('{"model": "' + run.model + '"}')
    elif action == "rollback":
        adapters.roll_back(db, given["--model"])
        click.echo('{"adapter": ""}')


def planned(run: str) -> Planned:
    return Planned(run, 12, 3_400, 1_200, STEPS, 250.0, 2_100_000_000, 4_900_000)


def train(db, paths, given) -> None:  # type: ignore[no-untyped-def]
    if "--resume" in given:
        run = runs.get(db, given["--resume"])
    else:
        made = datasets.get(db, given["--data"])
        rank = int(given.get("--rank", 16))
        config = {"settings": TrainConfig(rank=rank).as_json(), "shape": {"steps": STEPS}}
        run = runs.add(db, made.name, made.id, made.hash, MODEL, "b" * 64, config)
    folder = RunFolder(paths, run.name).create()
    folder.want("")
    runs.set_state(db, run.id, "running")
    say(planned(run.name))
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    begin = max((step for step, _ in runs.points(db, run.id)), default=0)
    for step in range(begin + 1, STEPS + 1):
        if stopped(folder, step, asked):
            runs.set_state(db, run.id, "stopped")
            say(Ended(run.name, "stopped", step, "", "", "stopped"))
            return
        time.sleep(float(os.environ.get("FAKE_STEP_S", "0.01")))
        if str(step) == os.environ.get("FAKE_FAIL_AT"):
            runs.set_state(db, run.id, "failed", "The loss of example 3 is no number.")
            sys.exit("finetune: The loss of example 3 is no number.")
        loss = 4 - step / STEPS
        runs.add_point(db, run.id, step, {"loss": loss})
        say(Stepped(step, STEPS, loss, 1e-4, 1.0, 580.0, 200.0, 2_100_000_000, float(STEPS - step)))
        if step % 10 == 0:
            runs.add_point(db, run.id, step, {"validation_loss": loss + 0.2})
            say(Validated(step, loss + 0.2, best=True))
    hash_ = run.name.encode().hex().ljust(64, "0")
    (paths.adapters / run.name).mkdir(exist_ok=True)
    adapters.add(db, hash_, run.name, run.id, MODEL, "b" * 64, {})
    runs.set_result(db, run.id, {"seconds": 4.0, "validation_loss": 3.2, "reason": "finished"}, hash_)
    runs.set_state(db, run.id, "finished")
    say(Ended(run.name, "finished", STEPS, run.name, hash_, "finished"))
    click.echo('{\n  "run": "' + run.name + '"\n}')


def stopped(folder: RunFolder, step: int, asked: list[int]) -> bool:
    if folder.wanted == PAUSE:
        say(Paused(step))
    while folder.wanted == PAUSE:
        time.sleep(0.01)
    return folder.wanted == STOP or bool(asked)


def say(progress: object) -> None:
    click.echo(as_line(progress))  # type: ignore[arg-type]


if __name__ == "__main__":
    try:
        main()
    except StoreError as error:
        sys.exit(f"finetune: {error}")
