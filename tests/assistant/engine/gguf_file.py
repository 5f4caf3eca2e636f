"""GGUF files of tiny models, written as llama.cpp's converter writes them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from tests.assistant.engine.llama.random_blocks import random_blocks

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GEMMA_NAMES = {
    **NAMES,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
ARCHITECTURES = {"gemma3_text": "gemma3"}
"""Where it isn't the model type."""


def write(
    file: Path,
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    kind: str | Sequence[str] = "Q8_0",
    pre: str = "gpt-2",
    more: Callable[[gguf.GGUFWriter], None] = lambda _: None,
) -> dict[str, torch.Tensor]:
    """Write the model; what its weights are after having been quantised, by Hugging Face's names.

    Matrices get the ggml type `kind`, or those of several kinds in turn, vectors stay float32. What gguf can't quantise
    becomes random blocks.
    """
    config = model.config
    architecture = ARCHITECTURES.get(config.model_type, config.model_type)
    kinds = itertools.cycle([kind] if isinstance(kind, str) else kind)
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if architecture == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    if architecture == "granite":
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    write_tokenizer(writer, tokenizer, pre)
    more(writer)
    quantised = {}
    for name, weights in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        plain = weights.float().numpy()
        if architecture == "gemma3" and plain.ndim == 1:
            plain = plain + 1
        ours = _gguf_name(name, GEMMA_NAMES if architecture == "gemma3" else NAMES)
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(ours.split(".")[-2], 0)
        if plain.ndim == 1:
            quantised[name] = weights.float()
            writer.add_tensor(ours, plain)
            continue
        type_ = gguf.GGMLQuantizationType[next(kinds)]
        blocks = _quantised(plain, type_)
        quantised[name] = torch.from_numpy(gguf.dequantize(blocks, type_))
        if heads and architecture in ("llama", "granite", "smollm3"):
            blocks = _interleaved(blocks, heads)
        writer.add_tensor(ours, blocks, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return quantised


def write_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast, pre: str) -> None:
    """A byte-level BPE vocabulary, special and added tokens marked as such."""
    import json

    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = [tokenizer.convert_ids_to_tokens(index) for index in range(len(tokenizer))]
    added = tokenizer.added_tokens_decoder
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([(3 if added[i].special else 4) if i in added else 1 for i in range(len(tokens))])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(str(tokenizer.chat_template))


def _quantised(plain: "np.ndarray[Any, Any]", type_: gguf.GGMLQuantizationType) -> "np.ndarray[Any, Any]":
    try:
        return gguf.quantize(plain, type_)
    except NotImplementedError:
        return random_blocks(type_.name, *plain.shape).rows.numpy()


def _gguf_name(name: str, names: Mapping[str, str]) -> str:
    part, _, kind = name.rpartition(".")
    if part.startswith("model.layers."):
        _, _, layer, part = part.split(".", 3)
        return f"blk.{layer}.{names[part]}.{kind}"
    return f"{names[part]}.{kind}"


def _interleaved(rows: "np.ndarray[Any, Any]", heads: int) -> "np.ndarray[Any, Any]":
    """`LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
