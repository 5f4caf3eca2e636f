"""The model as it is trained: blocks of tokens in, log-probabilities of the supervised ones out."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from assistant.engine import catalogue, model_folder, product_speed, weights
from assistant.engine.chat_format import ChatFormat
from assistant.errors import ModelUnsupported, TrainingRefused
from assistant.events import Loading
from assistant.paths import Paths, cache_folder
from assistant.store.runs import Run
from finetune import llama
from finetune.batch import Batch, Padded
from finetune.head import likeliest, logprobs, spread
from finetune.tokens import Tokenizer

log = logging.getLogger(__name__)

LONGEST_TOKENS = 3072
"""Of one row, or the model's context where that is shorter: 1,024 tokens before each reply of a longer conversation."""


@dataclass(frozen=True, slots=True)
class Base:
    """A model's folder made ready, its weights not loaded."""

    folder: Path
    config: Any
    tokenizer: Any
    chat_format: ChatFormat

    @classmethod
    def open(cls, folder: Path) -> "Base":
        """Converts a GGUF file the first time. Raises a `ModelError`."""
        ready = model_folder.ready(folder, _log_progress)
        weights.check(ready)
        tokenizer = model_folder.load_tokenizer(ready)
        return cls(ready, weights.read_config(ready), tokenizer, ChatFormat(tokenizer))

    @property
    def hash(self) -> str:
        """SHA-256 of the weights, as the engine tells it with each reply."""
        return weights.sha256(self.folder)

    @property
    def context_tokens(self) -> int:
        """The longest sequence that the model was made for."""
        return int(getattr(self.config.get_text_config(decoder=True), "max_position_embeddings", 0) or 2048)

    @property
    def parameters(self) -> int:
        """How many numbers the model has, as its files say."""
        return weights.stored(self.folder, own_forward=True).parameters

    def tokenizer_of_rows(self, longest: int = 0) -> Tokenizer:
        """What makes rows of at most `longest` tokens, or 0: of as many as are usual and the context holds."""
        limit = min(self.context_tokens, longest or LONGEST_TOKENS)
        return Tokenizer.of(self.chat_format, limit, self.tokenizer.eos_token_id)

    def load(self, dtype: torch.dtype, device: torch.device) -> Any:
        """Transformers' model, nothing of it trained yet."""
        return weights.load(self.folder, dtype, device)


def base_of(paths: Paths, run: Run) -> Base:
    """The model that a run was trained on. Raises `TrainingRefused` where it is another one by now."""
    base = opened_base(paths, run.model)
    if base.hash != run.base_hash:
        raise TrainingRefused(f"{run.model} has other weights than when {run.name} was trained on it.")
    return base


def opened_base(paths: Paths, model: str) -> Base:
    """A model of this machine. Raises `TrainingRefused` for one that another server runs."""
    found = catalogue.find(paths, model)
    if isinstance(found, catalogue.Remote):
        raise TrainingRefused(f"{model} runs on another server. Only a model on this machine can be trained.")
    return Base.open(found.folder)


def _log_progress(loading: Loading) -> None:
    log.info("%s", loading)


