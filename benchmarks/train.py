"""How fast the default model is trained, beside TRL's SFTTrainer in the same run; and what a training does to it.

python -m benchmarks.train [--rounds 3] [--seconds 60] [--pairs 2000]     supervised tokens a second, peak memory
python -m benchmarks.train --quality [--minutes 3]                        held-out perplexity before and after

The 2,000 English pairs of the wheel chatterbot-corpus, LoRA of rank 16 on all linear layers, a reply's tokens
supervised. TRL has its defaults: batches of 8 padded to their longest, bfloat16, gradient checkpointing. Each runs in a
process of its own, which says its own peak memory. TRL is installed with `pip install -e '.[dev]'`.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.engine_runs import headline, model_path

RANK = 16


def pairs(count: int) -> list[tuple[str, str]]:
    """Questions and answers, in one order for ever."""
    import chatterbot_corpus

    found: list[tuple[str, str]] = []
    for file in sorted((Path(chatterbot_corpus.__file__).parent / "data" / "english").glob("*.yml")):
        conversations = yaml.safe_load(file.read_text(encoding="utf-8"))["conversations"]
        found += [(str(said[0]), str(said[1])) for said in conversations if len(said) >= 2]
    random.Random(0).shuffle(found)
    return found[:count]


def ours(count: int, for_s: float) -> None:
    """Train with what `finetune train` is made of, say speed and memory as JSON."""
    import torch
    from accelerate import Accelerator

    from assistant.engine.engine import default_threads
    from finetune import adapters, plan
    from finetune.config import TrainConfig
    from finetune.example import Example
    from finetune.lessons import lessons
    from finetune.model import Base, precision_of
    from finetune.run_folder import RunFolder
    from finetune.train import Trainer
    from prompts.message import Message

    torch.set_num_threads(default_threads())
    base, config, cpu = Base.open(model_path()), TrainConfig(rank=RANK, patience=0), torch.device("cpu")
    said = [Example((Message("user", a), Message("assistant", b)), frozenset({1})) for a, b in pairs(count)]
    learned = lessons("supervised", said, base.tokenizer_of_rows(), 0)
    shape = plan.shape(learned, config, cpu)
    torch.manual_seed(0)
    model = adapters.prepare(base.load(precision_of("auto", cpu), cpu), config, shape.steps, "base")
    objective = learned.learned([], config)
    folder: Any = RunFolder
    trainer = Trainer(Accelerator(cpu=True), model, config, shape, learned, objective, [], objective, folder)
    trainer.trainee.train()
    steps = plan.steps_of_blocks(learned, shape, 0, 0)
    trainer._step(next(steps))  # prepares the kernels
    began_s, supervised, tokens = time.monotonic(), 0, 0
    while time.monotonic() - began_s < for_s:
        blocks = next(steps)
        trainer._step(blocks)
        supervised += sum(len(block.targets) for block in blocks)
        tokens += sum(len(block.ids) for block in blocks)
    say(supervised, tokens, time.monotonic() - began_s)


def trl(count: int, for_s: float, folder: str) -> None:
    """Train with TRL's SFTTrainer and its defaults, say speed and memory as JSON."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from assistant.engine.engine import default_threads

    torch.set_num_threads(default_threads())
    rows = [
        {"prompt": [{"role": "user", "content": a}], "completion": [{"role": "assistant", "content": b}]}
        for a, b in pairs(count)
    ]
    seen = {"supervised": 0, "tokens": 0}
    begun: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ARG002
            if not begun:
                begun.append(time.monotonic())
                seen.update(supervised=0, tokens=0)
            elif time.monotonic() - begun[0] > for_s:
                control.should_training_stop = True
            return control

    config = SFTConfig(str(Path(folder) / "out"), use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True)
    trainer = SFTTrainer(
        folder,
        args=config,
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
    )
    step = trainer.training_step

    def counted(model: Any, inputs: Any, *rest: Any) -> Any:
        seen["supervised"] += int((inputs["labels"] != -100).sum())
        seen["tokens"] += (
            int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else inputs["labels"].numel()
        )
        return step(model, inputs, *rest)

    trainer.training_step = counted
    trainer.train()
    say(seen["supervised"], seen["tokens"], time.monotonic() - begun[0])


def say(supervised: int, tokens: int, took_s: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"supervised": supervised / took_s, "tokens": tokens / took_s, "peak": peak}))


def measured(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.train", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def as_hugging_face(folder: str) -> None:
    """The default model as TRL loads it."""
    import torch

    from finetune.model import Base

    base = Base.open(model_path())
    base.load(torch.bfloat16, torch.device("cpu")).save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)


def speed(rounds: int, for_s: float, count: int) -> None:
    headline()
    figures: dict[str, list[dict[str, float]]] = {"finetune": [], "TRL SFTTrainer": []}
    with tempfile.TemporaryDirectory() as folder:
        as_hugging_face(folder)
        for _ in range(rounds):
            shared = ["--seconds", str(for_s), "--pairs", str(count)]
            figures["finetune"].append(measured("--role", "ours", *shared))
            figures["TRL SFTTrainer"].append(measured("--role", "trl", "--folder", folder, *shared))
    median = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]} for name, runs in figures.items()
    }
    theirs = median["TRL SFTTrainer"]
    print(f"{'':<18}{'supervised/s':>14}{'ratio':>8}{'computed/s':>12}{'peak GB':>10}{'ratio':>8}")
    for name, one in median.items():
        rate, peak = one["supervised"] / theirs["supervised"], one["peak"] / theirs["peak"]
        speeds = f"{one['supervised']:>14.0f}{rate:>8.2f}{one['tokens']:>12.0f}"
        print(f"{name:<18}{speeds}{one['peak'] / 1e9:>10.2f}{peak:>8.2f}")


def quality(minutes: float, count: int) -> None:
    """A whole round by the commands, in a home of its own."""
    headline()
    with tempfile.TemporaryDirectory() as root:
        home = Path(root)
        models = home / "data" / "models"
        models.parent.mkdir(parents=True)
        models.symlink_to(model_path().parent, target_is_directory=True)
        file = home / "pairs.jsonl"
        rows = (
            {"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]} for a, b in pairs(count)
        )
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        environment = {**os.environ, "ASSISTANT_HOME": root}
        for arguments in (
            ["data", "--file", str(file), "--name", "corpus"],
            ["train", "--data", "corpus", "--budget", str(minutes)],
            ["eval", "corpus-1"],
        ):
            command = [sys.executable, "-m", "finetune", *arguments, "--json"]
            began_s = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            print(
                f"finetune {arguments[0]}: {time.monotonic() - began_s:.0f} s  {done.stdout.splitlines()[-1][:2000]}\n"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--role", choices=["ours", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "ours":
        ours(given.pairs, given.seconds)
    elif given.role == "trl":
        trl(given.pairs, given.seconds, given.folder)
    elif given.quality:
        quality(given.minutes, given.pairs)
    else:
        speed(given.rounds, given.seconds, given.pairs)
