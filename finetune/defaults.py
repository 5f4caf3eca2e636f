"""Default settings, chosen by the model's size, the method, the data and the budget.

docs/settings.md has the measurements behind the constants.
"""

from dataclasses import replace

from finetune.config import TrainConfig

LOW_RANK = ("lora", "rslora", "dora", "adalora", "qlora")
LORA_RATE, LORA_WIDTH, WIDTH_EXPONENT = 1e-3, 576, 0.78
"""Learning rate of a low-rank adapter at a reference width, and the exponent by which it falls with the width. The
exponent is that of the Llama family in Schulman et al., LoRA Without Regret, 2025 (thinkingmachines.ai/blog/lora)."""
RATES = {"ia3": 5e-3, "prefix": 1e-2, "prompt": 1e-2}
FULL_SHARE = 0.1
"""Learning rate of the model's own weights, relative to a low-rank adapter's (the same source)."""
COMPARED_RATE = 2e-4
"""Learning rate of a low-rank adapter where replies are compared (DPO, KTO, labels): a step changes more there."""
HEAD_RATE = 1e-3
"""Learning rate with an entity head, whose weights begin at zero."""

FEWEST_STEPS = 200
"""Smallest number of steps, as long as each has at least FEWEST_TOKENS_PER_STEP."""
FEWEST_TOKENS_PER_STEP, MOST_TOKENS_PER_STEP = 1024, 4096

EPOCHS, MOST_EPOCHS = 2.0, 3.0
"""Passes over the training part without a budget, and the most with a budget."""


def suited(config: TrainConfig, width: int, objective: str) -> TrainConfig:
    """`config` with a learning rate, if it has none. `width`: of the model's hidden states."""
    return config if config.learning_rate else replace(config, learning_rate=_rate(config, width, objective))


def _rate(config: TrainConfig, width: int, objective: str) -> float:
    if objective == "entities":
        return HEAD_RATE
    if config.method in RATES:
        return RATES[config.method]
    usual = LORA_RATE if objective == "supervised" else COMPARED_RATE
    wide = usual * (LORA_WIDTH / width) ** WIDTH_EXPONENT
    return float(f"{wide * (1 if config.method in LOW_RANK else FULL_SHARE):.2g}")


def epochs(config: TrainConfig) -> float:
    """Passes over the training part. With a budget it is an upper limit: early stopping ends the training."""
    return config.epochs or (MOST_EPOCHS if config.budget_minutes else EPOCHS)


def tokens_per_step(config: TrainConfig, tokens: int) -> int:
    """Tokens of one step, a power of two, for a training of `tokens` tokens in all."""
    if config.tokens_per_step:
        return config.tokens_per_step
    suits = FEWEST_TOKENS_PER_STEP
    while suits < MOST_TOKENS_PER_STEP and tokens >= 2 * suits * FEWEST_STEPS:
        suits *= 2
    return suits
