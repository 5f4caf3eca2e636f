"""Our models with adapters, tiny and random, give the logits and greedy tokens that PEFT gives."""

import copy
import json

import peft
import pytest
import torch
import transformers as tf

from assistant.engine import adapters
from assistant.engine.adapter_folder import CONFIG
from assistant.engine.llama import native
from assistant.engine.llama.blocks import Blocks, quantise
from assistant.engine.llama.low_rank import AdaptedLinear
from assistant.engine.llama.model import build
from assistant.engine.llama.packed import Int4Linear
from assistant.errors import AdapterError
from tests.assistant.engine.llama.test_model import CASES, SMALL, reference

pytestmark = pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*", "ignore:.*is_gradient_checkpointing")
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS = {
    "lora": {"target_modules": [*ALL, "lm_head"], "r": 4, "lora_alpha": 6},
    "rslora": {"target_modules": "all-linear", "r": 8, "lora_alpha": 3, "use_rslora": True},
    "dora": {"target_modules": [*ALL, "lm_head"], "r": 4, "use_dora": True},
    "patterns": {
        "target_modules": ALL,
        "r": 4,
        "rank_pattern": {r"layers\.[01]\..*q_proj": 3, "down_proj": 6},
        "alpha_pattern": {"up_proj": 2},
    },
    "few": {"target_modules": ["k_proj", "up_proj"], "r": 2, "layers_to_transform": [0, 3]},
    "expression": {"target_modules": r".*\.[12]\..*(v|gate)_proj", "r": 2, "use_rslora": True, "use_dora": True},
}


def adapted(base, kind, folder):
    """PEFT's model with an adapter at random that has its say, saved in `folder`."""
    model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**KINDS[kind])).eval()
    for name, parameter in model.named_parameters():
        if "magnitude" in name:
            parameter.data *= torch.rand_like(parameter) + 0.5
        elif "lora_" in name:
            parameter.data.normal_(0, 0.15)
    model.save_pretrained(folder, save_embedding_layers=False)
    return model.requires_grad_(False)


def put(model, adapter):
    for name, parts in adapter.parts.items():
        model.get_submodule(name).adapt(parts)


def weights_of(model):
    """As they lie in files: a tied head isn't there."""
    found = dict(model.named_parameters())
    return lambda name: found[name].float()


