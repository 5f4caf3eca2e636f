"""A program in the place of `finetune` that trains nothing: the same lines, log and files, but steps that tests time.

`FAKE_STEP_S` is how long a step takes; a step named by `FAKE_FAIL_AT` fails. The proof says what `FAKE_VERDICT` says,
in parts of `FAKE_PROOF_S` each.
"""

import os
import signal
import sys
import time
from itertools import pairwise

import click

from assistant.errors import StoreError
from assistant.paths import Paths
from assistant.store.database import open_database
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.datasets import StoredExample
from finetune.config import TrainConfig
from finetune.progress import Advanced, Ended, Paused, Planned, Stepped, Validated, as_line
from finetune.prove.objections import verdicts
from finetune.run_folder import PAUSE, STOP, RunFolder, only_training

STEPS = 40
COUNTED = (
    '{"used": 58, "left_out": {"failed": 1}, "words": "60 judged · 58 used · 1 failed · 1 skipped", '
    '"enough": "about 40 more rated replies to tell a 10 % gain from chance"}'
)
MODEL = "smollm2-135m-instruct"


def main() -> None:
    paths, (action, *options) = Paths.from_environment(), sys.argv[1:]
    db = open_database(paths.database)
    given = dict(pairwise(options))
    if action == "data" and "--count" in options:
        click.echo(COUNTED)
    elif action == "data":
        say(Advanced("reading the log", 6, 12, 1.0))
        examples = [StoredExample("train", number, None, f"{number:064d}", "{}") for number in range(12)]
        datasets.add(db, given["--name"], "supervised", "d" * 64, {"asked": options}, {}, examples)
        click.echo('{\n  "name": "' + given["--name"] + '"\n}')
    elif action == "train" and "--plan" in options:
        datasets.get(db, given["--data"])
        click.echo(as_line(planned("")))
    elif action == "train":
        with only_training(paths):
            name = train(db, paths, given)
        if name and "--prove" in options:
            prove(db, name)
        if name:
            click.echo('{\n  "run": "' + name + '"\n}')
    elif action == "eval":
        prove(db, options[0])
        click.echo('{"run": "' + options[0] + '"}')
    elif action == "promote":
        run = runs.get(db, options[0])
        if "--anyway" not in options and os.environ.get("FAKE_VERDICT", "unclear") != "better":
            sys.exit("finetune: It is not shown to be better.")
        adapters.promote(db, run.adapter_hash, anyway="--anyway" in options, reasons="It is not shown to be better.")
        click.echo('{"model": "' + run.model + '"}')
    elif action == "report":
        click.echo('{"file": "/runs/' + options[0] + '/report.html", "opened": false}')
    elif action == "rollback":
        adapters.roll_back(db, given["--model"])
        click.echo('{"adapter": ""}')


def planned(run: str) -> Planned:
    return Planned(run, 12, 3_400, 1_200, STEPS, 160.0, 2_100_000_000, 4_900_000)


def prove(db, name: str) -> None:  # type: ignore[no-untyped-def]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    run = runs.get(db, name)
    for part in ("loading the model", "test part", "general text"):
        say(Advanced(part, 40, 100, 12.0) if part == "test part" else Advanced(part))
        time.sleep(float(os.environ.get("FAKE_PROOF_S", "0")))
    verdict = os.environ.get("FAKE_VERDICT", "unclear")
    figures = {
        "unclear": {"adapted": 37.5, "difference": -0.01, "low": -0.03, "high": 0.01},
        "better": {"adapted": 23.5, "difference": -0.38, "low": -0.42, "high": -0.33},
    }[verdict]
    measure = {"key": "perplexity", "name": "perplexity", "main": True, "relative": True, "base": 37.9, **figures}
    measure |= {"verdict": verdict, "items": 9, "groups": 9}
    general = {**measure, "key": "forgetting", "name": "general text", "main": False, "base": 18.2, "adapted": 18.2}
    general |= {"difference": 0.0, "low": -0.01, "high": 0.01, "verdict": "unclear"}
    report = {"measures": [measure, general], "memorised": {"probes": 12, "canaries": 0, "leaked": []}}
    report["reasons"] = verdicts(report)
    runs.add_evaluation(db, run.id, run.adapter_hash, report)


def train(db, paths, given) -> str:  # type: ignore[no-untyped-def]
    """Name of the run; empty where it was stopped."""
    if "--resume" in given:
        run = runs.get(db, given["--resume"])
    else:
        made = datasets.get(db, given["--data"])
        rank = int(given.get("--rank", 16))
        config = {"settings": TrainConfig(rank=rank).as_json(), "shape": {"steps": STEPS}}
        if "--from" in given:
            config["start"] = {"adapter": given["--from"]}
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
            click.echo('{"run": "' + run.name + '"}')
            return ""
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
    return str(run.name)


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
