"""What can be set of a training. Every field's docstring is its documentation: `finetune train --help` prints it."""

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
"""How much higher the perplexity of general text may get, relative."""

MOST_REPLAY = 0.9
"""Of the tokens of a step: the rest is left for what is new."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training, without what it is trained on."""

    method: Method = "lora"
    """What is trained beside or in the base: a low-rank adapter (`lora`, and its kin `rslora`, `dora`, `adalora`,
    `qlora`), `ia3`, `prefix` or `prompt` tokens, the `top-layers`, or all of it (`full`)."""
    objective: Objective = "auto"
    """`supervised` (say what was said), `dpo` (prefer one reply to another), `kto` (thumbs alone), `label` (name the
    class); `auto`: what the dataset is made for."""
    assistant_only_loss: bool = False
    """Learn the replies alone; else the question of each reply too, which says more of how people talk here."""
    rank: int = 16
    """Rank of a low-rank adapter; number of prefix or prompt tokens."""
    alpha: float = 0.0
    """Scale of a low-rank adapter; 0: twice its rank."""
    layers: int = 4
    """How many of the last layers `top-layers` trains."""
    targets: tuple[str, ...] = ()
    """Names of the linears that get an adapter; none: all of them but the head."""
    learning_rate: float = 0.0
    """0: what suits the method and the model's size."""
    epochs: float = 0.0
    """How often each example is seen; 0: twice, or with a budget up to three times."""
    steps: int = 0
    """Optimiser steps; 0: as many as the epochs make."""
    budget_minutes: float = 0.0
    """Stop after so many minutes; 0: no limit. The schedule of the learning rate is laid out for it."""
    tokens_per_step: int = 0
    """Tokens of one optimiser step, over all processes; 0: from 1,024 in a short training to 4,096 in a long one."""
    tokens_at_once: int = 0
    """Tokens of one forward pass, a part of a step; 0: 2,048 on a CPU, 8,192 on a GPU, fewer where memory runs out."""
    block_tokens: int = 0
    """Most tokens of a row: a longer conversation becomes windows. 0: 3,072."""
    optimizer: Optimizer = "adamw"
    """`adamw`; `adafactor` keeps less state for each trained number, `sgd` none."""
    schedule: Schedule = "cosine"
    """Course of the learning rate after the warm-up: falls as a `cosine` or in a line (`linear`), stays (`constant`),
    or another schedule of transformers."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.0
    """Share of each trained weight that a step takes away, times the learning rate; adapters are small without it."""
    dropout: float = 0.0
    """Of a low-rank adapter's input."""
    clip: float = 1.0
    """Largest norm of the gradient; 0: any."""
    beta: float = 0.1
    """Of DPO and KTO: how far the model may go from its base."""
    checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third slower."""
    precision: Precision = "auto"
    """Of the base's weights and the activations: `bfloat16` (or `bf16`), `float32` (or `fp32`); `auto`: bfloat16 where
    the machine multiplies faster in it."""
    replay_share: float = 0.4
    """Of the tokens that a training from an adapter (`--from`) reads, the share from the datasets behind the adapter,
    against forgetting; 0: none."""
    general_share: float = 0.0
    """The same of general text; 0: a tenth from an adapter, none from the base."""
    seed: int = 0
    """Of the order of the data and the first weights of an adapter. The same seed repeats a training exactly."""
    validate_every: int = 0
    """Steps between two looks at the validation loss; 0: ten looks in all."""
    patience: int = 3
    """Looks without a better validation loss after which the training ends; 0: never."""
    trackers: tuple[str, ...] = ()
    """`tensorboard`, `wandb` or both write the course of the training into the run's folder. W&B stays offline unless
    WANDB_MODE says otherwise."""

    def __post_init__(self) -> None:
        """Raise `TrainingRefused` for what makes no sense."""
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
                f"replay_share and general_share are shares from 0 to {MOST_REPLAY} together, not {self.replay_share} "
                f"and {self.general_share}."
            )

    @property
    def changes_base(self) -> bool:
        """Whether the model's own weights are trained: what comes of it is a model, not an adapter."""
        return self.method in ("top-layers", "full")

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "TrainConfig":
        """What `as_json` made. A field that is no longer known is left out."""
        known = {one.name for one in dataclasses.fields(cls)}
        values: dict[str, Any] = {name: value for name, value in fields.items() if name in known}
        for name in ("targets", "trackers"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
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
