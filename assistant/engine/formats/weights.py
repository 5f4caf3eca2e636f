"""Weights on disk -> a model in memory: Hugging Face folders of safetensors, and our own form of a GGUF file.

Never pickle, never code of the model's own.
"""

import inspect
import math
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from huggingface_hub.errors import StrictDataclassError
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from assistant.engine.formats.ggml import dequantise
from assistant.engine.formats.gguf import WEIGHTS
from assistant.engine.hardware.placement import Stored
from assistant.engine.models.weight_files import check, files, header, read_ggml, read_json, shapes
from assistant.engine.networks.llama.blocks import KINDS, Blocks
from assistant.engine.networks.llama.shape import FAMILY
from assistant.errors import ModelIncomplete, ModelUnsupported


def load(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """transformers' model in `folder`, ready for inference. Raises `ModelIncomplete` or `ModelUnsupported`."""
    check(folder)
    config = read_config(folder)
    if tensors := read_ggml(folder).get("tensors"):
        model = _load_blocks(folder, config, tensors, dtype, device)
    else:
        model = _load_hugging_face(folder, config, dtype, device)
    return model.eval().requires_grad_(False)


def tensors(folder: Path, only: str = "") -> dict[str, Tensor | Blocks]:
    """The weights by Hugging Face's names, as they lie on disk: blocks that our own products take stay blocks.

    Memory is used as they are read: what lies in a file is mapped.
    """
    found: dict[str, Tensor | Blocks] = {}
    if tables := read_ggml(folder).get("tensors"):
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            for name in [only] if only else file.keys():
                found[name] = _raw(file.get_tensor(name), tables[name]["type"], tables[name]["shape"])
        return found
    for path in files(folder):
        found |= tensors_of(path, only)
    return found


def tensors_of(path: Path, only: str = "") -> dict[str, Tensor | Blocks]:
    """The tensors of one safetensors file, mapped."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if only in ("", name)}  # noqa: SIM118


def _raw(stored: Tensor, kind: str, shape: list[int]) -> Tensor | Blocks:
    if kind in KINDS:
        return Blocks(kind, stored.reshape(shape[0], -1))
    return dequantise(stored, kind, shape, torch.float32)


def read_config(folder: Path) -> Any:
    """transformers' configuration of the model in `folder`."""
    table = read_json(folder / "config.json")
    kind = table.get("model_type")
    if quantization := table.get("quantization_config"):
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise ModelUnsupported(
            f"{folder} is quantised with {method}, which we can't run. Take its GGUF or 16-bit form."
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (StrictDataclassError, ValueError, KeyError, TypeError, OSError, AttributeError) as error:
        raise ModelUnsupported(f"{folder} holds a model of type {kind!r}, which we can't run: {error}") from error
    if config.model_type in FAMILY:
        return config  # what follows would load transformers' module of the model: 2 s
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelUnsupported(f"{folder} holds a model of type {kind!r}, which doesn't write text.")
    attends = hasattr(config.get_text_config(decoder=True), "num_attention_heads")  # Mamba doesn't
    if not attends or not cache_argument(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]):
        raise ModelUnsupported(f"{folder} holds a model of type {kind!r}, which has no KV cache; we can't run that.")
    return config


def cache_argument(model: Any) -> str:
    """What the forward pass of a model of transformers calls its KV cache, since 5.24 `cache`; empty: it has none."""
    known = inspect.signature(model.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in known), "")


def stored(folder: Path, own_forward: bool) -> Stored:
    """How much there is of the weights, as the headers of their files say."""
    found = files(folder)
    headers = [table for file in found for table in header(file).values()]
    blocks = read_ggml(folder).get("tensors") or {}
    size = sum(file.stat().st_size for file in found)
    kinds = Counter[str]()
    for table in headers:
        kinds[table["dtype"]] += math.prod(table["shape"])
    common = kinds.most_common(1)[0][0] if kinds else ""
    precision = "blocks" if blocks else {"BF16": "bfloat16", "F16": "float16"}.get(common, "float32")
    return Stored(sum(map(math.prod, shapes(folder).values())), size, precision, own_forward)


def _load_blocks(folder: Path, config: Any, tensors: dict[str, Any], dtype: torch.dtype, device: torch.device) -> Any:
    """Unpack the GGUF's blocks, each tensor straight into the precision and onto the device it is used in."""
    with init_empty_weights(include_buffers=False):  # the tables of the rotary embedding are computed, not read
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    weights = {}
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            table = tensors[name]
            weights[name] = dequantise(file.get_tensor(name), table["type"], table["shape"], dtype).to(device)
    try:
        missing = set(model.load_state_dict(weights, strict=False, assign=True).missing_keys)
    except RuntimeError as error:
        raise ModelIncomplete(f"The weights in {folder} don't fit its config.json: {error}") from error
    model.tie_weights()
    _refuse_missing(folder, missing - set(model.all_tied_weights_keys))
    return model.to(device)


def _load_hugging_face(folder: Path, config: Any, dtype: torch.dtype, device: torch.device) -> Any:
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            device_map={"": device},
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ModelIncomplete(f"The weights in {folder} don't fit its config.json: {error}") from error
    _refuse_missing(folder, set(info["missing_keys"]))
    return model


def _refuse_missing(folder: Path, names: set[str]) -> None:
    if names:
        listed = ", ".join(sorted(names)[:3])
        raise ModelIncomplete(f"{folder} lacks {len(names)} tensors, such as {listed}. Pull the model again.")
