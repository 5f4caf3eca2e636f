"""A LoRA adapter's folder in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

What is read here gives the numbers that PEFT would, or is refused with a sentence: PEFT itself drops weights that it
can't place and makes up those it misses. Nothing is taken that would change the base model's own weights. The rules are
those of peft 0.21: `tuners/lora/model.py`, `tuners/tuners_utils.py` and `utils/other.py`.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, model_validator
from safetensors import SafetensorError
from torch import Tensor

from assistant.errors import AdapterError

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
IDLE_FIELDS = frozenset(
    (
        "auto_mapping",
        "bias",
        "corda_config",
        "eva_config",
        "fan_in_fan_out",
        "inference_mode",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "revision",
        "task_type",
    )
)
"""What speaks of training, or of other modules than linears. Biases that were trained are seen in the weights."""
LEAVES_BASE = (True, False, "gaussian", "orthogonal", "eva", "mica")
"""Beginnings (`init_lora_weights`) of adapters for the base as it is. PiSSA, OLoRA, CorDA, LoRA-GA and LoftQ put
another matrix in its place, unless PEFT converted them when they were saved: then the config says `true`."""
_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_(A|B|magnitude_vector|embedding_A|embedding_B)(\.weight)?")
_Number = TypeVar("_Number", int, float)


class LoraConfig(BaseModel):
    """`adapter_config.json` as far as it bears on the result; what else it sets is in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

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
    base_model_name_or_path: str | None = None

    @model_validator(mode="after")
    def _expressions_are_regular(self) -> "LoraConfig":
        whole = [one for one in (self.target_modules, self.exclude_modules) if isinstance(one, str)]
        for one in (*whole, *_listed(self.layers_pattern), *(self.rank_pattern or ()), *(self.alpha_pattern or ())):
            try:
                re.compile(one)
            except re.error as error:
                raise ValueError(f"{one!r} is no regular expression: {error}") from error
        return self

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
        if isinstance(self.target_modules, str) and self.target_modules.lower() == "all-linear":
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


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFolder:
    """A LoRA as it lies on disk."""

    path: Path
    config: LoraConfig
    tensors: Mapping[str, Mapping[str, Tensor]]
    """For each module of the base by its Hugging Face name: A (rank, K), B (rows, rank), magnitude_vector (rows)."""
    hash: str
    """SHA-256 of the weights' file, the factor on each module's B A, and whether there are magnitudes."""

    @classmethod
    def open(cls, path: Path) -> "AdapterFolder":
        """Raises `AdapterError` for what is missing, damaged, no LoRA, or would change the base's own weights."""
        config = _read_config(path)
        if not (path / WEIGHTS).is_file() and (path / PICKLE).is_file():
            raise AdapterError(f"{path} has only {PICKLE}, which is pickle. Save the adapter as safetensors.")
        stored = _read(path / WEIGHTS)  # once: the hash is that of what is used
        tensors = _tensors(path / WEIGHTS, stored)
        uses = json.dumps([config.use_dora, *((module, config.scale(module)) for module in sorted(tensors))])
        return cls(path, config, tensors, hashlib.sha256(stored + uses.encode()).hexdigest())

    @property
    def origin(self) -> str:
        """A sentence on the model that it was trained on."""
        return f"It was made for {self.config.base_model_name_or_path or 'a model that it does not name'}."

    def named_tensors(self) -> dict[str, Tensor]:
        """The weights by PEFT's names."""
        return {
            f"base_model.model.{module}.lora_{kind}{'.weight' if kind in 'AB' else ''}": tensor
            for module, tensors in self.tensors.items()
            for kind, tensor in tensors.items()
        }

    def check_modules(self, modules: Set[str]) -> None:
        """Raise `AdapterError` unless the weights are for just those of the base's `modules` that the config names."""
        held = self.tensors.keys()
        named = {module for module in modules if self.config.targets(module)}
        if lacking := held - modules:
            raise AdapterError(
                f"The adapter in {self.path} changes {_some(lacking)}, which this model doesn't have or can't have "
                f"changed. {self.origin}"
            )
        if unnamed := held - named:
            raise AdapterError(f"{self.path / WEIGHTS} is for {_some(unnamed)}, which its {CONFIG} doesn't name.")
        if missing := named - held:
            raise AdapterError(f"{self.path / WEIGHTS} lacks weights for {_some(missing)}. Save the adapter again.")


def _some(names: Set[str]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise AdapterError(f"{file.parent} lacks {file.name}. PEFT saves {CONFIG} and {WEIGHTS}.") from error
    except OSError as error:
        raise AdapterError(f"{file} can't be read: {error}.") from error


def _read_config(path: Path) -> LoraConfig:
    file = path / CONFIG
    try:
        table = json.loads(_read(file))
        kind = table.get("peft_type")
    except (ValueError, AttributeError) as error:
        raise AdapterError(f"{file} is damaged: {error}. Save the adapter again.") from error
    if kind != "LORA":
        raise AdapterError(f"The adapter in {path} is of type {kind!r}; only 'LORA' can be applied.")
    try:
        config = LoraConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(one) for one in first["loc"])
        raise AdapterError(f"{file} can't be used: {where} {first['msg']}. Save the adapter again.") from error
    _refuse_other_kinds(file, config)
    return config


def _refuse_other_kinds(file: Path, config: LoraConfig) -> None:
    if config.init_lora_weights not in LEAVES_BASE:
        raise AdapterError(
            f"{file} says init_lora_weights={config.init_lora_weights!r}: the adapter fits a base that was changed "
            "with it. Save it with save_pretrained(..., path_initial_model_for_weight_conversion=...)."
        )
    for field, value in (config.model_extra or {}).items():
        if value and field not in IDLE_FIELDS:
            raise AdapterError(f"{file} sets {field}={value!r}, which can't be applied. Train a LoRA without it.")


def _advice(name: str) -> str:
    if name.endswith(".bias"):
        return "Train the adapter with bias='none'."
    return "If it is the base's own matrix, save the adapter with save_pretrained(..., save_embedding_layers=False)."


def _tensors(file: Path, stored: bytes) -> dict[str, dict[str, Tensor]]:
    try:
        flat = safetensors.torch.load(stored)
    except (SafetensorError, ValueError, KeyError) as error:
        raise AdapterError(f"{file} is damaged: {error}. Save the adapter again.") from error
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        if (match := _TENSOR.fullmatch(name)) is None:
            raise AdapterError(f"{file} holds {name}, which can't be applied. {_advice(name)}")
        if not tensor.isfinite().all():
            raise AdapterError(f"{file} holds {name} with NaN or infinite numbers: the training failed.")
        found.setdefault(match[1], {})[match[2]] = tensor
    if not found:
        raise AdapterError(f"{file} holds no weights. Save the adapter again.")
    return found