@torch.inference_mode()
def greedy(model, prompt, count):
    """Ids and logits (count, V) of the reply."""
    kv, ids, logits = model.empty_kv(128), prompt.tolist(), []
    out = model(prompt, kv, 0)
    for _ in range(count):
        logits.append(out)
        ids.append(int(out.argmax()))
        out = model(torch.tensor(ids[-1:]), kv, len(ids) - 1)
    return ids, torch.cat(logits)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in CASES for kind in ("lora", "dora", "patterns")]
    + [(name, kind) for name in ("llama-head-dim", "qwen2", "qwen3") for kind in ("rslora", "few", "expression")],
)
def test_logits_and_greedy_tokens_are_those_of_peft(name, kind, tmp_path):
    base = reference(name)
    theirs = adapted(base, kind, tmp_path)
    ours = build(base.config, base.state_dict())
    put(ours, adapters.read(tmp_path, base.config, weights_of(base)))
    prompt = torch.randint(0, 199, (40,))
    ids, logits = greedy(ours, prompt, 6)
    _, without = greedy(build(base.config, base.state_dict()), prompt, 1)
    assert (logits[0] - without[0]).abs().max() > 0.1
    models = [theirs]
    if not (base.config.tie_word_embeddings and "lm_head" in KINDS[kind]["target_modules"]):
        models.append(copy.deepcopy(theirs).merge_and_unload())  # with a tied head PEFT changes the embedding too
    for model in models:
        with torch.inference_mode():
            options = {"max_new_tokens": 6, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
            wanted = model.generate(input_ids=prompt[None], **options)
        torch.testing.assert_close(logits, torch.cat(wanted.logits), rtol=1e-4, atol=1e-4)
        assert ids == wanted.sequences[0].tolist()


class Packed(AdaptedLinear):
    def __init__(self, blocks, bias):
        super().__init__(bias)
        self.linear = Int4Linear(blocks)

    def product(self, x):
        return self.linear(x)


def quantised(folder, kind):
    """A model's configuration and weights in 4 bits, and what PEFT makes of the same numbers in 32 bits, merged."""
    torch.manual_seed(0)
    config = tf.LlamaConfig(**{**SMALL, "vocab_size": 208})
    base = tf.AutoModelForCausalLM.from_config(config).eval()
    for parameter in base.parameters():
        parameter.data.normal_(0, 0.15 if parameter.ndim > 1 else 0.5)
    weights = {name: quantise(value, 4) if value.ndim == 2 else value for name, value in base.state_dict().items()}
    base.load_state_dict(
        {name: value.dequantise() if isinstance(value, Blocks) else value for name, value in weights.items()}
    )
    merged = adapted(base, kind, folder).merge_and_unload()
    return config, weights, merged, adapters.read(folder, config, weights_of(base))


def is_nearly(found, wanted, without):
    """Whether what the adapter makes of the logits is exact to 3 %, as the rounded activations allow."""
    return (found - wanted).norm() < 0.03 * (without - wanted).norm()


@pytest.mark.parametrize("kind", ["lora", "dora"])
@torch.inference_mode()
def test_beside_packed_weights_of_4_bits(kind, tmp_path):
    config, weights, merged, adapter = quantised(tmp_path, kind)
    model, ids = build(config, weights, Packed), torch.randint(0, 208, (40,))
    without = model(ids, model.empty_kv(40), 0, last=40)
    put(model, adapter)
    assert is_nearly(model(ids, model.empty_kv(40), 0, last=40), merged(ids[None]).logits[0], without)


@pytest.mark.skipif(native.library() is None, reason="needs a C compiler")
@pytest.mark.parametrize("kind", ["lora", "dora"])
@torch.inference_mode()
def test_in_the_c_step_which_has_its_base_back_bit_for_bit(kind, tmp_path):
    config, weights, merged, adapter = quantised(tmp_path, kind)
    model, ids = build(config, weights, native.NativeLinear), torch.randint(0, 208, (40,))
    stepper = native.Stepper(model)

    def logits():
        stepper.refresh()
        kv = model.empty_kv(48, torch.float16)
        prompt = model(ids[:30], kv, 0, last=30)
        return torch.cat([prompt, *(stepper([native.Row(int(ids[at]), kv, at)]) for at in range(30, 40))])

    without = logits()
    put(model, adapter)
    assert is_nearly(logits(), merged(ids[None]).logits[0], without)
    for name in adapter.parts:
        model.get_submodule(name).adapt(())
    assert torch.equal(logits(), without)


def test_a_row_of_zeros_stays_so_with_magnitudes(tmp_path):
    base = reference("llama3")
    base.lm_head.weight.data[5] = 0
    model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**KINDS["dora"]))
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    ours = build(base.config, base.state_dict())
    put(ours, adapters.read(tmp_path, base.config, weights_of(base)))
    with torch.inference_mode():
        logits = ours(torch.arange(20), ours.empty_kv(20), 0, last=20)
    assert logits.isfinite().all()
    assert not logits[:, 5].any()


def test_an_adapter_of_another_model_is_refused_with_both_shapes(tmp_path):
    adapted(reference("smollm2"), "lora", tmp_path)
    table = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(table | {"base_model_name_or_path": "someone/small"}))
    larger = tf.LlamaConfig(**{**SMALL, "hidden_size": 128})
    with pytest.raises(
        AdapterError, match=r"A \(4, 64\), B \(199, 4\) for lm_head.* takes A \(4, 128\), .*someone/small"
    ):
        adapters.read(tmp_path, larger, None)
    fewer = tf.LlamaConfig(**{**SMALL, "num_hidden_layers": 2})
    with pytest.raises(
        AdapterError, match=r"model\.layers\.2\.mlp\.down_proj and 13 more, which this model doesn't have"
    ):
        adapters.read(tmp_path, fewer, None)


def test_a_rank_that_the_config_does_not_say_is_refused(tmp_path):
    base = reference("smollm2")
    adapted(base, "few", tmp_path)
    table = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(table | {"r": 3}))
    with pytest.raises(
        AdapterError, match=r"has A \(2, 64\), B \(32, 2\) for .*k_proj, where this model takes A \(3, 64\)"
    ):
        adapters.read(tmp_path, base.config, None)
    (tmp_path / CONFIG).write_text(json.dumps(table | {"use_dora": True}))
    with pytest.raises(AdapterError, match=r"takes A \(2, 64\), B \(32, 2\), magnitude_vector \(32,\)"):
        adapters.read(tmp_path, base.config, None)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_an_adapted_embedding_is_refused(tmp_path):
    base = reference("llama3")
    config = peft.LoraConfig(target_modules=["embed_tokens", "q_proj"], r=4)
    peft.get_peft_model(copy.deepcopy(base), config).save_pretrained(tmp_path, save_embedding_layers=False)
    with pytest.raises(AdapterError, match=r"changes model\.embed_tokens, which this model .* can't have changed"):
        adapters.read(tmp_path, base.config, None)


