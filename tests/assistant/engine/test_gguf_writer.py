"""What is written as GGUF is read again as what it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from assistant.engine.formats import gguf, gguf_writer, weights
from assistant.engine.formats.gguf_tokenizer import SPLITS
from assistant.engine.formats.gguf_writer import PROBE
from assistant.engine.generate.chat_format import ChatFormat
from assistant.engine.models.model_folder import load_tokenizer
from assistant.errors import ModelUnsupported
from prompts.message import Message
from tests.assistant.engine import tiny
from tests.assistant.engine.test_gguf_tokenizer import ORIGINALS, metadata, saved, trained
from tests.assistant.engine.test_sentencepiece import CONVERSATION, CORPUS, folder_of

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def written(model: Any, tokenizer: Any, folder: Path) -> Path:
    """The model as GGUF and read again into our own form."""
    gguf_writer.write(folder / "model.gguf", model, tokenizer, "tiny")
    gguf.convert(folder / "model.gguf", folder / "read", lambda _: None)
    return folder / "read"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral"])
def test_weights_and_tokens_are_read_again(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    original = tiny.save(tmp_path / "original", kind)
    model = weights.load(original, dtype, torch.device("cpu"))
    tokenizer = AutoTokenizer.from_pretrained(original)
    read = written(model, tokenizer, tmp_path)
    again = weights.load(read, dtype, torch.device("cpu"))
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    ids = torch.tensor([[1, 7, 30, 200, 301]])
    assert torch.allclose(model.float()(ids).logits, again.float()(ids).logits, atol=1e-4)
    told = AutoTokenizer.from_pretrained(read)
    assert told.chat_template == tokenizer.chat_template
    said = [Message("user", "the lazy 你好 <think>")]
    turns = [{"role": one.role, "content": one.content} for one in said]
    assert told.apply_chat_template(turns) == tokenizer.apply_chat_template(turns)
    assert (told.eos_token_id, told.bos_token_id) == (tokenizer.eos_token_id, tokenizer.bos_token_id)
    for one in PROBE:
        assert told(one)["input_ids"] == tokenizer(one)["input_ids"]


def test_llama3s_frequencies_are_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**tiny.SIZES, "max_position_embeddings": 32768}, rope_parameters=LLAMA3))
    read = written(model, tiny.tokenizer(), tmp_path)
    assert weights.read_config(read).rope_parameters == LLAMA3


@pytest.mark.parametrize("pre", ORIGINALS)
def test_the_way_to_split_text_is_found(tmp_path: Path, pre: str) -> None:
    from tokenizers import pre_tokenizers

    vocabulary, merges = trained(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer = saved(metadata(vocabulary, merges, pre), tmp_path)
    config = LlamaConfig(**{**tiny.SIZES, "vocab_size": len(tokenizer) + 3})
    told = gguf_writer.described(config, tokenizer)
    assert told["tokenizer.ggml.pre"] == pre in SPLITS
    assert told["tokenizer.ggml.tokens"][-1] == f"[PAD{len(tokenizer) + 2}]"


@pytest.mark.parametrize("kind", ["llama-2", "gemma"])
def test_a_sentencepiece_tokenizer_is_read_again(tmp_path: Path, kind: str) -> None:
    tokenizer = load_tokenizer(folder_of(kind, tmp_path / "original"))
    model = LlamaForCausalLM(LlamaConfig(**{**tiny.SIZES, "vocab_size": len(tokenizer)}))
    again = load_tokenizer(written(model, tokenizer, tmp_path))
    for one in (*PROBE, *CORPUS, " two  spaces", ""):
        assert again(one)["input_ids"] == tokenizer(one)["input_ids"], one
    assert ChatFormat(again).encode(CONVERSATION) == ChatFormat(tokenizer).encode(CONVERSATION)


def test_what_gguf_cannot_say_is_refused(tmp_path: Path) -> None:
    for kind, reason in (("mistral-window", "sliding window"), ("gpt2", "model type 'gpt2'")):
        original = tiny.save(tmp_path / kind, kind)
        model = weights.load(original, torch.bfloat16, torch.device("cpu"))
        with pytest.raises(ModelUnsupported, match=reason):
            gguf_writer.write(tmp_path / f"{kind}.gguf", model, tiny.tokenizer(), kind)
