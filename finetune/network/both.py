"""A base with an adapter beside it, asked the same one after another."""

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
from finetune.network import tag_head
from finetune.network.batch import Batch, batch
from finetune.network.greedy import InTransformers, Reply, continuation
from finetune.network.losses import item_sums
from finetune.network.model import Trainee, device_of, precision_of
from finetune.plan import BLOCK_TOKENS, CPU_TOKENS_AT_ONCE, GPU_TOKENS_AT_ONCE

Sums = list[list[float]]
"""Of each item's rows the natural logarithm of the probability of their supervised tokens together."""


def sums_of(trainee: Trainee, items: Sequence[Sequence[Row]], device: torch.device) -> Sums:
    """What a model thinks of rows, cut into blocks and in an order that follow from them alone."""
    return item_sums(trainee, items, _blocks(items), _at_once(device), device)


def _with_own_weights(base: Base, file: Path, device: torch.device) -> Trainee:
    """In float32: 16 bits would round away what a small learning rate has changed."""
    trainee = Trainee(base.load(torch.float32, device).eval())
    try:
        trainee.put_in({name: one.to(device) for name, one in load_file(file).items()})
    except (KeyError, OSError, SafetensorError) as error:
        raise TrainingRefused(f"What was trained, in {file}, doesn't fit the model: {error}") from error
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
    """What can be asked both ways."""

    def sums(self, items: Sequence[Sequence[Row]]) -> tuple[Sums, Sums]:
        """(under the base, under the adapter)."""

    def continuation(self, ids: Sequence[int], tokens: int, *, adapted: bool) -> list[int]:
        """The greedy continuation of a prompt, at most so many tokens."""


@dataclass
class Both:
    """The model as it is trained, with a finished adapter, or with other weights of its own."""

    trainee: Trainee
    device: torch.device
    read: Callable[[int], None] = lambda _: None
    """Called with the number of tokens of rows that `sums` has read, after each batch."""

    @classmethod
    def load(cls, base: Base, folder: Path, precision: str = "auto") -> "Both":
        """Raises `TrainingRefused` where PEFT can't put the adapter on the model."""
        device = device_of()
        if (folder / CHANGED).is_file():
            return cls(_with_own_weights(base, folder / CHANGED, device), device)
        model = base.load(precision_of(precision, device), device)
        if types := tagging.types_in(folder):
            tag_head.put_head(model, types)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of transformers, about what PEFT asks it
                adapted: Any = PeftModel.from_pretrained(model, str(folder))
        except (ValueError, KeyError, RuntimeError, OSError) as error:
            raise TrainingRefused(f"The adapter in {folder} doesn't fit the model: {error}") from error
        return cls(Trainee(adapted.eval()), device)

    def sums(self, items: Sequence[Sequence[Row]]) -> tuple[Sums, Sums]:
        """See `Compared`. Blocks and their order are the same for both."""
        with self._telling(items):
            with self.trainee.base():
                base = sums_of(self.trainee, items, self.device)
            return base, sums_of(self.trainee, items, self.device)

    def adapted(self, items: Sequence[Sequence[Row]]) -> Sums:
        """As `sums`, under the adapter alone."""
        with self._telling(items):
            return sums_of(self.trainee, items, self.device)

    @contextmanager
    def wearing(self, folder: Path) -> Iterator[None]:
        """Compute with the low-rank adapter in `folder` meanwhile. It has the same ranks and targets. Raises
        `TrainingRefused` where it doesn't.
        """
        model: Any = self.trainee.model
        own = {name: one.clone() for name, one in get_peft_model_state_dict(model, save_embedding_layers=False).items()}
        try:
            _put(model, folder)
            yield
        finally:
            set_peft_model_state_dict(model, own)

    @contextmanager
    def _telling(self, items: Sequence[Sequence[Row]]) -> Iterator[None]:
        """Tell of each batch that the trainee has read."""

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
        """(item, the class of each of its learned tokens), in any order; of an adapter with a head for entities."""
        head = self.trainee.language_model.get_output_embeddings()
        for some in grouped(_blocks(items), _at_once(self.device)):
            one = batch(some).to(self.device)
            classes = tag_head.likeliest(head, self.trainee.states(one))
            for row, (item, _) in enumerate(one.rows):
                yield item, classes[one.owners == row].tolist()

    def choices(self, replies: Sequence[Reply], *, adapted: bool) -> list[list[int]]:
        """For each place of each reply the token it finds likeliest there."""
        with self._as(adapted=adapted) as model:
            return InTransformers(model).choices(replies)

    @contextmanager
    def _as(self, *, adapted: bool) -> Iterator[Any]:
        if adapted:
            yield self.trainee.model
        else:
            with self.trainee.base():
                yield self.trainee.language_model
