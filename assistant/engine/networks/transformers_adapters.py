"""Adapters for a model of transformers: applied for as long as a conversation with them is computed, and taken off.

LoRA, DoRA                 PEFT's own modules around the linears
IA3                        hooks that multiply the inputs or outputs of linears
prefix and prompt tuning   nothing in the model: a beginning of the KV cache
changed weights            their memory in the place of the base's
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.pytorch_utils import Conv1D

from assistant.adapters.configs import Ia3Config, VirtualTokensConfig
from assistant.adapters.folder import VIRTUAL, AdapterFolder
from assistant.errors import AdapterError


class Adapter(Protocol):
    """An adapter of one model."""

    hash: str
    begin: int
    """Positions that it takes before a conversation's first token."""

    def on(self) -> None:
        """Compute with it from now on; no other adapter is on."""

    def off(self) -> None:
        """Compute with the base again, bit for bit."""

    def drop(self) -> None:
        """Give back what it holds of the model; it is used no more."""

    def beginning(self) -> DynamicCache | None:
        """Keys and values of those positions, to be copied."""


class Plain:
    """An adapter that is all in the model."""

    begin = 0

    def __init__(self, hash_: str) -> None:
        self.hash = hash_

    def beginning(self) -> DynamicCache | None:
        return None

    def drop(self) -> None:
        pass


class PeftLora(Plain):
    """LoRA through PEFT, which goes through every module to change adapters: 17 ms for 210 linears."""

    def __init__(self, model: Any, source: AdapterFolder) -> None:
        """Raises `AdapterError` where it doesn't fit the model; nothing of it stays then."""
        super().__init__(source.hash)
        self._model = model
        try:
            problem = self._injected(source)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            problem = " ".join(str(error).strip().rstrip(".").split("\n", 2)[:2])  # the first of many tensors
        if problem:
            self.drop()
            raise AdapterError(f"The adapter in {source.path} doesn't fit this model: {problem}. {source.origin}")
        self.off()

    def on(self) -> None:
        self._use(self.hash)

    def off(self) -> None:
        self._use([])

    def drop(self) -> None:
        from peft.functional import delete_adapter

        self.off()
        delete_adapter(self._model, self.hash, prefix="lora_")
        getattr(self._model, "peft_config", {}).pop(self.hash, None)

    def _use(self, name: str | list[str]) -> None:
        from peft.functional import set_adapter

        set_adapter(self._model, name, inference_mode=True)

    def _injected(self, source: AdapterFolder) -> str:
        """What is wrong with the adapter for this model, once it is in it; empty where nothing is."""
        from peft import LoraConfig
        from peft.functional import cast_adapter_dtype, inject_adapter_in_model, set_peft_model_state_dict

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as that there are several adapters, or that a later peft saved them
            inject_adapter_in_model(LoraConfig.from_pretrained(str(source.path)), self._model, self.hash)
            cast_adapter_dtype(self._model, self.hash)  # float32 before the weights come, as PEFT does beside 16 bits
            found: Any = set_peft_model_state_dict(self._model, load_file(source.file), self.hash)
        self._model.requires_grad_(False)
        if found.unexpected_keys:
            return f"it changes {found.unexpected_keys[0]}, which the model doesn't have"
        missing = [key for key in found.missing_keys if f".{self.hash}." in f"{key}."]
        return f"it lacks {missing[0]}" if missing else ""


