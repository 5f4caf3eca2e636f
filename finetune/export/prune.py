"""Fewer layers: those are dropped that the model misses least, and what that costs and saves is told.

A layer's importance is measured, not guessed: the loss on the validation part without it. Dropped is the one that is
missed least, then the others are measured again, since two layers that are each dispensable may stand in for one
another (ShortGPT, https://arxiv.org/abs/2403.03853, finds most of the depth of a model to be like that).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from sqlite_utils import Database
from torch import nn

from assistant.engine import placement
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import datasets
from assistant.store.training.runs import Run
from finetune.base import Base, opened_base
from finetune.data.example import Example
from finetune.data.tokens import Row
from finetune.export import merge
from finetune.export.export import save_model, subject, vacant
from finetune.network.both import sums_of
from finetune.network.model import Trainee, device_of, precision_of
from finetune.prove.on_test import rows_of_test
from finetune.whole_folder import whole_folder

Items = Sequence[Sequence[Row]]
MEASURED_TOKENS = 2048
"""Of the validation part that importance is measured on."""
DECODED_TOKENS, TRIES = 24, 4


@dataclass(frozen=True, slots=True)
class Figures:
    """One state of the model. Speeds in tokens/s: of reading, and of greedy decoding."""

    layers: int
    parameters: int
    perplexity: float
    read_tokens_per_s: float
    decode_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """`dropped`: the layers by their place in the model as it was, in the order they went."""

    dropped: tuple[int, ...]
    before: Figures
    after: Figures

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def prune(
    db: Database,
    paths: Paths,
    dataset_name: str,
    model: str,
    count: int,
    out: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Pruned:
    """Write `model` without `count` of its layers into `out`, in bfloat16. Raises `TrainingRefused`."""
    out = vacant(out)
    base = opened_base(paths, model)
    layers = int(base.config.get_text_config(decoder=True).num_hidden_layers)
    if not 0 < count < layers:
        raise TrainingRefused(f"{model} has {layers} layers: from 1 to {layers - 1} can be dropped, not {count}.")
    validation, test = (_part(db, dataset_name, base, one) for one in ("validation", "test"))
    held = _loaded(base)
    before = figures(held, test)
    places, dropped = list(range(layers)), []
    for _ in range(count):
        place, loss = _least_missed(held, _some(validation))
        dropped.append(places.pop(place))
        drop(held, place)
        say(f"layer {dropped[-1] + 1} of {layers} goes: perplexity of the validation part {math.exp(loss):.2f}")
    after = figures(held, test)
    with whole_folder(out) as new:
        save_model(held.to(torch.bfloat16), base, new)
    return Pruned(tuple(dropped), before, after)


def retrained(db: Database, paths: Paths, run: Run, dataset_name: str) -> Figures:
    """Of a pruned model with what a run has trained on it."""
    about = subject(db, paths, run.name)
    model = merge.merged(merge.adapted(about.base, about.folder, device_of()))
    return figures(model.to(precision_of("auto", device_of())), _part(db, dataset_name, about.base, "test"))


def drop(model: Any, place: int) -> None:
    """Take one decoder layer out of a model of transformers, and out of its configuration."""
    decoder, config = model.get_decoder(), model.config.get_text_config(decoder=True)
    decoder.layers = _but(decoder.layers, place)
    for at, layer in enumerate(decoder.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = at  # where it finds its keys and values in the cache
    config.num_hidden_layers -= 1
    if kinds := getattr(config, "layer_types", None):
        config.layer_types = [kind for at, kind in enumerate(kinds) if at != place]


def figures(model: Any, items: Items) -> Figures:
    """How good and how fast a model is on some rows."""
    some, prompt = _some(items), items[0][0].ids.tolist()
    return Figures(
        len(model.get_decoder().layers),
        sum(one.numel() for one in model.parameters()),
        math.exp(_nll(model, items)),
        sum(len(row.ids) for rows in some for row in rows) / _least_s(lambda: _nll(model, some)),
        DECODED_TOKENS / _least_s(lambda: _decode(model, prompt)),
    )


def _least_s(work: Callable[[], object]) -> float:
    """The shortest of some tries: what else the machine does makes the others longer."""
    took = []
    for _ in range(TRIES):
        began_s = time.perf_counter()
        work()
        took.append(time.perf_counter() - began_s)
    return min(took)


def _least_missed(model: Any, items: Items) -> tuple[int, float]:
    """The layer without which the loss is least, and that loss in nats per token."""
    decoder = model.get_decoder()
    layers, losses = decoder.layers, []
    try:
        for place in range(len(layers)):
            decoder.layers = _but(layers, place)
            losses.append(_nll(model, items))
    finally:
        decoder.layers = layers
    place = min(range(len(losses)), key=losses.__getitem__)
    return place, losses[place]


def _but(layers: nn.ModuleList, place: int) -> nn.ModuleList:
    return nn.ModuleList(layer for at, layer in enumerate(layers) if at != place)


def _nll(model: Any, items: Items) -> float:
    """Nats per supervised token."""
    sums = sums_of(Trainee(model), items, model.device)
    return -sum(map(sum, sums)) / sum(row.supervised for rows in items for row in rows)


def _decode(model: Any, prompt: Sequence[int]) -> None:
    """Write just so many tokens."""
    ids = torch.tensor([list(prompt)], device=model.device)
    asked = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0}
    with torch.inference_mode():
        model.generate(input_ids=ids, max_new_tokens=DECODED_TOKENS, min_new_tokens=DECODED_TOKENS, **asked)


def _loaded(base: Base) -> Any:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    device = device_of()
    dtype = precision_of("auto", device)
    if (needed := dtype.itemsize * base.parameters) > (free := placement.free_bytes(device)):
        raise TrainingRefused(
            f"It takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Take a smaller model."
        )
    model = base.load(dtype, device)
    if not hasattr(model.get_decoder(), "layers"):
        raise TrainingRefused(f"Layers of a model of type {model.config.model_type!r} can't be dropped here.")
    return model


def _part(db: Database, dataset_name: str, base: Base, split: str) -> Items:
    """The rows of a part, without what doesn't fit the context. Raises `TrainingRefused` where there are none."""
    dataset = datasets.get(db, dataset_name)
    stored = [Example.from_json(one.body) for one in datasets.examples(db, dataset.id, split)]
    items = [rows[:1] for rows in rows_of_test(dataset.kind, stored, base.tokenizer_of_rows()).items if rows]
    if not items:
        raise TrainingRefused(
            f"The dataset {dataset_name} has no {split} part to measure on. Make one with `finetune data` from more "
            "conversations."
        )
    return items


def _some(items: Items) -> Items:
    """As many as importance is measured on."""
    kept: list[Sequence[Row]] = []
    tokens = 0
    for rows in items:
        if kept and tokens > MEASURED_TOKENS:
            break
        kept.append(rows)
        tokens += sum(len(row.ids) for row in rows)
    return kept
