"""A model of transformers takes every kind of adapter in turn, gives PEFT's logits, and is its base again after it."""

import warnings

import peft
import pytest
import torch
import transformers as tf
from safetensors.torch import save_file

from assistant.adapters.folder import CHANGED
from assistant.engine.networks.network import Ask, Conversation
from assistant.engine.networks.through_transformers import TransformersNetwork
from assistant.errors import AdapterError
from finetune.network import greedy
from tests.assistant.engine.llama.test_model import CASES

pytestmark = pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*", "ignore:.*is_gradient_checkpointing")

GPT2 = {
    "plain": {"target_modules": ["c_attn", "c_fc", "c_proj"], "r": 4},
    "dora": {"target_modules": ["c_attn"], "r": 4, "use_dora": True},
    "rslora": {"target_modules": "all-linear", "r": 8, "use_rslora": True, "rank_pattern": {"c_fc": 3}},
    "embedding": {"target_modules": ["wte", "c_attn"], "r": 2},
}


def gpt2(width=32, layers=2, dtype=torch.float32):
    torch.manual_seed(0)
    config = tf.GPT2Config(vocab_size=199, n_embd=width, n_layer=layers, n_head=4, n_positions=64)
    model = tf.AutoModelForCausalLM.from_config(config, dtype=dtype).eval().requires_grad_(False)
    for parameter in model.parameters():  # larger than the usual start, so that every part has a say
        parameter.mul_(5)
    return model


OTHERS = {
    "ia3": lambda: peft.IA3Config(task_type="CAUSAL_LM", fan_in_fan_out=True),
    "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "prompt": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
}
KINDS = [*GPT2, *OTHERS, "weights"]


