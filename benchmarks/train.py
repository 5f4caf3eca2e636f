"""Training speed of the default model on conversations, compared with TRL's SFTTrainer at its fastest in the same run.

python -m benchmarks.train [--file FILE] [--rounds 3] [--tokens 60000]    tokens a second, peak memory, held-out loss
python -m benchmarks.train --quality [--file FILE] [--minutes 4]          the commands, from data to proof

FILE is a file for `finetune data --file`; default: the 30 conversations of tests/data. LoRA of rank 16 on all linear
layers, replies supervised, 2,048 tokens a step, the same learning rate and number of tokens for both. TRL packs
(best-fit decreasing) into rows of 1,024 tokens, one row a pass, computes in bfloat16, uses assistant_only_loss and
keeps its activations; this was its fastest setting of rows of 1,024 and 2,048 tokens, one, two and four a pass, with
and without autocast. Each runs in its own process, which reports its peak memory. Held-out loss is in nats per token,
computed by the same code for both adapters. TRL is installed with `pip install -e '.[dev]'`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.engine_runs import headline, model_path

RANK, TOKENS_PER_STEP, RATE = 16, 2048, 1e-3
CONVERSATIONS = Path(__file__).parents[1] / "tests" / "data" / "conversations.jsonl"
MARKED = (  # the default model's template, with what the assistant says marked for TRL
    "{% for message in messages %}"
    "{% if loop.first and message.role != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)


def parts(file: Path) -> tuple[list[Any], list[Any]]:
    """(training examples, held-out examples) of a file; a tenth of the conversations is held out."""
    from benchmarks.sweep import parts as split

    found = split(str(file), 0)
    return found["train"], found["test"] + found["validation"]


def ours(file: Path, tokens: int, folder: Path) -> None:
    """Train with `finetune train`'s code, save the adapter, print speed and memory as JSON."""
    import torch
    from accelerate import Accelerator

    from assistant.engine.engine import default_threads
    from finetune import plan
    from finetune.base import Base
    from finetune.config import TrainConfig
    from finetune.data.lessons import lessons
    from finetune.network import losses, trainable
    from finetune.network.trainee import precision_of
    from finetune.run_folder import RunFolder
    from finetune.train.trainer import Trainer

    torch.set_num_threads(default_threads())
    base, cpu = Base.open(model_path()), torch.device("cpu")
    config = TrainConfig(
        rank=RANK,
        patience=0,
        tokens_per_step=TOKENS_PER_STEP,
        learning_rate=RATE,
        schedule="constant",
        steps=tokens // TOKENS_PER_STEP,
    )
    learned = lessons("supervised", parts(file)[0], base.tokenizer_of_rows(), 0)
    shape = plan.shape(learned, config, cpu)
    torch.manual_seed(0)
    model = trainable.prepare(base.load(precision_of("auto", cpu), cpu), config, shape.steps, "base")
    objective = losses.objective(learned, [], config)
    run_folder: Any = RunFolder
    trainer = Trainer(Accelerator(cpu=True), model, config, shape, learned, objective, learned, objective, run_folder)
    trainer.trainee.train()
    began_s, supervised, computed = 0.0, 0, 0
    for number, blocks in zip(range(shape.steps), plan.steps_of_blocks(learned, shape, 0, 0), strict=False):
        trainer._step(blocks)
        if number == 0:  # warm-up of the kernels
            began_s = time.monotonic()
            continue
        supervised += sum(len(block.sources) for block in blocks)
        computed += sum(block.tokens for block in blocks)
    say(supervised, computed, time.monotonic() - began_s)
    trainable.save(model, folder)


