"""A base and its adapter in one loaded model, compared on the same input."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from assistant.adapters.folder import CHANGED, WEIGHTS
from assistant.errors import TrainingRefused
from finetune import tagging
from finetune.base import Base
from finetune.data import pack
from finetune.data.pack import grouped
from finetune.data.tokens import Row
from finetune.network.batch import Batch, batch
from finetune.network.greedy import InTransformers, Reply, continuation
from finetune.network.head import put_entity_head, token_classes
from finetune.network.losses import item_sums
from finetune.network.trainee import Trainee, device_of, precision_of
from finetune.plan import BLOCK_TOKENS, CPU_TOKENS_AT_ONCE, GPU_TOKENS_AT_ONCE

Sums = list[list[float]]
"""For each item and row, the summed natural log-probability of its supervised tokens."""


def sums_of(trainee: Trainee, items: Sequence[Sequence[Row]], device: torch.device) -> Sums:
    """Log-probabilities of rows. Blocks and their order depend on the rows only."""
    return item_sums(trainee, items, _blocks(items), _at_once(device), device)


def _with_own_weights(base: Base, file: Path, device: torch.device) -> Trainee:
    """The base with changed weights, in float32: 16 bits would round away the changes of a small learning rate."""
    trainee = Trainee(base.load(torch.float32, device).eval())
    try:
        trainee.replace_weights({name: one.to(device) for name, one in load_file(file).items()})
    except (KeyError, OSError, SafetensorError) as error:
        raise TrainingRefused(f"The trained weights in {file} don't fit the model: {error}") from error
    return trainee


def _put(model: Any, folder: Path) -> None:
    try:
        loaded = set_peft_model_state_dict(model, load_file(folder / WEIGHTS))
    except (RuntimeError, OSError, SafetensorError) as error:
        raise TrainingRefused(f"The adapter in {folder} has other ranks or targets: {error}") from error
    if loaded.unexpected_keys:
        raise TrainingRefused(f"The adapter in {folder} has other targets, such as {loaded.unexpected_keys[0]}.")


def _blocks(items: Sequence[Sequence[Row]]) -> Iterator[pack.Block]:
    return pack.pack(items, BLOCK_TOKENS, "evaluation")


def _at_once(device: torch.device) -> int:
    return GPU_TOKENS_AT_ONCE if device.type == "cuda" else CPU_TOKENS_AT_ONCE


class Compared(Protocol):
    """Can be evaluated with and without the adapter."""

    def sums(self, items: Sequence[Sequence[Row]]) -> tuple[Sums, Sums]:
        """(log-probabilities under the base, under the adapter)."""

    def continuation(self, ids: Sequence[int], tokens: int, *, adapted: bool) -> list[int]:
        """Greedy continuation of a prompt, at most `tokens` tokens."""


@dataclass
class Both:
    """The trained model: a base with an adapter, or with changed weights."""

    trainee: Trainee
    device: torch.device
    read: Callable[[int], None] = lambda _: None
    """Called after each batch with the number of tokens that `sums` has read."""

    @classmethod
    def load(cls, base: Base, folder: Path, precision: str = "auto") -> "Both":
        """Load the base with the adapter in `folder`. Raises `TrainingRefused` if the adapter doesn't fit."""
        device = device_of()
        if (folder / CHANGED).is_file():
            return cls(_with_own_weights(base, folder / CHANGED, device), device)
        model = base.load(precision_of(precision, device), device)
        if types := tagging.types_in(folder):
            put_entity_head(model, types)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # transformers' warnings about PEFT's use of it
                adapted: Any = PeftModel.from_pretrained(model, str(folder))
        except (ValueError, KeyError, RuntimeError, OSError) as error:
            raise TrainingRefused(f"The adapter in {folder} doesn't fit the model: {error}") from error
        return cls(Trainee(adapted.eval()), device)

    def sums(self, items: Sequence[Sequence[Row]]) -> tuple[Sums, Sums]:
        """See `Compared`. Both use the same blocks in the same order."""
        with self._reporting(items):
            with self.trainee.base():
                base = sums_of(self.trainee, items, self.device)
            return base, sums_of(self.trainee, items, self.device)

    def adapted(self, items: Sequence[Sequence[Row]]) -> Sums:
        """Log-probabilities under the adapter only."""
        with self._reporting(items):
            return sums_of(self.trainee, items, self.device)

    @contextmanager
    def with_adapter(self, folder: Path) -> Iterator[None]:
        """Use the low-rank adapter in `folder` within the block. Raises `TrainingRefused` if its ranks or targets
        differ.
        """
        model: Any = self.trainee.model
        own = {name: one.clone() for name, one in get_peft_model_state_dict(model, save_embedding_layers=False).items()}
        try:
            _put(model, folder)
            yield
        finally:
            set_peft_model_state_dict(model, own)

    @contextmanager
    def _reporting(self, items: Sequence[Sequence[Row]]) -> Iterator[None]:
        """Report each batch that the trainee reads to `read`."""

        def told(_: object, args: tuple[Batch], __: object) -> None:
            self.read(sum(len(items[item][number].ids) for item, number in args[0].rows))

        hook = self.trainee.register_forward_hook(told)
        try:
            yield
        finally:
            hook.remove()

    def continuation(self, ids: Sequence[int], tokens: int, *, adapted: bool) -> list[int]:
        """See `Compared`."""
        ends = self.trainee.language_model.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        with self._as(adapted=adapted) as model:
            return continuation(model, ids, tokens, frozenset(one for one in listed if one is not None))

    @torch.inference_mode()
    def tags(self, items: Sequence[Sequence[Row]]) -> Iterator[tuple[int, list[int]]]:
        """(item, classes of its supervised tokens), in any order; for an adapter with an entity head."""
        head = self.trainee.language_model.get_output_embeddings()
        for some in grouped(_blocks(items), _at_once(self.device)):
            one = batch(some).to(self.device)
            classes = token_classes(head, self.trainee.states(one))
            for row, (item, _) in enumerate(one.rows):
                yield item, classes[one.owners == row].tolist()

    def choices(self, replies: Sequence[Reply], *, adapted: bool) -> list[list[int]]:
        """Greedy token at each position of each reply."""
        with self._as(adapted=adapted) as model:
            return InTransformers(model).choices(replies)

    @contextmanager
    def _as(self, *, adapted: bool) -> Iterator[Any]:
        if adapted:
            yield self.trainee.model
        else:
            with self.trainee.base():
                yield self.trainee.language_model