@pytest.mark.parametrize("name", ["qwen2", "llama-bias"])
def test_trained_biases_are_refused(name, tmp_path):
    base = reference(name)
    config = peft.LoraConfig(target_modules=["q_proj"], r=4, bias="lora_only")
    peft.get_peft_model(copy.deepcopy(base), config).save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match=r"q_proj.*bias, which can't be applied"):
        adapters.read(tmp_path, base.config, None)


GPT2 = {
    "plain": {"target_modules": ["c_attn", "c_fc", "c_proj"], "r": 4},
    "dora": {"target_modules": ["c_attn"], "r": 4, "use_dora": True},
    "rslora": {"target_modules": "all-linear", "r": 8, "use_rslora": True, "rank_pattern": {"c_fc": 3}},
    "embedding": {"target_modules": ["wte", "c_attn"], "r": 2},
}


def gpt2(width=32, layers=2, dtype=torch.float32):
    torch.manual_seed(0)
    config = tf.GPT2Config(vocab_size=199, n_embd=width, n_layer=layers, n_head=4, n_positions=64)
    return tf.AutoModelForCausalLM.from_config(config, dtype=dtype).eval().requires_grad_(False)


def gpt2_adapter(kind, folder, **sizes):
    config = peft.LoraConfig(**GPT2[kind], init_lora_weights=False, fan_in_fan_out=kind != "embedding")
    model = peft.get_peft_model(gpt2(**sizes), config)
    for name, parameter in model.named_parameters():
        if "magnitude" in name:
            parameter.data *= torch.rand_like(parameter) + 0.5
    model.save_pretrained(folder, save_embedding_layers=False)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_transformers_models_take_adapters_in_turn_and_give_back_the_base(dtype, tmp_path):
    model, ids = gpt2(dtype=dtype), torch.randint(0, 199, (1, 20))
    base = model(ids).logits
    wanted = {}
    for kind in GPT2:
        gpt2_adapter(kind, tmp_path / kind)
        wanted[kind] = peft.PeftModel.from_pretrained(gpt2(dtype=dtype), tmp_path / kind)(ids).logits
        assert not torch.allclose(wanted[kind], base, atol=0.1)
    assert len({adapters.attach(model, tmp_path / kind, kind) for kind in GPT2}) == len(GPT2)
    assert torch.equal(model(ids).logits, base)
    for kind in [*GPT2, *reversed(GPT2)]:
        adapters.use(model, kind)
        assert torch.equal(model(ids).logits, wanted[kind])
    adapters.use(model, None)
    assert torch.equal(model(ids).logits, base)
    for kind in GPT2:
        adapters.detach(model, kind)
    assert torch.equal(model(ids).logits, base)
    assert not [name for name, _ in model.named_parameters() if "lora_" in name]


def test_transformers_models_refuse_what_does_not_fit_and_go_on(tmp_path):
    gpt2_adapter("plain", tmp_path)
    ids = torch.randint(0, 199, (1, 20))
    for other, sentence in (
        (gpt2(width=64), r"size mismatch for transformer.h.0.attn.c_attn.lora_A.*\[4, 32\].*\[4, 64\]"),
        (gpt2(layers=1), r"changes transformer.h.1.*, which the model doesn't have"),
        (gpt2(layers=3), r"lacks transformer.h.2"),
        (tf.AutoModelForCausalLM.from_config(CASES["smollm2"]).eval(), "c_attn.* not found in the base model"),
    ):
        with torch.inference_mode():
            before = other(ids).logits
            with pytest.raises(AdapterError, match=sentence):
                adapters.attach(other, tmp_path, "a")
            assert torch.equal(other(ids).logits, before)


def test_the_other_adapters_outlive_one_that_is_refused(tmp_path):
    for name, sizes in {"fits": {}, "too wide": {"width": 64}, "too deep": {"layers": 3}}.items():
        gpt2_adapter("plain", tmp_path / name, **sizes)
    model, ids = gpt2(), torch.randint(0, 199, (1, 20))
    adapters.attach(model, tmp_path / "fits", "a")
    adapters.use(model, "a")
    with torch.inference_mode():
        wanted = model(ids).logits
        for name in ("too wide", "too deep"):
            with pytest.raises(AdapterError):
                adapters.attach(model, tmp_path / name, "b")
            adapters.use(model, "a")
            assert torch.equal(model(ids).logits, wanted)
        adapters.attach(model, tmp_path / "fits", "b")
        adapters.use(model, "b")
        assert torch.equal(model(ids).logits, wanted)
