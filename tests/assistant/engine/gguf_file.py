"""GGUF files of tiny models, written as llama.cpp's converter writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

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


def write(
    file: Path,
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    kind: str = "Q8_0",
    pre: str = "gpt-2",
    more: Callable[[gguf.GGUFWriter], None] = lambda _: None,
) -> dict[str, torch.Tensor]:
    """Write the model; what its weights are after having been quantised, by Hugging Face's names.

    Matrices get the ggml type `kind`, vectors stay float32.
    """
    config = model.config
    writer = gguf.GGUFWriter(file, config.model_type)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim if config.model_type == "qwen3" else 8)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    write_tokenizer(writer, tokenizer, pre)
    more(writer)
    quantised = {}
    type_ = gguf.GGMLQuantizationType[kind]
    for name, weights in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        plain = weights.float().numpy()
        ours = _gguf_name(name)
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(ours.split(".")[-2], 0)
        blocks = gguf.quantize(plain, type_) if plain.ndim == 2 else plain
        quantised[name] = torch.from_numpy(gguf.dequantize(blocks, type_) if plain.ndim == 2 else plain.copy())
        if heads and config.model_type == "llama":
            blocks = _interleaved(blocks, heads)
        writer.add_tensor(ours, blocks, raw_dtype=type_ if plain.ndim == 2 else None)
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


def _gguf_name(name: str) -> str:
    part, _, kind = name.rpartition(".")
    if part.startswith("model.layers."):
        _, _, layer, part = part.split(".", 3)
        return f"blk.{layer}.{NAMES[part]}.{kind}"
    return f"{NAMES[part]}.{kind}"


def _interleaved(rows: "np.ndarray[Any, Any]", heads: int) -> "np.ndarray[Any, Any]":
    """`LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
