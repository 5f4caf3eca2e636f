"""A training in plain words: its method, its plan, how it goes, and how two of them differ."""

from collections.abc import Mapping
from typing import Any

from assistant.cli.output import counted, human_bytes
from assistant.store.runs import Run
from assistant.tui.model_rows import duration
from assistant.tui.training.course import Course
from finetune.config import TrainConfig
from finetune.progress import Planned

METHODS = {
    "lora": "LoRA",
    "rslora": "rsLoRA",
    "dora": "DoRA",
    "adalora": "AdaLoRA",
    "qlora": "QLoRA",
    "adapter": "bottleneck adapters",
    "ia3": "IA3",
    "prefix": "prefix tuning",
    "prompt": "prompt tuning",
    "top-layers": "the last layers",
    "full": "all weights",
}
_WITH_RANK = ("lora", "rslora", "dora", "adalora", "qlora")


def how(config: TrainConfig) -> str:
    """`LoRA, rank 16, all layers`."""
    if config.method in _WITH_RANK:
        return f"{METHODS[config.method]}, rank {config.rank}, {' '.join(config.targets) or 'all layers'}"
    return f"the last {config.layers} layers" if config.method == "top-layers" else METHODS[config.method]


def method(config: TrainConfig) -> str:
    """`LoRA, rank 16, all layers · 2 epochs, ends early where it no longer helps`."""
    length = counted(config.steps, "step") if config.steps else f"{config.epochs:g} epochs"
    if config.epochs == 1 and not config.steps:
        length = "1 epoch"
    early = ", ends early where it no longer helps" if config.patience else ""
    return f"{how(config)} · {length}{early}"


def budget(config: TrainConfig) -> str:
    """`at most 10 min`."""
    return f"at most {duration(config.budget_minutes * 60)}" if config.budget_minutes else "as long as it takes"


def plan(planned: Planned) -> str:
    """`51,200 tokens in 150 steps · 4 min 10 s · 2.1 GB`."""
    return (
        f"{counted(planned.examples, 'example')} · {counted(planned.tokens, 'token')} in "
        f"{counted(planned.steps, 'step')} · about {duration(planned.seconds)} · {human_bytes(planned.memory_bytes)}"
    )


def progress(course: Course) -> list[str]:
    """What is told while it runs: step, speed, time left, memory."""
    last = course.last
    if last is None:
        return []
    return [
        f"step {last.step:,} of {last.steps:,}",
        f"{last.tokens_per_s:,.0f} tok/s",
        f"{duration(last.seconds_left)} left",
        human_bytes(last.memory_bytes),
    ]


def held_out(result: Mapping[str, Any]) -> str:
    """The lowest held-out loss of a run, where it has one."""
    loss = result.get("validation_loss")
    return f"{loss:.2f}" if isinstance(loss, int | float) else ""


def outcome(run: Run, course: Course) -> list[str]:
    """What came of a run that has ended."""
    steps = max((step for step, _ in (*course.curves.train,)), default=0)
    told = [counted(steps, "step")] if steps else []
    if run.ended_ms is not None and steps:
        told.append(duration((run.ended_ms - run.created_ms) / 1000))
    best = min((loss for _, loss in course.curves.held_out), default=None)
    return told if best is None else [*told, f"best held-out loss {best:.2f}"]


def differences(run: Run, before: Run) -> list[str]:
    """What is set otherwise than in the run before it, such as `rank 16 → 32`."""
    told = [] if run.dataset_hash == before.dataset_hash else ["other data"]
    told += [] if run.model == before.model else [f"{before.model} → {run.model}"]
    names = [one for one in {**before.config, **run.config} if before.config.get(one) != run.config.get(one)]
    return told + [f"{_spaced(one)} {_value(before.config, one)} → {_value(run.config, one)}" for one in names]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _value(config: Mapping[str, Any], name: str) -> str:
    value = config.get(name, "unset")
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
