"""Estimate a training before torch is loaded, and refuse what is already known to fail.

The plan follows after the model is loaded and a step was measured. Loads no torch.
"""

import math
from dataclasses import replace
from statistics import median

from sqlite_utils import Database

from assistant.engine.hardware import machine
from assistant.engine.models import weight_files
from assistant.errors import TrainingRefused
from assistant.paths import Paths, cache_folder
from assistant.store.training import datasets, runs
from assistant.store.training.datasets import Dataset
from finetune import defaults, plan
from finetune.base import opened_folder
from finetune.config import TrainConfig
from finetune.plan import Measured, Shape
from finetune.progress import Expected
from finetune.run_folder import only_training

PASSES = 4
"""Floating-point operations for each frozen parameter and token: forward, and backward through the activations."""
OF_PRODUCTS = 0.4
"""Share of the speed of matrix products that a training reaches."""
CHARACTERS_A_TOKEN = 5
"""Characters of a stored example for each token, for datasets without token statistics."""
LEAST_BYTES = 2
"""Bytes of each parameter in bfloat16."""


def expected(db: Database, paths: Paths, dataset_name: str, model: str, config: TrainConfig) -> Expected:
    """Estimated size and duration of a training, by the dataset's statistics and this machine's known speed.

    Raises `TrainingRefused` if another training is running, nothing can be learned, the model can't be trained, or its
    weights alone exceed the memory; `StoreError` if there is no such dataset.
    """
    with only_training(paths):
        pass
    dataset = datasets.get(db, dataset_name)
    counts = datasets.counts(db, dataset.id)
    refuse_empty(dataset, counts["train"])
    parameters = sum(map(math.prod, weight_files.shapes(opened_folder(paths, model)).values()))
    _refuse_too_large(parameters)
    whole = round(defaults.epochs(config) * _tokens(db, dataset))
    per_step = defaults.tokens_per_step(config, whole)
    shape = Shape(0, 0, per_step, config.steps or max(1, round(whole / per_step)), 1)
    speed = _speed(db, model, config, parameters)
    if speed and config.budget_minutes:
        try:
            shape = plan.within_budget(shape, Measured(speed, 1.0), config)
        except TrainingRefused:  # decided only by a measured speed
            shape = replace(shape, steps=1)
    seconds = (1 + plan.LOOK_SHARE) * shape.steps * shape.tokens_per_step / speed if speed else None
    return Expected(counts["train"], shape.steps * shape.tokens_per_step, shape.steps, seconds)


def _tokens(db: Database, dataset: Dataset) -> float:
    """Estimated tokens of the training part."""
    counted, parts = dataset.statistics.get("tokens"), dataset.statistics.get("examples", {})
    if counted and parts:
        return float(counted * parts["train"] / sum(parts.values()))
    return sum(size for _, size, _, _ in datasets.sizes(db, dataset.id, "train")) / CHARACTERS_A_TOKEN


def refuse_empty(dataset: Dataset, examples: int) -> None:
    """Raise `TrainingRefused` for a dataset without examples in its training part."""
    if not examples:
        raise TrainingRefused(
            f"The dataset {dataset.name} has nothing in its training part for this model. Make it again with "
            "`finetune data`, from more conversations."
        )


def _refuse_too_large(parameters: int) -> None:
    here = machine.look()
    needed, free = LEAST_BYTES * parameters, max(here.free_ram_bytes, here.gpu_bytes)
    if needed > free:
        raise TrainingRefused(
            f"The model's weights alone take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Try a smaller "
            "model."
        )


def _speed(db: Database, model: str, config: TrainConfig, parameters: int) -> float:
    """Tokens a second: as in the last training of this model with this method, else by the speed of this CPU's matrix
    products; 0: unknown.
    """
    like = (one for one in runs.every(db) if one.model == model and one.config["settings"]["method"] == config.method)
    for run in like:
        if seen := [figures["tokens_per_s"] for _, figures in runs.points(db, run.id) if "tokens_per_s" in figures]:
            return median(seen)
    return by_products(parameters)


def by_products(parameters: int) -> float:
    """Tokens a second of a training, as this CPU's matrix products promise it; 0 where they weren't measured."""
    flops_per_s = machine.remembered_flops_per_s(cache_folder() / machine.SPEEDS)
    return OF_PRODUCTS * flops_per_s / (PASSES * max(1, parameters))