def device_of(name: str = "auto") -> torch.device:
    """The device that a training runs on: a GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def precision_of(name: str, device: torch.device) -> torch.dtype:
    """What activations are computed in. `auto`: the faster one of bfloat16 and float32 here."""
    if name != "auto":
        return {"bfloat16": torch.bfloat16, "bf16": torch.bfloat16, "float32": torch.float32, "fp32": torch.float32}[
            name
        ]
    if device.type != "cpu":
        return torch.bfloat16
    return product_speed.fastest_dtype(cache_folder() / "product-speed.json")


class Trainee(nn.Module):
    """A language model of transformers, with or without PEFT around it, that reads packed blocks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._recompute = False

    def recompute_activations(self) -> None:
        """Keep each layer's input alone, and compute the layer again in the backward pass."""
        self._recompute = True
        if self._own is None:
            self.language_model.activation_checkpointing_enable({"use_reentrant": False})

    @property
    def language_model(self) -> Any:
        """Transformers' model, within PEFT's."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    def forward(self, batch: Batch) -> Tensor:
        """The natural log-probability (S,), float32, of each supervised token of the batch; of a token with soft
        targets the mean over these.
        """
        head = self.language_model.get_output_embeddings()
        return logprobs(head, self.states(batch), batch.targets, batch.weights, *self._scale)

    def likeliest(self, batch: Batch, count: int) -> tuple[Tensor, Tensor]:
        """(tokens (S, K), their probabilities among one another): what the model would say in each supervised place."""
        return likeliest(self.language_model.get_output_embeddings(), self.states(batch), count, *self._scale)

    def spread(self, batch: Batch, count: int) -> tuple[Tensor, Tensor]:
        """(tokens (S, K), probabilities (S, K)): the whole distribution in each supervised place; see `head.spread`."""
        return spread(self.language_model.get_output_embeddings(), self.states(batch), count, *self._scale)

    @cached_property
    def _scale(self) -> tuple[float, float]:
        return _logit_scale(self.language_model.config)

    @cached_property
    def _own(self) -> "llama.Llama | None":
        """Our own forward pass, if it can compute this model."""
        if self._aside is not None or self._is_prompt_learning or llama.unsupported(self.language_model):
            return None
        return llama.Llama(self.language_model)

    @property
    def _is_prompt_learning(self) -> bool:
        return bool(getattr(getattr(self.model, "active_peft_config", None), "is_prompt_learning", False))

    def states(self, batch: Batch) -> Tensor:
        """The last layer's output (S, width) at each token that predicts a supervised one."""
        if self._own is not None:
            return self._own.states(batch, recompute=self._recompute)
        padded = batch.padded
        return self._padded(padded).flatten(0, 1)[padded.places[batch.sources]]

    def _padded(self, batch: Padded) -> Tensor:
        """The last layer's output (B, T, width), by transformers."""
        decoder, options = self.language_model.get_decoder(), {"use_cache": False}
        if self._is_prompt_learning and not self._without:
            return self._after_virtual(batch, decoder, self.model.active_peft_config.num_virtual_tokens)
        out = decoder(input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.sees, **options)
        return out.last_hidden_state  # type: ignore[no-any-return]

    def _after_virtual(self, batch: Padded, decoder: Any, count: int) -> Tensor:
        """As `_padded`, after tokens of the adapter's own, which every row sees."""
        rows, width = batch.ids.shape
        seen = batch.sees.new_ones(rows, 1, width, count)
        sees, positions = torch.cat([seen, batch.sees], dim=3), batch.positions + count
        prompt = self.model.get_prompt(batch_size=rows)
        if not torch.is_tensor(prompt):  # keys and values of each layer
            cache = prompt if isinstance(prompt, DynamicCache) else DynamicCache(prompt)
            argument = weights.cache_argument(decoder)
            out = decoder(
                input_ids=batch.ids, position_ids=positions, attention_mask=sees, use_cache=True, **{argument: cache}
            )
            return out.last_hidden_state  # type: ignore[no-any-return]
        own = torch.ones(count, count, dtype=torch.bool, device=sees.device).tril().expand(rows, 1, -1, -1)
        top = torch.cat([own, own.new_zeros(rows, 1, count, width)], dim=3)
        words = self.language_model.get_input_embeddings()(batch.ids)
        out = decoder(
            inputs_embeds=torch.cat([prompt.to(words.dtype), words], dim=1),
            position_ids=torch.cat([torch.arange(count, device=positions.device).expand(rows, -1), positions], dim=1),
            attention_mask=torch.cat([top, sees], dim=2),
            use_cache=False,
        )
        return out.last_hidden_state[:, count:]  # type: ignore[no-any-return]

    _without = False
    _aside: dict[str, Tensor] | None = None

    def put_in(self, tensors: Mapping[str, Tensor]) -> None:
        """Compute with these in place of the model's own weights, but for the time of `base`. Raises `KeyError`."""
        parameters = dict(self.model.named_parameters())
        for name, one in tensors.items():
            if parameters[name].shape != one.shape:
                raise KeyError(name)
        self._aside = dict(tensors)
        self._exchange(self._aside)

    def _exchange(self, aside: dict[str, Tensor]) -> None:
        for name, one in self.model.named_parameters():
            if name in aside:
                one.data, aside[name] = aside[name], one.data

    @contextmanager
    def base(self) -> Iterator[None]:
        """Compute with the base alone meanwhile."""
        if self._aside is not None:
            self._exchange(self._aside)
            try:
                yield
            finally:
                self._exchange(self._aside)
            return
        if not hasattr(self.model, "peft_config"):
            raise ModelUnsupported("This model has no adapter beside its weights: its base is another model.")
        self._without = True
        try:
            if self.model.active_peft_config.is_prompt_learning:
                yield
            else:
                with self.model.disable_adapter():
                    yield
        finally:
            self._without = False


def _logit_scale(config: Any) -> tuple[float, float]:
    """(what logits are divided by, what they are softly capped at): Granite's, Cohere's and Gemma's ways."""
    text = config.get_text_config(decoder=True)
    divisor = getattr(text, "logits_scaling", None) or 1 / (getattr(text, "logit_scale", None) or 1)
    return float(divisor), float(getattr(text, "final_logit_softcapping", None) or 0.0)
