"""Metadata of a GGUF file of the Llama family -> Hugging Face's configuration and tensor names. Loads no torch.

Keys and names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from assistant.errors import ModelUnsupported

FAMILY = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""GGUF architecture (Mistral and SmolLM files say llama) -> the class in transformers."""

_TOP = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUR_TOP = {ours: theirs for theirs, ours in _TOP.items()}
_OUR_BLOCK = {ours: theirs for theirs, ours in _BLOCK.items()}
ROPE_FACTORS = "rope_freqs.weight"
"""Divisors of the rotary frequencies, which Hugging Face computes from the configuration."""


def is_family(metadata: Mapping[str, Any]) -> bool:
    """Whether the names and the configuration here fit: the dense members of the family."""
    architecture = metadata["general.architecture"]
    return architecture in FAMILY and not metadata.get(f"{architecture}.expert_count")


def hf_name(name: str) -> str | None:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; None for a name that is not known."""
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name):
        layer, part, kind = match.groups()
        return f"model.layers.{layer}.{_BLOCK[part]}.{kind}" if part in _BLOCK else None
    part, _, kind = name.partition(".")
    return f"{_TOP[part]}.{kind}" if part in _TOP and kind in ("weight", "bias") else None


def gguf_name(name: str) -> str | None:
    """What `hf_name` is the inverse of; None for a name that is not known."""
    part, _, kind = name.rpartition(".")
    if match := re.fullmatch(r"model\.layers\.(\d+)\.(.+)", part):
        layer, part = match.groups()
        return f"blk.{layer}.{_OUR_BLOCK[part]}.{kind}" if part in _OUR_BLOCK else None
    return f"{_OUR_TOP[part]}.{kind}" if part in _OUR_TOP else None


def interleaved_heads(metadata: Mapping[str, Any], name: str) -> int:
    """Heads whose rows lie interleaved for ggml's rotary embedding; 0 for a tensor whose rows are in order."""
    if metadata["general.architecture"] != "llama":
        return 0
    if ".attn_q." in name:
        return int(metadata["llama.attention.head_count"])
    return _kv_heads(metadata) if ".attn_k." in name else 0


def config(metadata: Mapping[str, Any], names: Sequence[str], rope_factors: Sequence[float]) -> dict[str, Any]:
    """`config.json` of the model. Raises `ModelUnsupported` for a rotary embedding of another kind."""
    architecture = metadata["general.architecture"]

    def value(key: str) -> Any:
        return metadata[f"{architecture}.{key}"]

    heads = value("attention.head_count")
    table = {
        "architectures": [FAMILY[architecture]],
        "model_type": architecture,
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "hidden_size": value("embedding_length"),
        "intermediate_size": value("feed_forward_length"),
        "num_hidden_layers": value("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _kv_heads(metadata),
        "head_dim": _head_dim(metadata, heads),
        "max_position_embeddings": value("context_length"),
        "rms_norm_eps": value("attention.layer_norm_rms_epsilon"),
        "rope_parameters": _rope(metadata, architecture, rope_factors),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in names,
        "torch_dtype": "float32",
    }
    if architecture == "llama":
        table["attention_bias"] = "blk.0.attn_q.bias" in names
        table["mlp_bias"] = "blk.0.ffn_up.bias" in names
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        table[f"{name}_token_id"] = metadata.get(f"tokenizer.ggml.{key}_token_id")
    return table


def _kv_heads(metadata: Mapping[str, Any]) -> int:
    architecture = metadata["general.architecture"]
    heads = metadata[f"{architecture}.attention.head_count"]
    return int(metadata.get(f"{architecture}.attention.head_count_kv", heads))


def _head_dim(metadata: Mapping[str, Any], heads: int) -> int:
    architecture = metadata["general.architecture"]
    default = metadata[f"{architecture}.embedding_length"] // heads
    rotary = metadata.get(f"{architecture}.rope.dimension_count", default)
    head_dim = int(metadata.get(f"{architecture}.attention.key_length", rotary))
    if rotary != head_dim:
        raise ModelUnsupported(f"The model turns only {rotary} of {head_dim} dimensions of a head, which we can't run.")
    return head_dim


def _rope(metadata: Mapping[str, Any], architecture: str, factors: Sequence[float]) -> dict[str, Any]:
    theta = metadata.get(f"{architecture}.rope.freq_base", 10000.0)
    kind = metadata.get(f"{architecture}.rope.scaling.type", "none")
    factor = metadata.get(f"{architecture}.rope.scaling.factor", 0.0)
    if factors and max(factors) != 1.0:
        return _llama3_rope(theta, factors)
    if kind == "none":
        return {"rope_type": "default", "rope_theta": theta}
    original = metadata.get(f"{architecture}.rope.scaling.original_context_length")
    if kind == "linear" and factor:
        return {"rope_type": "linear", "rope_theta": theta, "factor": factor}
    if kind == "yarn" and factor and original:
        yarn = {"rope_type": "yarn", "rope_theta": theta, "factor": factor}
        return {**yarn, "original_max_position_embeddings": original}
    raise ModelUnsupported(f"The model's rotary embedding is scaled in a way we don't know: {kind!r}.")


def _llama3_rope(theta: float, factors: Sequence[float]) -> dict[str, Any]:
    """Llama 3.1's scaling, of which a GGUF file keeps only what it does to each frequency."""
    rope = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": max(factors),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    expected = llama3_factors(rope, len(factors))
    if not all(math.isclose(*pair, rel_tol=1e-3) for pair in zip(factors, expected, strict=True)):
        raise ModelUnsupported("The model divides its rotary frequencies in a way we don't know.")
    return rope


def llama3_factors(rope: Mapping[str, Any], count: int) -> list[float]:
    """What Llama 3.1's scaling divides each of `count` rotary frequencies by."""
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    factors = []
    for index in range(count):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (index / count)
        smooth = (rope["original_max_position_embeddings"] / wavelength - low) / (high - low)
        smooth = min(max(smooth, 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors
