"""Models of a few thousand weights, made at random, in the folders that real ones come in."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    Gemma3TextConfig,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 320
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS: dict[str, Any] = {
    "llama": lambda: LlamaConfig(**SIZES),
    "wide": lambda: LlamaConfig(**{**SIZES, "hidden_size": 64, "num_attention_heads": 4}),
    "qwen2": lambda: Qwen2Config(**SIZES),
    "qwen3": lambda: Qwen3Config(**SIZES, head_dim=8),
    "granite": lambda: GraniteConfig(
        **SIZES, embedding_multiplier=6.0, attention_multiplier=0.3, residual_multiplier=0.5, logits_scaling=2.0
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **{**SIZES, "num_hidden_layers": 7}, head_dim=16, query_pre_attn_scalar=16, sliding_window=24
    ),
    "smollm3": lambda: SmolLM3Config(**{**SIZES, "num_hidden_layers": 4, "pad_token_id": 0}),
    "mistral": lambda: MistralConfig(**SIZES, sliding_window=None),
    "mistral-window": lambda: MistralConfig(**SIZES, sliding_window=24),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=1, eos_token_id=2
    ),
}


def tokenizer(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Byte-level BPE with a handful of merges, ChatML's tokens, and `<think>` as a token that is not special."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 4,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["the quick brown fox jumps over the lazy dog " * 5, "你好，世界"], trainer)
    backend.add_tokens(["<think>", "</think>"])
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>")
    made.chat_template = template
    return made


def save(folder: Path, kind: str = "llama", template: str | None = CHATML, seed: int = 0) -> Path:
    """A whole model folder."""
    torch.manual_seed(seed)
    config = CONFIGS[kind]()
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    for weights in model.parameters():  # the usual beginning is so near zero that every prompt gets the same reply
        weights.data.mul_(4)
    model.generation_config.eos_token_id = 2
    model.save_pretrained(folder)
    tokenizer(template).save_pretrained(folder)
    return folder
