"""Metadata of a GGUF file of the Llama family -> Hugging Face's configuration and tensor names. Loads no torch.

Keys and names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assistant.engine.formats.gguf_header import fraction, whole
from assistant.errors import ModelIncomplete, ModelUnsupported

FAMILY = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
    "granite": ("granite", "GraniteForCausalLM"),
    "smollm3": ("smollm3", "SmolLM3ForCausalLM"),
}
"""GGUF architecture (Mistral and SmolLM 2 files say llama) -> model type and class in transformers."""
INTERLEAVED = ("llama", "granite", "smollm3")
"""Architectures whose queries and keys lie as ggml's rotary embedding of neighbours wants them."""
GEMMA_PERIOD = 6
"""Every sixth layer of Gemma 3 sees the whole text, the others a window."""
GEMMA_27B_LAYERS = 62
"""Gemma 3 27B scales its queries by another width than that of its heads; its file doesn't say so."""

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
_GEMMA_BLOCK = _BLOCK | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_OUR_TOP = {ours: theirs for theirs, ours in _TOP.items()}
_OUR_BLOCK = {ours: theirs for theirs, ours in _BLOCK.items()}
ROPE_FACTORS = "rope_freqs.weight"
"""Divisors of the rotary frequencies, which Hugging Face computes from the configuration."""


def is_family(metadata: Mapping[str, Any]) -> bool:
    """Whether the names and the configuration here fit: the dense members of the family."""
    architecture = metadata["general.architecture"]
    return architecture in FAMILY and not metadata.get(f"{architecture}.expert_count")


def hf_name(name: str, architecture: str = "llama") -> str | None:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; None for a name that is not known."""
    if match := re.fullmatch(r"blk\.(\d{1,9})\.(\w+)\.(weight|bias)", name):
        layer, part, kind = match.groups()
        block = _GEMMA_BLOCK if architecture == "gemma3" else _BLOCK
        return f"model.layers.{layer}.{block[part]}.{kind}" if part in block else None
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
    architecture = metadata["general.architecture"]
    if architecture not in INTERLEAVED:
        return 0
    if ".attn_q." in name:
        return int(metadata[f"{architecture}.attention.head_count"])
    return _kv_heads(metadata) if ".attn_k." in name else 0


def norm_offset(metadata: Mapping[str, Any], name: str) -> float:
    """What a file adds to the tensor's numbers: Gemma's norms are stored as what is multiplied with."""
    return 1.0 if metadata["general.architecture"] == "gemma3" and name.endswith("norm.weight") else 0.0


def config(metadata: Mapping[str, Any], names: Sequence[str], rope_factors: Sequence[float]) -> dict[str, Any]:
    """`config.json` of the model. Call `check` first: the number of layers may be absurd.

    Raises `ModelUnsupported` for another kind of rotary embedding, `ModelIncomplete` for impossible numbers, `KeyError`
    for missing ones.
    """
    architecture = metadata["general.architecture"]
    model_type, class_name = FAMILY[architecture]

    def number(key: str) -> int:
        return whole(metadata, f"{architecture}.{key}")

    heads = number("attention.head_count")
    table = {
        "architectures": [class_name],
        "model_type": model_type,
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "hidden_size": number("embedding_length"),
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _kv_heads(metadata),
        "head_dim": _head_dim(metadata, heads),
        "max_position_embeddings": number("context_length"),
        "rms_norm_eps": fraction(metadata, f"{architecture}.attention.layer_norm_rms_epsilon"),
        "rope_parameters": _rope(metadata, architecture, rope_factors),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in names,
        "torch_dtype": "float32",
    }
    if architecture in INTERLEAVED:
        table["attention_bias"] = "blk.0.attn_q.bias" in names
        table["mlp_bias"] = "blk.0.ffn_up.bias" in names
    if architecture == "gemma3":
        table |= _gemma(metadata, table)
    if architecture == "granite":
        table |= _granite(metadata)
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        table[f"{name}_token_id"] = metadata.get(f"tokenizer.ggml.{key}_token_id")
    return table


def _gemma(metadata: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """What Gemma 3 has of its own, as llama.cpp reads it from a file."""
    layers, window = table["num_hidden_layers"], metadata.get("gemma3.attention.sliding_window")
    theta = fraction(metadata, "gemma3.rope.freq_base_swa", 10000.0)
    widths = table["hidden_size"] // table["num_attention_heads"], table["head_dim"]
    return {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": widths[0 if layers == GEMMA_27B_LAYERS else 1],
        "sliding_window": window and whole(metadata, "gemma3.attention.sliding_window"),
        "layer_types": [
            "full_attention" if not window or (index + 1) % GEMMA_PERIOD == 0 else "sliding_attention"
            for index in range(layers)
        ],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": theta},
            "full_attention": table["rope_parameters"],
        },
    }


def _granite(metadata: Mapping[str, Any]) -> dict[str, Any]:
    named = {
        "embedding_multiplier": "embedding_scale",
        "attention_multiplier": "attention.scale",
        "residual_multiplier": "residual_scale",
        "logits_scaling": "logit_scale",
    }
    return {ours: fraction(metadata, f"granite.{theirs}") for ours, theirs in named.items()}


def layers_of(names: Sequence[str]) -> set[int]:
    """The numbers of the layers that tensors belong to."""
    return {int(match[1]) for name in names if (match := re.match(r"blk\.(\d{1,9})\.", name))}


def check(metadata: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise `ModelIncomplete` where the tensors, by their names in the file, aren't those that its header says.

    Called before anything is made of the header's numbers.
    """
    architecture = metadata["general.architecture"]
    count, found = whole(metadata, f"{architecture}.block_count"), layers_of(list(shapes))
    if len(found) != count or max(found, default=0) != count - 1:
        raise ModelIncomplete(
            f"The GGUF file is damaged: it says {count:,} layers, but holds tensors of {len(found):,}. Get it again."
        )
    for name, shape in _wanted(metadata, architecture, count):
        if name not in shapes:
            raise ModelIncomplete(f"The GGUF file is incomplete: it lacks the tensor {name}. Get it again.")
        if list(shapes[name]) != list(shape):
            raise ModelIncomplete(
                f"The GGUF file is damaged: the tensor {name} has the shape {list(shapes[name])}, not {list(shape)} "
                "as its header says. Get it again."
            )
    for name, shape in shapes.items():
        weight = {"output.weight": "token_embd.weight"}.get(name, name.replace(".bias", ".weight"))
        if list(shape) != list(shapes.get(weight, ()))[: len(shape)] or (name == "output.weight" and len(shape) != 2):
            raise ModelIncomplete(f"The GGUF file is damaged: {name} doesn't fit {weight}. Get it again.")


