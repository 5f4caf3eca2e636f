"""The trained model: blocks of tokens in, log-probabilities of the supervised tokens out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from assistant.engine.formats import weights
from assistant.engine.hardware import machine, product_speed
from assistant.errors import ModelUnsupported
from assistant.paths import cache_folder
from finetune.network import llama
from finetune.network.batch import Batch, Padded
from finetune.network.head import likeliest, logprobs, spread


def device_of(name: str = "auto") -> torch.device:
    """The device to train on: a GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def precision_of(name: str, device: torch.device) -> torch.dtype:
    """The type of activations. `auto`: bfloat16 on a GPU, on a CPU the faster of bfloat16 and float32."""
    if name != "auto":
        return {"bfloat16": torch.bfloat16, "bf16": torch.bfloat16, "float32": torch.float32, "fp32": torch.float32}[
            name
        ]
    if device.type != "cpu":
        return torch.bfloat16
    return product_speed.fastest_dtype(cache_folder() / machine.SPEEDS)


class Trainee(nn.Module):
    """A transformers or PEFT language model that reads packed blocks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._recompute = False

    def recompute_activations(self) -> None:
        """Store only each layer's input, and recompute the layer in the backward pass."""
        self._recompute = True
        if self._own_forward is None:
            self.language_model.activation_checkpointing_enable({"use_reentrant": False})

    @property
    def language_model(self) -> Any:
        """Transformers' model, unwrapped from PEFT's."""
        return self.model.get_base_model() if self.is_adapted else self.model

    @property
    def is_adapted(self) -> bool:
        """Whether a PEFT adapter wraps the language model."""
        return hasattr(self.model, "peft_config")

    def forward(self, batch: Batch) -> Tensor:
        """Natural log-probability (S,), float32, of each supervised token of the batch; for soft targets the weighted
        mean.
        """
        head = self.language_model.get_output_embeddings()
        return logprobs(head, self.states(batch), batch.targets, batch.weights, *self._scale)

    def likeliest(self, batch: Batch, count: int) -> tuple[Tensor, Tensor]:
        """(tokens (S, K), probabilities (S, K) normalised over K): the likeliest at each supervised position."""
        return likeliest(self.language_model.get_output_embeddings(), self.states(batch), count, *self._scale)

    def spread(self, batch: Batch, count: int) -> tuple[Tensor, Tensor]:
        """(tokens (S, K), probabilities (S, K)): the whole distribution at each supervised position; `head.spread`."""
        return spread(self.language_model.get_output_embeddings(), self.states(batch), count, *self._scale)

    @cached_property
    def _scale(self) -> tuple[float, float]:
        return _logit_scale(self.language_model.config)

    @cached_property
    def _own_forward(self) -> "llama.Llama | None":
        """This package's forward pass, if it supports the model."""
        if self._aside is not None or self._is_prompt_learning or llama.unsupported(self.language_model):
            return None
        return llama.Llama(self.language_model)

    @property
    def _is_prompt_learning(self) -> bool:
        return bool(getattr(getattr(self.model, "active_peft_config", None), "is_prompt_learning", False))

    def states(self, batch: Batch) -> Tensor:
        """Final hidden states (S, C) at the positions that predict supervised tokens."""
        if self._own_forward is not None:
            return self._own_forward.states(batch, recompute=self._recompute)
        padded = batch.padded
        return self._padded(padded).flatten(0, 1)[padded.places[batch.sources]]

    def _padded(self, batch: Padded) -> Tensor:
        """Final hidden states (B, T, C), by transformers."""
        decoder, options = self.language_model.get_decoder(), {"use_cache": False}
        if self._is_prompt_learning and not self._adapter_off:
            return self._after_virtual(batch, decoder, self.model.active_peft_config.num_virtual_tokens)
        out = decoder(input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.sees, **options)
        return out.last_hidden_state  # type: ignore[no-any-return]

    def _after_virtual(self, batch: Padded, decoder: Any, count: int) -> Tensor:
        """As `_padded`, after `count` virtual tokens of the adapter, which every row attends to."""
        rows, width = batch.ids.shape
        seen = batch.sees.new_ones(rows, 1, width, count)
        sees, positions = torch.cat([seen, batch.sees], dim=3), batch.positions + count
        prompt = self.model.get_prompt(batch_size=rows)
        if not torch.is_tensor(prompt):  # prefix tuning: keys and values of each layer
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

    _adapter_off = False
    _aside: dict[str, Tensor] | None = None

    def replace_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Use these tensors in place of the model's own weights, except within `base`. Raises `KeyError`."""
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
        """Compute with the base only within the block. Raises `ModelUnsupported` for a fully trained model."""
        if self._aside is not None:
            self._exchange(self._aside)
            try:
                yield
            finally:
                self._exchange(self._aside)
            return
        if not self.is_adapted:
            raise ModelUnsupported("This model has no adapter: its weights were trained, and its base isn't loaded.")
        self._adapter_off = True
        try:
            if self.model.active_peft_config.is_prompt_learning:
                yield
            else:
                with self.model.disable_adapter():
                    yield
        finally:
            self._adapter_off = False


def _logit_scale(config: Any) -> tuple[float, float]:
    """(divisor of the logits, soft cap): as Granite, Cohere and Gemma configure them."""
    text = config.get_text_config(decoder=True)
    divisor = getattr(text, "logits_scaling", None) or 1 / (getattr(text, "logit_scale", None) or 1)
    return float(divisor), float(getattr(text, "final_logit_softcapping", None) or 0.0)
