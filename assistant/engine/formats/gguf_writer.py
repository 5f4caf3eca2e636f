"""A model of the Llama family as a GGUF file of 16 bits, its tokenizer and chat template within: what `gguf` reads.

Keys and names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from assistant.engine.formats import gguf_config
from assistant.engine.formats.gguf_tokenizer import (
    BYTE,
    CONTROL,
    NORMAL,
    SPLITS,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    backend_of,
)
from assistant.engine.networks.llama import shape as llama
from assistant.errors import ModelUnsupported

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""Model type in transformers -> architecture in GGUF."""
PROBE = (
    "In 1789 and 1917, 20 of 365 days; don't DON'T we'll  see.\n\n\tfoo(bar) == 12345678 ...!\r\n 1 12 123 1234\n",
    "你好，世界！1234 Grüße café naïve re\u0301sume\u0301 HelloWorld iPhone x2y3 𝔘𝔫𝔦 🙂🙃 Привет, мир\n\n\n  end   ",
)
"""What known ways to split text are told apart by."""


def write(file: Path, model: Any, tokenizer: Any, name: str) -> None:
    """Write transformers' `model`: matrices in float16 if it is in that, else in bfloat16; vectors in float32.

    Raises `ModelUnsupported` for an architecture or a tokenizer that this can't say.
    """
    metadata = described(model.config, tokenizer)
    tensors = dict(_tensors(metadata, model))
    writer = gguf.GGUFWriter(file, metadata.pop("general.architecture"))
    writer.add_name(name)
    half = model.dtype == torch.float16
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if half else gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in metadata.items():
        _add(writer, key, value)
    for key, data in tensors.items():
        writer.add_tensor(key, data, raw_dtype=gguf.GGMLQuantizationType.BF16 if data.dtype == np.uint8 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def described(config: Any, tokenizer: Any) -> dict[str, Any]:
    """The metadata of a model, key by key. Raises `ModelUnsupported`."""
    if config.model_type not in ARCHITECTURES or llama.unsupported(config):
        reason = llama.unsupported(config) or f"model type {config.model_type!r}"
        raise ModelUnsupported(f"A model with {reason} can't be written as GGUF here. Take --format safetensors.")
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        raise ModelUnsupported(
            "The model attends to a sliding window, which GGUF doesn't say for it. Take --format safetensors."
        )
    return {**_configuration(config), **_tokenizer(config, tokenizer)}


def _configuration(config: Any) -> dict[str, Any]:
    head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    rope, kind = config.rope_parameters, config.rope_parameters["rope_type"]
    said = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "block_count": config.num_hidden_layers,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": head_dim,
        "rope.freq_base": float(rope["rope_theta"]),
        "vocab_size": config.vocab_size,
    }
    if kind in ("linear", "yarn"):
        said |= {"rope.scaling.type": kind, "rope.scaling.factor": float(rope["factor"])}
        if original := rope.get("original_max_position_embeddings"):
            said["rope.scaling.original_context_length"] = original
    elif kind not in ("default", "llama3"):
        raise ModelUnsupported(f"GGUF can't say rotary scaling {kind!r} for it. Take --format safetensors.")
    architecture = ARCHITECTURES[config.model_type]
    return {"general.architecture": architecture, **{f"{architecture}.{key}": value for key, value in said.items()}}


def _tensors(metadata: Mapping[str, Any], model: Any) -> Iterator[tuple[str, "np.ndarray[Any, Any]"]]:
    """Name and data of each tensor; bfloat16 as bytes, which numpy has no type for."""
    rope, half = model.config.rope_parameters, model.dtype == torch.float16
    if rope["rope_type"] == "llama3":
        half = metadata[f"{metadata['general.architecture']}.rope.dimension_count"] // 2
        yield gguf_config.ROPE_FACTORS, np.array(gguf_config.llama3_factors(rope, half), dtype=np.float32)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        ours = gguf_config.gguf_name(name)
        if ours is None:
            raise ModelUnsupported(f"GGUF has no name for the tensor {name}. Take --format safetensors.")
        if heads := gguf_config.interleaved_heads(metadata, ours):
            weight = weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
        weight = weight.detach().cpu().contiguous()
        if weight.ndim == 1:
            yield ours, weight.float().numpy()
        else:
            yield ours, (weight if half else weight.bfloat16().view(torch.uint8)).numpy()


def _tokenizer(config: Any, tokenizer: Any) -> dict[str, Any]:
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    model, added = backend["model"], tokenizer.added_tokens_decoder
    if model["type"] != "BPE":
        raise ModelUnsupported(f"GGUF can't hold a tokenizer of type {model['type']}. Take --format safetensors.")
    count = config.vocab_size
    tokens = [tokenizer.convert_ids_to_tokens(one) if one < len(tokenizer) else None for one in range(count)]
    types = [_type(token, added.get(index), model) for index, token in enumerate(tokens)]
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    bos = tokenizer.bos_token_id
    said: dict[str, Any] = {
        "model": "llama" if model.get("byte_fallback") else "gpt2",
        "tokens": [f"[PAD{index}]" if token is None else token for index, token in enumerate(tokens)],
        "token_type": types,
        "add_bos_token": bos is not None and tokenizer("")["input_ids"][:1] == [bos],
    }
    for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        if (token := getattr(tokenizer, f"{ours}_token_id")) is not None:
            said[f"{theirs}_token_id"] = token
    if said["model"] == "gpt2":
        said["merges"] = merges
    else:
        said |= {"scores": _scores(said["tokens"], merges), "add_space_prefix": _adds_space(tokenizer)}
    metadata = {f"tokenizer.ggml.{key}": value for key, value in said.items()}
    metadata["tokenizer.ggml.pre"] = _split(tokenizer, metadata)
    if tokenizer.chat_template:
        metadata["tokenizer.chat_template"] = str(tokenizer.chat_template)
    return metadata


def _type(token: str | None, added: Any, model: Mapping[str, Any]) -> int:
    if token is None:
        return UNUSED
    if token == model.get("unk_token"):
        return UNKNOWN
    if added is not None:
        return CONTROL if added.special else USER_DEFINED
    is_byte = model.get("byte_fallback") and len(token) == 6 and token.startswith("<0x")
    return BYTE if is_byte else NORMAL


def _scores(tokens: list[str], merges: list[str]) -> list[float]:
    """SentencePiece merges first what has the highest score: here the first of the merges."""
    made: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        made.setdefault(merge.replace(" ", ""), rank)
    return [float(-made.get(token, len(merges))) for token in tokens]


def _adds_space(tokenizer: Any) -> bool:
    return bool(tokenizer.convert_ids_to_tokens(tokenizer("a", add_special_tokens=False)["input_ids"])[0] == "▁a")


def _split(tokenizer: Any, metadata: Mapping[str, Any]) -> str:
    """The name of a way to split text that gives the tokenizer's ids on a probe. Raises `ModelUnsupported`."""
    for name in ("default",) if metadata["tokenizer.ggml.model"] == "llama" else SPLITS:
        backend = backend_of({**metadata, "tokenizer.ggml.pre": name})
        if all(backend.encode(one).ids == tokenizer(one)["input_ids"] for one in PROBE):
            return name
    raise ModelUnsupported(
        "GGUF has no name that we know for how the tokenizer splits text. Take --format safetensors."
    )


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