def _wanted(metadata: Mapping[str, Any], architecture: str, layers: int) -> Iterator[tuple[str, Sequence[int]]]:
    """Names and shapes of the tensors that a model can't be without."""
    width, hidden = (whole(metadata, f"{architecture}.{key}") for key in ("embedding_length", "feed_forward_length"))
    heads = whole(metadata, f"{architecture}.attention.head_count")
    dim = _head_dim(metadata, heads)
    q, kv = heads * dim, _kv_heads(metadata) * dim
    block = {
        "attn_norm": [width],
        "attn_q": [q, width],
        "attn_k": [kv, width],
        "attn_v": [kv, width],
        "attn_output": [width, q],
        "ffn_norm": [width],
        "ffn_gate": [hidden, width],
        "ffn_up": [hidden, width],
        "ffn_down": [width, hidden],
    }
    if architecture in ("qwen3", "gemma3"):
        block |= {"attn_q_norm": [dim], "attn_k_norm": [dim]}
    if architecture == "gemma3":
        block |= {"post_attention_norm": [width], "post_ffw_norm": [width]}
    yield "token_embd.weight", [len(metadata["tokenizer.ggml.tokens"]), width]
    yield "output_norm.weight", [width]
    for index in range(layers):
        for name, shape in block.items():
            yield f"blk.{index}.{name}.weight", shape


def _kv_heads(metadata: Mapping[str, Any]) -> int:
    architecture = metadata["general.architecture"]
    heads = whole(metadata, f"{architecture}.attention.head_count")
    key = f"{architecture}.attention.head_count_kv"
    kv_heads = whole(metadata, key, most=heads) if key in metadata else heads
    if heads % kv_heads:
        raise ModelIncomplete(f"The GGUF file is damaged: {heads} heads share {kv_heads} key heads. Get it again.")
    return kv_heads


def _head_dim(metadata: Mapping[str, Any], heads: int) -> int:
    architecture = metadata["general.architecture"]
    default = whole(metadata, f"{architecture}.embedding_length") // heads
    head_dim = metadata.get(f"{architecture}.attention.key_length")
    rotary = metadata.get(f"{architecture}.rope.dimension_count", head_dim or default)
    head_dim = rotary if head_dim is None else head_dim
    if rotary != head_dim:
        raise ModelUnsupported(f"The model turns only {rotary} of {head_dim} dimensions of a head, which we can't run.")
    return whole({"the width of a head": head_dim}, "the width of a head")


def _rope(metadata: Mapping[str, Any], architecture: str, factors: Sequence[float]) -> dict[str, Any]:
    theta = fraction(metadata, f"{architecture}.rope.freq_base", 10000.0)
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
    raise ModelUnsupported(f"The model's rotary embedding is scaled in a way we don't know: {kind!r:.40}.")


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
