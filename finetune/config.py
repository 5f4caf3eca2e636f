"""Settings of a training. Every field's docstring is its documentation: `finetune train --help` prints it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from assistant.errors import TrainingRefused

Method = Literal["lora", "rslora", "dora", "adalora", "qlora", "ia3", "prefix", "prompt", "top-layers", "full"]
METHODS: tuple[str, ...] = get_args(Method)
TRACKERS = ("tensorboard", "wandb")
Objective = Literal["auto", "supervised", "dpo", "kto", "label", "entities"]
Optimizer = Literal["adamw", "sgd", "adafactor"]
Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"]
Precision = Literal["auto", "bfloat16", "float32", "bf16", "fp32"]

FORGETTING_LIMIT = 0.01
"""Largest relative increase of the perplexity on general text with which an adapter may be promoted."""

MOST_REPLAY = 0.9
"""Largest share of a training's tokens that may be replayed; the rest is for new examples."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one training; the dataset and the model are given separately."""

    method: Method = "lora"
    """Which weights are trained: a low-rank adapter (`lora`, `rslora`, `dora`, `adalora`, `qlora`), `ia3`, `prefix` or
    `prompt` tokens, the model's `top-layers`, or all its weights (`full`). The default needs the least memory for its
    quality."""
    objective: Objective = "auto"
    """`supervised` (imitate replies), `dpo` (prefer one reply to another), `kto` (single ratings), `label` (choose the
    class), `entities` (mark spans); `auto`: the objective that the dataset's kind is made for."""
    assistant_only_loss: bool = False
    """Learn the replies only. Off by default: the user's turns before them are more text to adapt to."""
    rank: int = 16
    """Rank of a low-rank adapter, or number of prefix or prompt tokens. 16 holds a log of some thousand replies."""
    alpha: float = 0.0
    """Scale of a low-rank adapter; 0: twice its rank, so that the learning rate suits every rank."""
    layers: int = 4
    """Number of last layers that `top-layers` trains; few, so that their optimiser state fits beside the model."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers that get an adapter; none given: all of them except the output head."""
    learning_rate: float = 0.0
    """Peak learning rate; 0: chosen by the method and the model's width, as the best rate depends on both."""
    epochs: float = 0.0
    """Passes over the training part; 0: two, or at most three with a budget."""
    steps: int = 0
    """Number of optimiser steps; 0: as many as the epochs need."""
    budget_minutes: float = 0.0
    """Time limit in minutes, which the learning-rate schedule is planned for; 0: no limit."""
    tokens_per_step: int = 0
    """Tokens of one optimiser step over all processes; 0: from 1,024 in a short training to 4,096 in a long one, so
    that there are at least 200 steps where possible."""
    tokens_at_once: int = 0
    """Tokens of one forward pass, a part of a step; 0: 2,048 on a CPU, 8,192 on a GPU, fewer if memory runs out."""
    block_tokens: int = 0
    """Longest row in tokens; longer conversations are cut into windows. 0: 3,072, or the model's context if shorter."""
    optimizer: Optimizer = "adamw"
    """`adamw`, the usual choice; `adafactor` needs less optimiser state for each trained weight, `sgd` none."""
    schedule: Schedule = "cosine"
    """Learning rate after the warm-up: `cosine` or `linear` decay, `constant`, or another schedule of transformers."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises from 0; 0.05 avoids a large first step."""
    weight_decay: float = 0.0
    """Share of each trained weight removed by a step, times the learning rate; 0, as adapters stay small without it."""
    dropout: float = 0.0
    """Dropout probability on a low-rank adapter's input; 0, as early stopping limits overfitting."""
    clip: float = 1.0
    """Largest norm of the gradient, which is scaled down to it; 1 is the usual limit. 0: none."""
    beta: float = 0.1
    """How strongly DPO and KTO keep the model near its base: a higher value, a smaller change. 0.1 as in the papers."""
    checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third slower."""
    precision: Precision = "auto"
    """Number format of the base's weights and the activations: `bfloat16` (or `bf16`), `float32` (or `fp32`); `auto`:
    bfloat16 where the machine multiplies faster in it."""
    replay_share: float = 0.4
    """Share of the tokens replayed from earlier datasets when the training starts from an adapter (`--from`), against
    forgetting; 0: none."""
    general_share: float = 0.0
    """Share of the tokens from general text, against forgetting; 0: a tenth from an adapter, none from the base."""
    seed: int = 0
    """Seed of the data order and of the adapter's first weights. The same seed repeats a training exactly."""
    validate_every: int = 0
    """Steps between two measurements of the validation loss; 0: eight measurements in all."""
    patience: int = 3
    """Validation measurements without improvement after which the training stops; 3, as they are noisy. 0: never."""
    trackers: tuple[str, ...] = ()
    """`tensorboard`, `wandb` or both record the training in the run's folder. W&B stays offline unless WANDB_MODE says
    otherwise."""

    def __post_init__(self) -> None:
        """Raise `TrainingRefused` for a value out of range or an unknown name."""
        for name, lowest in _LOWEST.items():
            if getattr(self, name) < lowest:
                raise TrainingRefused(f"{name} must be at least {lowest}, not {getattr(self, name)}.")
        for name, kind in (
            ("method", Method),
            ("objective", Objective),
            ("optimizer", Optimizer),
            ("schedule", Schedule),
            ("precision", Precision),
        ):
            if getattr(self, name) not in get_args(kind):
                raise TrainingRefused(
                    f"{name} {getattr(self, name)!r} is unknown. There are: {', '.join(get_args(kind))}."
                )
        if unknown := [one for one in self.trackers if one not in TRACKERS]:
            raise TrainingRefused(f"tracker {unknown[0]!r} is unknown. There are: {', '.join(TRACKERS)}.")
        if not 0 <= self.dropout < 1 or not 0 <= self.warmup <= 1:
            raise TrainingRefused("dropout and warmup are shares from 0 to 1.")
        if min(self.replay_share, self.general_share) < 0 or self.replay_share + self.general_share > MOST_REPLAY:
            raise TrainingRefused(
                f"replay_share and general_share must be at least 0 and together at most {MOST_REPLAY}, not "
                f"{self.replay_share} and {self.general_share}."
            )

    @property
    def changes_base(self) -> bool:
        """Whether the base's own weights are trained, so that the result is changed weights and not an adapter."""
        return self.method in ("top-layers", "full")

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "TrainConfig":
        """Read what `as_json` wrote. Unknown fields, from other versions, are ignored."""
        known = {one.name for one in dataclasses.fields(cls)}
        values: dict[str, Any] = {name: value for name, value in fields.items() if name in known}
        for name in ("targets", "trackers"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    def as_json(self) -> dict[str, Any]:
        """The settings as plain JSON."""
        return dataclasses.asdict(self)


_LOWEST = {
    "rank": 1,
    "alpha": 0,
    "layers": 1,
    "learning_rate": 0,
    "epochs": 0,
    "steps": 0,
    "budget_minutes": 0,
    "tokens_per_step": 0,
    "tokens_at_once": 0,
    "block_tokens": 0,
    "weight_decay": 0,
    "clip": 0,
    "beta": 0,
    "validate_every": 0,
    "patience": 0,
}
