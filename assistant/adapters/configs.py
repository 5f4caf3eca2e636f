"""PEFT's `adapter_config.json` as far as it changes what a model computes.

What is accepted here gives the numbers that PEFT would, or is refused with a sentence. The rules are those of peft
0.21: `tuners/lora/model.py`, `tuners/ia3/model.py`, `tuners/tuners_utils.py` and `utils/other.py`.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

LEAVES_BASE = (True, False, "gaussian", "orthogonal", "eva", "mica")
"""Initial values (`init_lora_weights`) of adapters for the base as it is. PiSSA, OLoRA, CorDA, LoRA-GA and LoftQ change
the base's own matrix, unless PEFT converted the adapter when it was saved: then the config says `true`."""
_COMMON = frozenset(("auto_mapping", "inference_mode", "peft_type", "peft_version", "revision", "task_type"))
_Number = TypeVar("_Number", int, float)


class PeftConfig(BaseModel):
    """What every kind has. Fields that this class doesn't know are in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    IDLE: ClassVar[frozenset[str]] = _COMMON
    """Fields that only matter in training, or to modules that aren't linears."""
    base_model_name_or_path: str | None = None

    def refused(self) -> str:
        """Why an adapter with this config can't be applied; empty where it can."""
        for field, value in (self.model_extra or {}).items():
            if value and field not in self.IDLE:
                return f"sets {field}={value!r}, which can't be applied. Train an adapter without it."
        return ""


class LoraConfig(PeftConfig):
    """A low-rank adapter: LoRA, rsLoRA, DoRA, and what AdaLoRA came to."""

    IDLE: ClassVar[frozenset[str]] = _COMMON | {
        "bias",
        "corda_config",
        "eva_config",
        "fan_in_fan_out",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "qalora_group_size",
    }
    r: PositiveInt = 8
    lora_alpha: float = 8
    rank_pattern: dict[str, PositiveInt] | None = None
    alpha_pattern: dict[str, float] | None = None
    use_rslora: bool = False
    use_dora: bool = False
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    init_lora_weights: bool | str = True

    @model_validator(mode="after")
    def _expressions_are_regular(self) -> "LoraConfig":
        whole = [one for one in (self.target_modules, self.exclude_modules) if isinstance(one, str)]
        patterns = (*_listed(self.layers_pattern), *(self.rank_pattern or ()), *(self.alpha_pattern or ()))
        _refuse_irregular(*whole, *patterns)
        return self

    def refused(self) -> str:
        if self.init_lora_weights not in LEAVES_BASE:
            return (
                f"says init_lora_weights={self.init_lora_weights!r}: the adapter fits a base that was changed with it. "
                "Save it with save_pretrained(..., path_initial_model_for_weight_conversion=...)."
            )
        return super().refused()

    def rank(self, module: str) -> int:
        """Of the adapter on `module`."""
        return _by_pattern(self.rank_pattern, module, self.r)

    def scale(self, module: str) -> float:
        """The factor on B A: alpha / r, or alpha / sqrt(r) for rsLoRA (https://arxiv.org/abs/2312.03732)."""
        rank = self.rank(module)
        alpha = _by_pattern(self.alpha_pattern, module, self.lora_alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def targets(self, module: str) -> bool:
        """Whether the linear `module` of a language model gets an adapter."""
        if _is_named(self.exclude_modules, module):
            return False
        if _is_all_linear(self.target_modules):
            return module != "lm_head"
        if module in _listed(self.target_modules):
            return True  # in whichever layer
        return _is_named(self.target_modules, module) and self._is_in_layers(module)

    def _is_in_layers(self, module: str) -> bool:
        wanted = _listed(self.layers_to_transform)
        if not wanted:
            return True
        patterns = _listed(self.layers_pattern) or [r"[^.]*"]
        matches = (re.match(rf"(?:^|.*?\.){pattern}\.(?P<index>\d+)\.", module) for pattern in patterns)
        found = next(filter(None, matches), None)
        return found is not None and int(found["index"]) in wanted


class Ia3Config(PeftConfig):
    """IA3: a gain on each output of some linears, and on each input of those in `feedforward_modules`
    (https://arxiv.org/abs/2205.05638)."""

    IDLE: ClassVar[frozenset[str]] = _COMMON | {"fan_in_fan_out", "init_ia3_weights"}
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    feedforward_modules: list[str] | str | None = None

    @model_validator(mode="after")
    def _expressions_are_regular(self) -> "Ia3Config":
        fields = (self.target_modules, self.exclude_modules, self.feedforward_modules)
        _refuse_irregular(*(one for one in fields if isinstance(one, str)))
        return self

    def targets(self, module: str) -> bool:
        """Whether the linear `module` gets gains."""
        if _is_named(self.exclude_modules, module):
            return False
        if _is_all_linear(self.target_modules):
            return module != "lm_head"
        return module in _listed(self.target_modules) or _is_named(self.target_modules, module)

    def scales_input(self, module: str) -> bool:
        """Whether the gains of `module` are on its input. PEFT compares the ends of names, dots or not."""
        if isinstance(self.feedforward_modules, str):
            return re.fullmatch(self.feedforward_modules, module) is not None
        return any(module.endswith(one) for one in self.feedforward_modules or ())


class VirtualTokensConfig(PeftConfig):
    """Prefix tuning (https://arxiv.org/abs/2101.00190) and prompt tuning (https://arxiv.org/abs/2104.08691): virtual
    tokens before the prompt, given as keys and values of each layer or as embeddings."""

    IDLE: ClassVar[frozenset[str]] = _COMMON | {
        "encoder_hidden_size",
        "init_weights",
        "num_attention_heads",
        "num_layers",
        "prefix_projection",  # PEFT saves what the projection makes
        "prompt_tuning_init",
        "prompt_tuning_init_text",
        "token_dim",
        "tokenizer_kwargs",
        "tokenizer_name_or_path",
    }
    peft_type: Literal["PREFIX_TUNING", "PROMPT_TUNING"]
    num_virtual_tokens: PositiveInt
    num_transformer_submodules: Literal[1] | None = None


Config = LoraConfig | Ia3Config | VirtualTokensConfig
CONFIGS: Mapping[str, type[Config]] = {
    "LORA": LoraConfig,
    "IA3": Ia3Config,
    "PREFIX_TUNING": VirtualTokensConfig,
    "PROMPT_TUNING": VirtualTokensConfig,
}
"""By `peft_type`."""


def _refuse_irregular(*expressions: str) -> None:
    for one in expressions:
        try:
            re.compile(one)
        except re.error as error:
            raise ValueError(f"{one!r} is no regular expression: {error}") from error


def _is_all_linear(wanted: list[str] | str | None) -> bool:
    return isinstance(wanted, str) and wanted.lower() == "all-linear"


def _is_named(wanted: list[str] | str | None, module: str) -> bool:
    """A string is a regular expression of whole names, a list holds names or what they end in after a dot."""
    if isinstance(wanted, str):
        return wanted != "" and re.fullmatch(wanted, module) is not None
    return any(f".{module}".endswith(f".{one}") for one in wanted or ())


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _by_pattern(patterns: Mapping[str, _Number] | None, module: str, otherwise: _Number) -> _Number:
    """The value of the first pattern that matches the name's end from a dot on."""
    return next((value for key, value in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", module)), otherwise)