class Gains(Plain):
    """IA3. Hooks rather than PEFT's modules, which PEFT can't nest with those of LoRA."""

    def __init__(self, linears: Mapping[str, Any], source: AdapterFolder) -> None:
        """`linears`: of the model, by the names they had before any adapter. Raises `AdapterError`."""
        super().__init__(source.hash)
        assert isinstance(source.config, Ia3Config)
        source.check_modules(linears.keys())
        tensors = load_file(source.file)
        self._gains: list[tuple[nn.Module, bool, Tensor]] = []
        self._hooks: list[Any] = []
        for name, parts in source.modules.items():
            module, on_input = linears[name], source.config.scales_input(name)
            gain, (inputs, outputs) = tensors[parts["ia3_l"]].flatten(), _widths(module)
            if gain.numel() != (inputs if on_input else outputs):
                raise AdapterError(
                    f"The adapter in {source.path} has {gain.numel()} gains for {name}, which has {inputs} inputs and "
                    f"{outputs} outputs. {source.origin}"
                )
            self._gains.append((module, on_input, gain.to(module.weight.device)))

    def on(self) -> None:
        for module, on_input, gain in self._gains:
            if on_input:
                self._hooks.append(module.register_forward_pre_hook(_scaled_input(gain)))
            else:
                self._hooks.append(module.register_forward_hook(_scaled_output(gain)))

    def off(self) -> None:
        for one in self._hooks:
            one.remove()
        self._hooks.clear()


def _scaled_input(gain: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    return lambda _, given: ((given[0].to(gain.dtype) * gain).to(given[0].dtype), *given[1:])


def _scaled_output(gain: Tensor) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    return lambda _, __, out: (out * gain).to(out.dtype)


def linears(model: nn.Module) -> dict[str, nn.Module]:
    """The linears of a model of transformers, by name."""
    return {name: one for name, one in model.named_modules() if isinstance(one, nn.Linear | Conv1D)}


def _widths(module: Any) -> tuple[int, int]:
    """(inputs, outputs) of a linear."""
    rows, columns = module.weight.shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)


class VirtualTokens(Plain):
    """Prefix or prompt tuning: what stands in the cache before every conversation."""

    def __init__(self, model: Any, source: AdapterFolder, cache_argument: str) -> None:
        """Raises `AdapterError` where it doesn't fit the model."""
        super().__init__(source.hash)
        assert isinstance(source.config, VirtualTokensConfig)
        self.begin = source.config.num_virtual_tokens
        given = load_file(source.file)[VIRTUAL].to(model.device, model.dtype)
        self._cache = DynamicCache(config=model.config)
        try:
            if source.kind == "prefix":
                self._fill(model.config.get_text_config(decoder=True), given)
            else:
                options: dict[str, Any] = {cache_argument: self._cache, "use_cache": True}
                with torch.inference_mode():
                    model(inputs_embeds=given.view(1, self.begin, -1), **options)
        except (RuntimeError, ValueError, IndexError) as error:
            raise AdapterError(
                f"The adapter in {source.path} doesn't fit this model: {str(error).splitlines()[0].rstrip('.')}. "
                f"{source.origin}"
            ) from error

    def _fill(self, config: Any, given: Tensor) -> None:
        """PEFT's (n, layers * 2 * H_kv * D), a layer after the other."""
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        flat = given.view(self.begin, config.num_hidden_layers, 2, heads, dim)
        for layer, (keys, values) in enumerate(flat.permute(1, 2, 3, 0, 4)):
            self._cache.update(keys.unsqueeze(0), values.unsqueeze(0), layer)

    def on(self) -> None:
        pass

    def off(self) -> None:
        pass

    def beginning(self) -> DynamicCache | None:
        return self._cache


class Changed(Plain):
    """Weights of the base that were trained: both stay in memory, and change places."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], source: AdapterFolder) -> None:
        """`parameters`: of the model, by the names they had before any adapter. Raises `AdapterError`."""
        super().__init__(source.hash)
        source.check_weights({name: one.shape for name, one in parameters.items()})
        tensors = load_file(source.file)
        self._parameters = [parameters[name] for name in tensors]
        self._aside = [one.to(parameters[name].device, parameters[name].dtype) for name, one in tensors.items()]

    def on(self) -> None:
        self._exchange()

    def off(self) -> None:
        self._exchange()

    def _exchange(self) -> None:
        for at, mine in enumerate(self._parameters):
            mine.data, self._aside[at] = self._aside[at], mine.data