def trl(file: Path, tokens: int, folder: Path, base: str) -> None:
    """Train with TRL's SFTTrainer, save the adapter, print speed and memory as JSON."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from assistant.engine.engine import default_threads

    torch.set_num_threads(default_threads())
    rows = [
        {"messages": [{"role": said.role, "content": said.content} for said in one.messages]} for one in parts(file)[0]
    ]
    seen = {"supervised": 0, "tokens": 0}
    begun: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ARG002
            if not begun:
                begun.append(time.monotonic())
                seen.update(supervised=0, tokens=0)
            return control

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = MARKED
    config = SFTConfig(
        str(folder / "out"),
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        bf16=True,
        packing=True,
        packing_strategy="bfd",
        max_length=1024,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=TOKENS_PER_STEP // 1024,
        assistant_only_loss=True,
        gradient_checkpointing=False,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_steps=tokens // TOKENS_PER_STEP,
        optim="adamw_torch_fused",
        weight_decay=0.0,
        logging_strategy="no",
    )
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, attn_implementation="sdpa"),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
    )
    step = trainer.training_step

    def counted(model: Any, inputs: Any, *rest: Any) -> Any:
        seen["supervised"] += int((inputs["labels"] != -100).sum())
        seen["tokens"] += inputs["labels"].numel()
        return step(model, inputs, *rest)

    trainer.training_step = counted
    trainer.train()
    say(seen["supervised"], seen["tokens"], time.monotonic() - begun[0])
    trainer.model.save_pretrained(folder)


def say(supervised: int, tokens: int, took_s: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"supervised": supervised / took_s, "tokens": tokens / took_s, "peak": peak}))


def measured(role: str, file: Path, tokens: int, folder: Path, base: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.train", "--role", role, "--file", str(file)]
    command += ["--tokens", str(tokens), "--folder", str(folder), "--base", base]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "loss": held_out(file, folder)}


def held_out(file: Path, folder: Path, most_tokens: int = 40_000) -> float:
    """Nats per supervised token of the held-out conversations under an adapter."""
    from finetune.base import Base
    from finetune.network.both import Both
    from finetune.prove.measures import rows_of_test

    base = Base.open(model_path())
    rows, items, tokens = rows_of_test("supervised", parts(file)[1], base.tokenizer_of_rows()).items, [], 0
    for item in rows:
        if tokens < most_tokens:
            items.append(item)
            tokens += sum(len(row.ids) for row in item)
    sums = Both.load(base, folder).sums(items)[1]
    return -sum(map(sum, sums)) / sum(row.supervised for item in items for row in item)


def as_hugging_face(folder: str) -> None:
    """Save the default model in the format that TRL loads."""
    import torch

    from finetune.base import Base

    base = Base.open(model_path())
    base.load(torch.bfloat16, torch.device("cpu")).save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)


def speed(file: Path, rounds: int, tokens: int) -> None:
    headline()
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}
    with tempfile.TemporaryDirectory() as root:
        base = str(Path(root) / "base")
        as_hugging_face(base)
        for number in range(rounds):
            for role, figures in runs.items():
                figures.append(measured(role, file, tokens, Path(root) / f"{role} {number}", base))
    medians = {
        role: {key: statistics.median(one[key] for one in made) for key in made[0]} for role, made in runs.items()
    }
    theirs = medians["trl"]
    print(f"{'':<16}{'supervised/s':>14}{'ratio':>8}{'computed/s':>12}{'peak GB':>10}{'ratio':>8}{'held-out loss':>16}")
    for role, name in (("ours", "finetune"), ("trl", "TRL SFTTrainer")):
        one = medians[role]
        rate, peak = one["supervised"] / theirs["supervised"], one["peak"] / theirs["peak"]
        speeds = f"{one['supervised']:>14.0f}{rate:>8.2f}{one['tokens']:>12.0f}"
        print(f"{name:<16}{speeds}{one['peak'] / 1e9:>10.2f}{peak:>8.2f}{one['loss']:>16.3f}")


def quality(file: Path, minutes: float) -> None:
    """Run all commands from data to proof, in a temporary home."""
    headline()
    with tempfile.TemporaryDirectory() as root:
        models = Path(root) / "data" / "models"
        models.parent.mkdir(parents=True)
        models.symlink_to(model_path().parent, target_is_directory=True)
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
            took_s, said = time.monotonic() - began_s, done.stdout.splitlines()[-1]
            print(f"finetune {arguments[0]}: {took_s:.0f} s  {said[:2000]}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=CONVERSATIONS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--role", choices=["ours", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--base", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "ours":
        ours(given.file, given.tokens, given.folder)
    elif given.role == "trl":
        trl(given.file, given.tokens, given.folder, given.base)
    elif given.quality:
        quality(given.file, given.minutes)
    else:
        speed(given.file, given.rounds, given.tokens)
