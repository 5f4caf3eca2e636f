"""A training in words: its method, its plan, its progress, and how two of them differ."""

from collections.abc import Mapping
from typing import Any

from assistant.cli.output import counted, duration, human_bytes
from assistant.store.training.datasets import Dataset
from assistant.store.training.runs import Run
from assistant.tui.jobs.course import Course
from finetune.cli.progress_output import expectation, parts
from finetune.config import TrainConfig
from finetune.defaults import epochs
from finetune.progress import Advanced, Expected, Planned, Progress

METHODS = {
    "lora": "LoRA",
    "rslora": "rsLoRA",
    "dora": "DoRA",
    "adalora": "AdaLoRA",
    "qlora": "QLoRA",
    "ia3": "IA3",
    "prefix": "prefix tuning",
    "prompt": "prompt tuning",
    "top-layers": "the last layers",
    "full": "all weights",
}
_WITH_RANK = ("lora", "rslora", "dora", "adalora", "qlora")


ENDS = {"early": "the loss no longer fell", "budget": "the time was up"}
"""Why a training ended before its last step."""


def settings(run: Run) -> TrainConfig:
    """The settings that a run was started with."""
    return TrainConfig.from_json(run.config.get("settings", {}))


def how(config: TrainConfig) -> str:
    """`LoRA, rank 16, all layers`."""
    if config.method in _WITH_RANK:
        return f"{METHODS[config.method]}, rank {config.rank}, {' '.join(config.targets) or 'all layers'}"
    return f"the last {config.layers} layers" if config.method == "top-layers" else METHODS[config.method]


def method(config: TrainConfig, start: str = "") -> str:
    """`LoRA, rank 16, all layers · up to 8 epochs`; the method is that of the adapter `start`, if there is one."""
    most = epochs(config)
    length = counted(config.steps, "step") if config.steps else f"{most:g} epoch{'' if most == 1 else 's'}"
    return f"{f'as {start}' if start else how(config)} · {'up to ' if config.patience else ''}{length}"


def start(adapter: str) -> str:
    """What a training goes on from. `adapter`: its name; empty: the base."""
    return f"{adapter}, in use · some of what it learned is replayed" if adapter else "the base model"


def budget(config: TrainConfig) -> str:
    """`at most 10 minutes`."""
    minutes = config.budget_minutes
    if not minutes:
        return "as long as it takes"
    hours = minutes >= 120 and minutes % 60 == 0
    amount = minutes / 60 if hours else minutes
    return f"at most {amount:g} {'hour' if hours else 'minute'}{'' if amount == 1 else 's'}"


def dataset(made: Dataset, size: int) -> str:
    """`mine · 412 examples in 180 conversations`."""
    told = f"{made.name} · {counted(size, 'example')}"
    if talks := made.statistics.get("conversations"):
        told += f" in {counted(talks, 'conversation')}"
    if places := made.statistics.get("personal_places"):
        told += f" · {counted(places, 'place')} of personal data replaced"
    return told


def plan(planned: Planned, config: TrainConfig) -> str:
    """`51,200 tokens in 150 steps · about 4 min 10 s · 2.1 GB`, and how many rows are cut for the context."""
    took = f"about {duration(planned.seconds)}"
    if 0 < config.budget_minutes * 60 < planned.seconds:
        took += f", cut to {config.budget_minutes:g} min"
    tokens, steps = counted(planned.tokens, "token"), counted(planned.steps, "step")
    cut = planned.shortened + planned.too_long
    told = f" · {counted(cut, 'row')} cut to the context" if cut else ""
    told += f" · {counted(planned.replayed, 'earlier example')} replayed" if planned.replayed else ""
    told += f" · deleted, not replayed: {planned.deleted}" if planned.deleted else ""
    return f"{tokens} in {steps} · {took} · {human_bytes(planned.memory_bytes)}{told}"


def progress(course: Course) -> list[str]:
    """While it runs: step, speed, time left, memory; or the part of the work before the first step."""
    last = course.last
    if last is None:
        return parts(course.advanced) if course.advanced else []
    return [
        f"step {last.step:,} of {last.steps:,}",
        f"{last.tokens_per_s:,.0f} tok/s",
        f"{duration(last.seconds_left)} left",
        human_bytes(last.memory_bytes),
    ]


def advanced(progress: Progress) -> str:
    """`reading the log · 40 % · 3 s left`; empty for another kind of progress."""
    return " · ".join(parts(progress)) if isinstance(progress, Advanced) else ""


def expected(progress: Progress) -> str:
    """`about 30,000 tokens in 30 steps, 25 s`; empty for another kind of progress."""
    return expectation(progress) if isinstance(progress, Expected) else ""


def held_out(result: Mapping[str, Any]) -> str:
    """The lowest held-out loss of a run, where it has one."""
    loss = result.get("validation_loss")
    return f"{loss:.2f}" if isinstance(loss, int | float) else ""


def ending(run: Run, course: Course) -> str:
    """`120 steps`, or `stopped early at 84 of 120 steps, the loss no longer fell`; empty before the first step."""
    done = max((step for step, _ in course.curves.train), default=0)
    if not done or done >= course.steps:
        return counted(done, "step") if done else ""
    why = ENDS.get(run.result.get("reason", ""), "")
    return f"stopped early at {done:,} of {counted(course.steps, 'step')}" + (f", {why}" if why else "")


def outcome(run: Run, course: Course) -> list[str]:
    """What came of a run that has ended."""
    told = [ended] if (ended := ending(run, course)) else []
    if seconds := run.result.get("seconds"):
        told.append(duration(seconds))
    if (best := min((loss for _, loss in course.curves.held_out), default=None)) is not None:
        told.append(f"held out {best:.2f}")
    return told


def differences(run: Run, before: Run) -> list[str]:
    """The settings that differ from those of the run before, such as `rank 16 → 32`."""
    told = [] if run.dataset_hash == before.dataset_hash else ["other data"]
    told += [] if run.model == before.model else [f"{before.model} → {run.model}"]
    was, now = settings(before).as_json(), settings(run).as_json()
    return told + [
        f"{name.replace('_', ' ')} {_value(was[name])} → {_value(value)}"
        for name, value in now.items()
        if value != was[name]
    ]


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