def with_adapter(model, config):
    """PEFT's model with an adapter at random that has its say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "magnitude" in name or "ia3_" in name:
            parameter.data *= torch.rand_like(parameter) + 0.5
        elif "prompt_encoder" in name:
            parameter.data.normal_(0, 1)
    return model


def saved(kind, folder, dtype=torch.float32, **sizes):
    """Something trained at random, in `folder`, and transformers' or PEFT's model with it."""
    model = gpt2(dtype=dtype, **sizes)
    if kind == "weights":
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter) * 0.05
        folder.mkdir()
        save_file({name: one.float() for name, one in model.named_parameters()}, folder / CHANGED)
        return model
    lora = lambda: peft.LoraConfig(**GPT2[kind], init_lora_weights=False, fan_in_fan_out=kind != "embedding")  # noqa: E731
    model = with_adapter(model, (lora if kind in GPT2 else OTHERS[kind])())
    model.save_pretrained(folder, save_embedding_layers=False)
    return peft.PeftModel.from_pretrained(gpt2(dtype=dtype, **sizes), folder)


def logits(network, ids, folder=None):
    """(last, V) of a prompt in two pieces, and of what follows once the second was taken back."""
    adapter = network.use(folder) if folder else ""
    conversation = Conversation(network.cache(adapter), adapter)
    found = [network.logits([Ask(conversation, ids[:12], last=12)])[0]]
    network.logits([Ask(conversation, [7, 7, 7])])
    assert conversation.kv.crop(12)
    del conversation.ids[12:]
    copied = Conversation(conversation.kv.copy(12), adapter, conversation.ids[:12])
    found.append(network.logits([Ask(copied, ids[12:], last=len(ids) - 12)])[0])
    return torch.cat(found).float()


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_every_kind_in_turn_and_the_base_after_it(dtype, tmp_path):
    network, ids = TransformersNetwork(gpt2(dtype=dtype)), torch.randint(0, 199, (20,)).tolist()
    base = logits(network, ids)
    wanted = {kind: greedy._logits(saved(kind, tmp_path / kind, dtype), ids).float()[-20:] for kind in KINDS}
    allowed = 1e-4 if dtype == torch.float32 else 0.05  # a prompt in pieces is rounded otherwise than one at once
    for kind in [*KINDS, *reversed(KINDS)]:
        found = logits(network, ids, tmp_path / kind)
        assert (found - base).abs().max() > 0.1
        assert (found - wanted[kind]).norm() < allowed * (base - wanted[kind]).norm()
        assert torch.equal(logits(network, ids), base)


TINY = {"vocab_size": 199, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "hidden_size": 32}
HEADS = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
WINDOW = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 12}
ARCHITECTURES = {
    "bloom": lambda: tf.BloomConfig(n_layer=2, n_head=4, **TINY),
    "gpt_neox": lambda: tf.GPTNeoXConfig(**HEADS, **TINY),
    "gemma3": lambda: tf.Gemma3TextConfig(**WINDOW, **HEADS, **TINY),
    "mixtral": lambda: tf.MixtralConfig(num_key_value_heads=2, num_local_experts=2, **HEADS, **TINY),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_other_architectures_give_what_peft_gives(name, tmp_path):
    def model():
        torch.manual_seed(0)
        made = tf.AutoModelForCausalLM.from_config(ARCHITECTURES[name]()).eval().requires_grad_(False)
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.15)
        return made

    network, ids = TransformersNetwork(model()), torch.randint(0, 199, (20,)).tolist()
    for kind, config in OTHERS.items():
        with torch.inference_mode(False):
            theirs = with_adapter(model(), config())
            theirs.save_pretrained(tmp_path / kind, save_embedding_layers=False)
        adapter = network.use(tmp_path / kind)
        conversation = Conversation(network.cache(adapter), adapter)
        found = [network.logits([Ask(conversation, some, last=len(some))])[0] for some in (ids[:12], *zip(ids[12:]))]
        wanted = greedy._logits(theirs.eval(), ids)[-20:]
        torch.testing.assert_close(torch.cat(found), wanted, rtol=1e-4, atol=1e-4)


def test_those_that_were_not_used_for_long_are_dropped_and_read_again(tmp_path, monkeypatch):
    for kind in KINDS:
        saved(kind, tmp_path / kind)
    monkeypatch.setattr("assistant.engine.networks.adapters.HELD_BYTES", 1)
    network, ids = TransformersNetwork(gpt2()), torch.randint(0, 199, (20,)).tolist()
    base = logits(network, ids)
    first = {kind: logits(network, ids, tmp_path / kind) for kind in KINDS}
    assert torch.equal(logits(network, ids), base)
    adapter = network.use(tmp_path / "plain")
    conversation = Conversation(network.cache(adapter), adapter)
    network.logits([Ask(conversation, ids[:12])])
    for kind in KINDS:
        assert torch.equal(logits(network, ids, tmp_path / kind), first[kind])
    assert len([name for name, _ in network.model.named_parameters() if "lora_" in name]) == 0
    after = network.logits([Ask(conversation, ids[12:], last=8)])[0]
    torch.testing.assert_close(after, first["plain"][12:], rtol=1e-4, atol=1e-4)


REFUSED = [
    ("plain", {"width": 64}, r"size mismatch for transformer.h.0.attn.c_attn.lora_A.*\[4, 32\].*\[4, 64\]"),
    ("plain", {"layers": 1}, r"changes transformer.h.1.*, which the model doesn't have"),
    ("plain", {"layers": 3}, r"lacks transformer.h.2"),
    ("ia3", {"width": 64}, r"has 96 gains for transformer.h.0.attn.c_attn, which has 64 inputs and 192 outputs"),
    ("ia3", {"layers": 1}, r"changes transformer.h.1.* and 1 more, which this model doesn't have"),
    ("ia3", {"layers": 3}, r"lacks weights for transformer.h.2"),
    ("prefix", {"width": 64}, r"doesn't fit this model: shape .* is invalid"),
    ("prefix", {"layers": 3}, r"doesn't fit this model: shape .* is invalid"),
    ("prompt", {"width": 64}, r"doesn't fit this model"),
    ("weights", {"width": 64}, r"of the shape \(96,\), where this model has \(192,\)"),
    ("weights", {"layers": 1}, r"changes transformer.h.1.* and 11 more, which this model doesn't have"),
]


@pytest.mark.parametrize(("kind", "sizes", "sentence"), REFUSED)
def test_what_does_not_fit_is_refused_and_the_others_outlive_it(kind, sizes, sentence, tmp_path):
    saved(kind, tmp_path / "of another model")
    saved("plain", tmp_path / "fits", **sizes)
    network, ids = TransformersNetwork(gpt2(**sizes)), torch.randint(0, 199, (20,)).tolist()
    before = [logits(network, ids), logits(network, ids, tmp_path / "fits")]
    with pytest.raises(AdapterError, match=sentence):
        network.use(tmp_path / "of another model")
    assert torch.equal(logits(network, ids), before[0])
    assert torch.equal(logits(network, ids, tmp_path / "fits"), before[1])


def test_linears_of_other_names_are_refused(tmp_path):
    saved("plain", tmp_path / "a")
    network = TransformersNetwork(tf.AutoModelForCausalLM.from_config(CASES["smollm2"]).eval())
    with pytest.raises(AdapterError, match=r"c_attn.* not found in the base model"):
        network.use(tmp_path / "a")
