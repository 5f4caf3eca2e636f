"""The numbers and switches of a model of the Llama family, from transformers' configuration, or why it can't be run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistant.engine.networks.llama.rotary import SCALINGS

FAMILY = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "granite", "gemma3_text")
"""Model types in transformers."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a model that its forward pass needs, from transformers' configuration."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    eps: float
    qk_norm: bool
    rotations: tuple[int, ...]
    """For each layer which of the model's rotary embeddings it has, or -1: SmolLM3 has none in every fourth layer,
    Gemma 3 another one in layers with a window."""
    windows: tuple[int, ...]
    """For each layer how many positions back it sees; 0: all."""
    gelu: bool = False
    """Whether the perceptron's gate is gelu (its form with tanh) instead of silu."""
    norm_offset: float = 0.0
    """What is added to the stored weights of norms: Gemma's lie around 0."""
    norms_after: bool = False
    """Whether what attention and the perceptron add is normed too."""
    attention_scale: float = 0.0
    """What scores are multiplied with."""
    embed_scale: float = 1.0
    residual_scale: float = 1.0
    """Of what each block adds."""
    logits_scale: float = 1.0
    scales_prompts: bool = False
    """Whether embeddings that no token made are multiplied with `embed_scale` too."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing is scaled, normed or gated otherwise than in Llama."""
        switches = self.gelu, self.norms_after, self.norm_offset, self.attention_scale
        scales = self.embed_scale, self.residual_scale, self.logits_scale
        return (
            switches == (False, False, 0.0, 1 / math.sqrt(self.head_dim))
            and scales == (1.0, 1.0, 1.0)
            and set(self.rotations) <= {-1, 0}
        )

    def linear(self, name: str) -> tuple[int, int]:
        """Rows and columns of a linear by its path in the model."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "head": (self.vocabulary, self.width),
            "qkv": (q + 2 * kv, self.width),
            "out": (self.width, q),
            "gate_up": (2 * self.hidden, self.width),
            "down": (self.width, self.hidden),
        }[name.rpartition(".")[2]]

    def vector(self, name: str) -> tuple[int, ...]:
        """The shape of a norm's weights by its path in the model."""
        return (self.heads + self.kv_heads, self.head_dim) if name.endswith("qk_norm") else (self.width,)

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """Of a model for which `unsupported` is empty."""
        count = config.num_hidden_layers
        window = getattr(config, "sliding_window", None) or 0
        kinds = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"] * count
        gemma, granite = config.model_type == "gemma3_text", config.model_type == "granite"
        rotations = [0 if one else -1 for one in getattr(config, "no_rope_layers", None) or [1] * count]
        if gemma:
            rotations = [list(rope_parameters(config)).index(kind) for kind in kinds]
        return cls(
            layers=count,
            width=config.hidden_size,
            hidden=config.intermediate_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=_head_dim(config),
            vocabulary=config.vocab_size,
            eps=config.rms_norm_eps,
            qk_norm=config.model_type in ("qwen3", "gemma3_text"),
            rotations=tuple(rotations),
            windows=tuple(window if kind == "sliding_attention" else 0 for kind in kinds),
            gelu=gemma,
            norm_offset=1.0 if gemma else 0.0,
            norms_after=gemma,
            attention_scale=_attention_scale(config),
            embed_scale=config.hidden_size**0.5 if gemma else getattr(config, "embedding_multiplier", 1.0),
            residual_scale=config.residual_multiplier if granite else 1.0,
            logits_scale=1 / config.logits_scaling if granite else 1.0,
            scales_prompts=granite,
        )


def unsupported(config: Any) -> str:
    """Why this module can't run a model of this configuration; empty where it can."""
    if config.model_type not in FAMILY:
        return f"model type {config.model_type!r}"
    gemma = config.model_type == "gemma3_text"
    activation = config.hidden_activation if gemma else config.hidden_act
    if activation != ("gelu_pytorch_tanh" if gemma else "silu"):
        return f"activation {activation!r}"
    for name in ("attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention"):
        if getattr(config, name, None):
            return name
    for rope in rope_parameters(config).values():
        if (kind := rope.get("rope_type")) not in SCALINGS:
            return f"rotary scaling {kind!r}"
        if rope.get("partial_rotary_factor", 1.0) != 1.0:
            return "rotary embedding of a part of each head"
    return ""


def rope_parameters(config: Any) -> Mapping[str, Mapping[str, Any]]:
    """Of each of the model's rotary embeddings, by the type of the layers that have it; "" for all types."""
    nested = "full_attention" in config.rope_parameters
    return config.rope_parameters if nested else {"": config.rope_parameters}


def _attention_scale(config: Any) -> float:
    if config.model_type == "granite":
        return float(config.attention_multiplier)
    width: float = getattr(config, "query_pre_attn_scalar", None) or _head_dim(config)
    return 1 / math.sqrt(width)


def _head_dim(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
