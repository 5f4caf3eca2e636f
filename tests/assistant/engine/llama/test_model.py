"""Every architecture, tiny and random, gives transformers' logits and greedy tokens."""

import pytest
import torch
import transformers as tf

from assistant.engine.networks.llama.blocks import Blocks, quantise
from assistant.engine.networks.llama.model import Tree, build, plain
from assistant.engine.networks.llama.packed import BlockLinear
from assistant.engine.networks.llama.shape import unsupported

SMALL = {
    "vocab_size": 199,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
ROPE = {"rope_theta": 10000.0}
LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
    **ROPE,
)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, **ROPE)
GEMMA = dict(
    **SMALL,
    head_dim=32,
    query_pre_attn_scalar=32,
    sliding_window=24,
    layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
)
CASES = {
    "llama2": tf.LlamaConfig(**{**SMALL, "num_key_value_heads": 4}),
    "llama3": tf.LlamaConfig(**SMALL, rope_parameters=LLAMA3),
    "llama-bias": tf.LlamaConfig(**SMALL, attention_bias=True, mlp_bias=True),
    "llama-head-dim": tf.LlamaConfig(**SMALL, head_dim=24),
    "llama-linear": tf.LlamaConfig(**SMALL, rope_parameters=dict(rope_type="linear", factor=2.0, **ROPE)),
    "llama-dynamic": tf.LlamaConfig(
        **{**SMALL, "max_position_embeddings": 32}, rope_parameters=dict(rope_type="dynamic", factor=2.0, **ROPE)
    ),
    "smollm2": tf.LlamaConfig(**SMALL, tie_word_embeddings=True),
    "mistral": tf.MistralConfig(**SMALL, sliding_window=None),
    "mistral-window": tf.MistralConfig(**SMALL, sliding_window=24),
    "qwen2": tf.Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen2-yarn": tf.Qwen2Config(**SMALL, rope_parameters=YARN),
    "qwen2-window": tf.Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=16, max_window_layers=2),
    "qwen3": tf.Qwen3Config(**SMALL, head_dim=32),
    "smollm3": tf.SmolLM3Config(**SMALL, tie_word_embeddings=True),
    "granite": tf.GraniteConfig(
        **SMALL, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.7, logits_scaling=0.3
    ),
    "gemma3": tf.Gemma3TextConfig(**GEMMA, tie_word_embeddings=True),
    "gemma3-linear": tf.Gemma3TextConfig(
        **{**GEMMA, "query_pre_attn_scalar": 20},
        tie_word_embeddings=False,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
        },
    ),
}


def reference(name, dtype=torch.float32):
    torch.manual_seed(0)
    model = tf.AutoModelForCausalLM.from_config(CASES[name]).eval()
    for parameter in model.parameters():  # larger than the usual start, so that every part has a say
        parameter.data.normal_(0, 0.15 if parameter.ndim > 1 else 0.5)
    return model.to(dtype).requires_grad_(False)


@pytest.mark.parametrize("name", CASES)
def test_greedy_tokens_and_logits_are_those_of_transformers(name):
    theirs = reference(name)
    assert unsupported(theirs.config) == ""
    ours = build(theirs.config, theirs.state_dict())
    prompt = torch.randint(0, 199, (40,))
    with torch.inference_mode():
        wanted = theirs.generate(
            prompt[None], max_new_tokens=24, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        kv = ours.empty_kv(128)
        ids, logits = prompt.tolist(), []
        out = ours(prompt, kv, 0)
        for _ in range(24):
            logits.append(out)
            ids.append(int(out.argmax()))
            out = ours(torch.tensor(ids[-1:]), kv, len(ids) - 1)
    torch.testing.assert_close(torch.cat(logits), torch.cat(wanted.logits), rtol=1e-4, atol=1e-4)
    assert ids == wanted.sequences[0].tolist()


@pytest.mark.parametrize("name", [name for name in CASES if name != "llama-dynamic"])
def test_a_prompt_in_pieces_is_the_prompt_at_once(name):
    theirs = reference(name)
    ours = build(theirs.config, theirs.state_dict())
    prompt = torch.randint(0, 199, (50,))
    with torch.inference_mode():
        whole = ours(prompt, ours.empty_kv(64), 0, last=50)
        kv, start, pieces = ours.empty_kv(64), 0, []
        for size in (7, 1, 30, 12):
            pieces.append(ours(prompt[start : start + size], kv, start, last=size))
            start += size
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("in_blocks", [False, True])
@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_everything_is_on_the_device_of_the_weights(name: str, in_blocks: bool) -> None:
    """On `meta`, which refuses to compute with what lies on the CPU as a GPU does."""
    theirs, device = reference(name, torch.bfloat16), torch.device("meta")
    weights = {name: value.to(device) for name, value in theirs.state_dict().items()}
    if in_blocks:
        weights |= {
            name: quantise(value, 8).to(device)
            for name, value in theirs.state_dict().items()
            if value.ndim == 2 and value.shape[1] % 32 == 0
        }
    model = build(
        theirs.config,
        weights,
        lambda weight, bias: (BlockLinear if isinstance(weight, Blocks) else plain)(weight, bias),
    )
    ids, kv = torch.arange(8, device=device), model.empty_kv(64, torch.bfloat16)
    for logits in (
        model(ids, kv, 0),
        model(ids[:1], kv, 8),
        model(ids[:4], kv, 9, last=4),
        model(ids[:3], kv, 13, last=3, tree=Tree([-1, 0, 0], device)),
    ):
        assert logits.device == device and logits.dtype == torch.bfloat16
