"""Prune layers: drop the layers whose removal raises the loss least, and measure the cost and the gain in speed.

A layer's importance is measured as the loss on the validation part without it. The least important layer is dropped,
then the others are measured again, since two dispensable layers may replace each other (ShortGPT,
https://arxiv.org/abs/2403.03853, finds most of a model's depth to be like that).
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

from assistant.engine.hardware import placement
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
from finetune.network.trainee import Trainee, device_of, precision_of
from finetune.prove.measures import rows_of_test
from finetune.whole_folder import whole_folder

Items = Sequence[Sequence[Row]]
MEASURED_TOKENS = 2048
"""Tokens of the validation part that importance is measured on."""
DECODED_TOKENS, TRIES = 24, 4


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a model. Speeds in tokens/s: reading a prompt, and greedy decoding."""

    layers: int
    parameters: int
    perplexity: float
    read_tokens_per_s: float
    decode_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """`dropped`: indices of the dropped layers in the original model, in order."""

    dropped: tuple[int, ...]
    before: Figures
    after: Figures

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON."""
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
    validation, test = (_rows_of_part(db, dataset_name, base, one) for one in ("validation", "test"))
    held = _loaded(base)
    before = figures(held, test)
    places, dropped = list(range(layers)), []
    for _ in range(count):
        place, loss = _least_missed(held, _sampled_items(validation))
        dropped.append(places.pop(place))
        drop(held, place)
        say(f"dropped layer {dropped[-1] + 1} of {layers}: validation perplexity {math.exp(loss):.2f}")
    after = figures(held, test)
    with whole_folder(out) as new:
        save_model(held.to(torch.bfloat16), base, new)
    return Pruned(tuple(dropped), before, after)


def retrained(db: Database, paths: Paths, run: Run, dataset_name: str) -> Figures:
    """Figures of a pruned model with a run's adapter merged in."""
    about = subject(db, paths, run.name)
    model = merge.merged(merge.adapted(about.base, about.folder, device_of()))
    return figures(model.to(precision_of("auto", device_of())), _rows_of_part(db, dataset_name, about.base, "test"))


def drop(model: Any, place: int) -> None:
    """Remove a decoder layer from a transformers model and its configuration."""
    decoder, config = model.get_decoder(), model.config.get_text_config(decoder=True)
    decoder.layers = _without_layer(decoder.layers, place)
    for at, layer in enumerate(decoder.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = at  # index of its keys and values in the cache
    config.num_hidden_layers -= 1
    if kinds := getattr(config, "layer_types", None):
        config.layer_types = [kind for at, kind in enumerate(kinds) if at != place]


def figures(model: Any, items: Items) -> Figures:
    """Perplexity and speed of a model on some rows."""
    some, prompt = _sampled_items(items), items[0][0].ids.tolist()
    return Figures(
        len(model.get_decoder().layers),
        sum(one.numel() for one in model.parameters()),
        math.exp(_nll(model, items)),
        sum(len(row.ids) for rows in some for row in rows) / _least_s(lambda: _nll(model, some)),
        DECODED_TOKENS / _least_s(lambda: _decode(model, prompt)),
    )


def _least_s(work: Callable[[], object]) -> float:
    """Seconds of the fastest of `TRIES` calls: other programs only make it slower."""
    took = []
    for _ in range(TRIES):
        began_s = time.perf_counter()
        work()
        took.append(time.perf_counter() - began_s)
    return min(took)


def _least_missed(model: Any, items: Items) -> tuple[int, float]:
    """(index of the layer whose removal raises the loss least, that loss in nats per token)."""
    decoder = model.get_decoder()
    layers, losses = decoder.layers, []
    try:
        for place in range(len(layers)):
            decoder.layers = _without_layer(layers, place)
            losses.append(_nll(model, items))
    finally:
        decoder.layers = layers
    place = min(range(len(losses)), key=losses.__getitem__)
    return place, losses[place]


def _without_layer(layers: nn.ModuleList, place: int) -> nn.ModuleList:
    return nn.ModuleList(layer for at, layer in enumerate(layers) if at != place)


def _nll(model: Any, items: Items) -> float:
    """Nats per supervised token."""
    sums = sums_of(Trainee(model), items, model.device)
    return -sum(map(sum, sums)) / sum(row.supervised for rows in items for row in rows)


def _decode(model: Any, prompt: Sequence[int]) -> None:
    """Generate exactly `DECODED_TOKENS` tokens."""
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
            f"Pruning takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Use a smaller model."
        )
    model = base.load(dtype, device)
    if not hasattr(model.get_decoder(), "layers"):
        raise TrainingRefused(f"Layers of a model of type {model.config.model_type!r} can't be dropped here.")
    return model


def _rows_of_part(db: Database, dataset_name: str, base: Base, split: str) -> Items:
    """Rows of a part that fit the context. Raises `TrainingRefused` if there are none."""
    dataset = datasets.get(db, dataset_name)
    stored = [Example.from_json(one.body) for one in datasets.examples(db, dataset.id, split)]
    items = [rows[:1] for rows in rows_of_test(dataset.kind, stored, base.tokenizer_of_rows()).items if rows]
    if not items:
        raise TrainingRefused(
            f"The dataset {dataset_name} has no {split} part to measure on. Make one with `finetune data` from more "
            "conversations."
        )
    return items


def _sampled_items(items: Items) -> Items:
    """Items of about `MEASURED_TOKENS` tokens."""
    kept: list[Sequence[Row]] = []
    tokens = 0
    for rows in items:
        if kept and tokens > MEASURED_TOKENS:
            break
        kept.append(rows)
        tokens += sum(len(row.ids) for row in rows)
    return kept
