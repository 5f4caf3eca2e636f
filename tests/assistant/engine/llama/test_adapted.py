"""Our models with what was trained, tiny and random, give the logits and greedy tokens that PEFT gives."""

import copy
import json
import warnings

import peft
import pytest
import torch
import transformers as tf
from safetensors.torch import save_file

from assistant.adapters.folder import CHANGED, CONFIG, AdapterFolder
from assistant.engine.formats.weights import tensors_of
from assistant.engine.networks.llama import native
from assistant.engine.networks.llama.adapted import Reader
from assistant.engine.networks.llama.blocks import Blocks, quantise
from assistant.engine.networks.llama.low_rank import AdaptedLinear
from assistant.engine.networks.llama.model import build, plain, put
from assistant.engine.networks.llama.packed import Int4Linear
from assistant.errors import AdapterError
from finetune.network import greedy
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


VIRTUAL = 5
"""Virtual tokens of prefix and prompt tuning."""
OTHERS = {
    "ia3": lambda: peft.IA3Config(task_type="CAUSAL_LM"),
    "ia3-targets": lambda: peft.IA3Config(
        task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj", "up_proj", "down_proj", "lm_head"]
    ),
    "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL),
    "prompt": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL),
}


def adapted(base, kind, folder):
    """PEFT's model with an adapter at random that has its say, saved in `folder`."""
    config = OTHERS[kind]() if kind in OTHERS else peft.LoraConfig(**KINDS[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(copy.deepcopy(base), config).eval()
    for name, parameter in model.named_parameters():
        if "magnitude" in name or "ia3_" in name:
            parameter.data *= torch.rand_like(parameter) + 0.5
        elif "lora_" in name:
            parameter.data.normal_(0, 0.15)
        elif "prompt_encoder" in name:
            parameter.data.normal_(0, 1)
    model.save_pretrained(folder, save_embedding_layers=False)
    return model.requires_grad_(False)


def changed(base, folder, only=""):
    """The base with other numbers in the weights whose names hold `only`; these alone are saved in `folder`."""
    model = copy.deepcopy(base)
    names = [name for name, _ in model.named_parameters() if only in name]
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.data += torch.randn_like(parameter) * (0.05 if parameter.ndim > 1 else 0.2)
    save_file({name: one for name, one in model.named_parameters() if name in names}, folder / CHANGED)
    return model


def read(folder, model, weights, linear=plain, convert=lambda one: one):
    """The adapter in `folder` for one of our models."""

    def converted(source):
        return {name: convert(one) for name, one in tensors_of(source.file).items()}

    shapes = {name: one.shape for name, one in weights.items()}
    return Reader(model, weights, shapes, linear, converted, torch.float32)(AdapterFolder.open(folder))


def on(model, adapter):
    """Compute with it from now on; what takes it off again."""
    before = put(model, adapter.modules)
    for name, parts in adapter.parts.items():
        model.get_submodule(name).adapt(parts)

    def off():
        for name in adapter.parts:
            model.get_submodule(name).adapt(())
        put(model, before)

    return off


def weights_of(model):
    """As they lie in files: a tied head isn't there."""
    return dict(model.named_parameters())


def cache(model, length, beginning=None):
    """An empty cache, and how many positions an adapter's beginning takes of it."""
    begin = 0 if beginning is None else beginning.shape[3]
    kv = model.empty_kv(begin + length)
    kv[:, :, :, :begin] = 0 if beginning is None else beginning
    return kv, begin


@torch.inference_mode()
def replied(model, prompt, count, beginning=None):
    """Ids and logits (count, V) of the greedy reply."""
    (kv, begin), ids, logits = cache(model, 128, beginning), prompt.tolist(), []
    out = model(prompt, kv, begin)
    for _ in range(count):
        logits.append(out)
        ids.append(int(out.argmax()))
        out = model(torch.tensor(ids[-1:]), kv, begin + len(ids) - 1)
    return ids, torch.cat(logits)


@torch.inference_mode()
def replied_by_peft(model, prompt, count):
    """As `replied`, by whole forward passes: PEFT's generation loses virtual tokens in this version of transformers."""
    ids, logits = prompt.tolist(), []
    for _ in range(count):
        logits.append(greedy._logits(model, ids)[-1:])
        ids.append(int(logits[-1].argmax()))
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
    on(ours, read(tmp_path, ours, weights_of(base)))
    prompt = torch.randint(0, 199, (40,))
    ids, logits = replied(ours, prompt, 6)
    _, without = replied(build(base.config, base.state_dict()), prompt, 1)
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


NOT_COMPARED = {("smollm3", "ia3"), ("granite", "ia3"), ("llama-dynamic", "prompt")}
"""PEFT has no default targets of IA3 for SmolLM3 and Granite. Dynamic frequencies depend on the length of what is read
at once, and virtual tokens are read before the prompt is known."""


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in CASES for kind in ("ia3", "prefix", "prompt") if (name, kind) not in NOT_COMPARED]
    + [(name, "ia3-targets") for name in ("llama-bias", "qwen2", "qwen3", "gemma3")],
)
def test_gains_and_virtual_tokens_are_those_of_peft(name, kind, tmp_path):
    base = reference(name)
    theirs = adapted(base, kind, tmp_path)
    ours = build(base.config, base.state_dict())
    prompt = torch.randint(0, 199, (40,))
    count = 1 if name == "llama-dynamic" else 6  # whose keys depend on the length of the text when they were made
    before = replied(ours, prompt, 6)
    adapter = read(tmp_path, ours, weights_of(base))
    off = on(ours, adapter)
    ids, logits = replied(ours, prompt, count, adapter.beginning)
    wanted_ids, wanted = replied_by_peft(theirs, prompt, count)
    assert (logits[0] - before[1][0]).abs().max() > 0.05
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
    assert ids == wanted_ids
    off()
    assert torch.equal(replied(ours, prompt, 6)[1], before[1]), "the base is what it was"


@pytest.mark.parametrize("only", ["", "layers.3.", "layers.0.self_attn.k_proj", "embed_tokens", "norm", "lm_head"])
@pytest.mark.parametrize("name", ["llama-bias", "smollm2", "qwen3"])
def test_changed_weights_are_those_of_the_changed_model(name, only, tmp_path):
    base = reference(name)
    if only == "lm_head" and base.config.tie_word_embeddings:
        return
    theirs = changed(base, tmp_path, only)
    ours = build(base.config, dict(base.named_parameters()))
    prompt = torch.randint(0, 199, (40,))
    before = replied(ours, prompt, 6)
    off = on(ours, read(tmp_path, ours, weights_of(base)))
    ids, logits = replied(ours, prompt, 6)
    wanted_ids, wanted = replied_by_peft(theirs, prompt, 6)
    assert (logits[0] - before[1][0]).abs().max() > 0.01
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
    assert ids == wanted_ids
    off()
    assert torch.equal(replied(ours, prompt, 6)[1], before[1]), "the base is what it was"


class Packed(AdaptedLinear):
    def __init__(self, blocks, bias):
        super().__init__(bias)
        self.linear = Int4Linear(blocks)

    def product(self, x):
        return self.linear(x)


def quantised(folder, kind):
    """A model's configuration and weights in 4 bits, and what PEFT makes of the same numbers in 32 bits."""
    torch.manual_seed(0)
    config = tf.LlamaConfig(**{**SMALL, "vocab_size": 208})
    base = tf.AutoModelForCausalLM.from_config(config).eval()
    for parameter in base.parameters():
        parameter.data.normal_(0, 0.15 if parameter.ndim > 1 else 0.5)
    weights = {name: in_4_bits(value) for name, value in base.state_dict().items()}
    base.load_state_dict({name: dequantised(value) for name, value in weights.items()})
    if kind == "weights":
        theirs = changed(base, folder, "layers.2.")
        theirs.load_state_dict({name: dequantised(in_4_bits(value)) for name, value in theirs.state_dict().items()})
        return config, weights, theirs
    theirs = adapted(base, kind, folder)
    return config, weights, theirs.merge_and_unload() if kind in KINDS else theirs


def in_4_bits(value):
    return quantise(value, 4) if value.ndim == 2 else value


def dequantised(value):
    return value.dequantise() if isinstance(value, Blocks) else value


def is_nearly(found, wanted, without):
    """Whether what the adapter makes of the logits is exact to 3 %, as the rounded activations allow."""
    return (found - wanted).norm() < 0.03 * (without - wanted).norm()


EVERY = ["lora", "dora", "ia3", "prefix", "prompt", "weights"]


@pytest.mark.parametrize("kind", EVERY)
@torch.inference_mode()
def test_beside_packed_weights_of_4_bits(kind, tmp_path):
    config, weights, theirs = quantised(tmp_path, kind)
    model, ids = build(config, weights, Packed), torch.randint(0, 208, (40,))
    without = model(ids, model.empty_kv(40), 0, last=40)
    adapter = read(tmp_path, model, weights, Packed, in_4_bits)
    on(model, adapter)
    kv, begin = cache(model, 40, adapter.beginning)
    assert is_nearly(model(ids, kv, begin, last=40), greedy._logits(theirs, ids.tolist())[-40:], without)


@pytest.mark.skipif(native.library() is None, reason="needs a C compiler")
@pytest.mark.parametrize("kind", EVERY)
@torch.inference_mode()
def test_in_the_c_step_which_has_its_base_back_bit_for_bit(kind, tmp_path):
    config, weights, theirs = quantised(tmp_path, kind)
    model, ids = build(config, weights, native.NativeLinear), torch.randint(0, 208, (40,))
    stepper = native.Stepper(model)

    def logits(beginning=None):
        stepper.refresh()
        begin = 0 if beginning is None else beginning.shape[3]
        kv = model.empty_kv(64, torch.float16)
        kv[:, :, :, :begin] = 0 if beginning is None else beginning
        prompt = model(ids[:30], kv, begin, last=30)
        steps = (stepper([native.Row(int(ids[at]), kv, begin + at)]) for at in range(30, 40))
        return torch.cat([prompt, *steps])

    without = logits()
    adapter = read(tmp_path, model, weights, native.NativeLinear, in_4_bits)
    off = on(model, adapter)
    assert is_nearly(logits(adapter.beginning), greedy._logits(theirs, ids.tolist())[-40:], without)
    off()
    assert torch.equal(logits(), without)


def test_a_row_of_zeros_stays_so_with_magnitudes(tmp_path):
    base = reference("llama3")
    base.lm_head.weight.data[5] = 0
    model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**KINDS["dora"]))
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    ours = build(base.config, base.state_dict())
    on(ours, read(tmp_path, ours, weights_of(base)))
    with torch.inference_mode():
        logits = ours(torch.arange(20), ours.empty_kv(20), 0, last=20)
    assert logits.isfinite().all()
    assert not logits[:, 5].any()


def model_of(**sizes):
    return build(
        tf.LlamaConfig(**{**SMALL, **sizes}), tf.LlamaForCausalLM(tf.LlamaConfig(**{**SMALL, **sizes})).state_dict()
    )


@pytest.mark.parametrize(
    ("kind", "sizes", "sentence"),
    [
        ("lora", {"hidden_size": 128}, r"A \(4, 64\), B \(199, 4\) for lm_head.* takes A \(4, 128\), .*someone/small"),
        (
            "lora",
            {"num_hidden_layers": 2},
            r"model\.layers\.2\.mlp\.down_proj and 13 more, which this model doesn't have",
        ),
        (
            "ia3",
            {"intermediate_size": 128},
            r"ia3_l \(1, 96\) for .*down_proj, where this model takes ia3_l \(1, 128\)",
        ),
        ("ia3", {"num_hidden_layers": 2}, r"layers\.2\.mlp\.down_proj and 5 more, which this model doesn't have"),
        ("ia3", {"num_hidden_layers": 5}, r"lacks weights for model\.layers\.4"),
        ("prefix", {"num_hidden_layers": 2}, r"prompt_embeddings \(5, 256\).*takes prompt_embeddings \(5, 128\)"),
        (
            "prompt",
            {"hidden_size": 128},
            r"prompt_embeddings \(5, 64\).*takes prompt_embeddings \(5, 128\).*someone/small",
        ),
    ],
)
def test_an_adapter_of_another_model_is_refused(kind, sizes, sentence, tmp_path):
    adapted(reference("smollm2"), kind, tmp_path)
    table = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(table | {"base_model_name_or_path": "someone/small"}))
    with pytest.raises(AdapterError, match=sentence):
        read(tmp_path, model_of(**sizes), {})


def test_changed_weights_of_another_model_are_refused(tmp_path):
    base = reference("smollm2")
    changed(base, tmp_path, "layers.3.")
    for sizes, sentence in (
        ({"num_hidden_layers": 3}, r"changes model\.layers\.3\.input_layernorm\.weight and 8 more, which this model"),
        ({"intermediate_size": 128}, r"of the shape \(64, 96\), where this model has \(64, 128\)"),
    ):
        other = tf.LlamaForCausalLM(tf.LlamaConfig(**{**SMALL, **sizes}))
        with pytest.raises(AdapterError, match=sentence):
            read(tmp_path, build(other.config, other.state_dict()), weights_of(other))


def test_gains_on_an_input_that_many_linears_share_are_refused(tmp_path):
    base = reference("llama3")
    config = peft.IA3Config(target_modules=["q_proj"], feedforward_modules=["q_proj"])
    peft.get_peft_model(copy.deepcopy(base), config).save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match=r"scales the input of model\.layers\.0\.self_attn\.q_proj, which can't"):
        read(tmp_path, build(base.config, base.state_dict()), weights_of(base))


def test_a_beginning_that_the_cache_can_not_hold_is_refused(tmp_path):
    base = reference("llama3")
    model = adapted(base, "prefix", tmp_path)
    model.prompt_encoder.default.embedding.weight.data.fill_(1e6)
    model.save_pretrained(tmp_path)
    ours = build(base.config, base.state_dict())
    reader = Reader(ours, weights_of(base), {}, plain, lambda _: {}, torch.float16)
    with pytest.raises(AdapterError, match=r"larger numbers than the KV cache can: torch\.float16"):
        reader(AdapterFolder.open(tmp_path))


def test_a_rank_that_the_config_does_not_say_is_refused(tmp_path):
    base = reference("smollm2")
    adapted(base, "few", tmp_path)
    ours = build(base.config, base.state_dict())
    table = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(table | {"r": 3}))
    with pytest.raises(
        AdapterError, match=r"has A \(2, 64\), B \(32, 2\) for .*k_proj, where this model takes A \(3, 64\)"
    ):
        read(tmp_path, ours, {})
    (tmp_path / CONFIG).write_text(json.dumps(table | {"use_dora": True}))
    with pytest.raises(AdapterError, match=r"takes A \(2, 64\), B \(32, 2\), magnitude_vector \(32,\)"):
        read(tmp_path, ours, {})


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_an_adapted_embedding_is_refused(tmp_path):
    base = reference("llama3")
    config = peft.LoraConfig(target_modules=["embed_tokens", "q_proj"], r=4)
    peft.get_peft_model(copy.deepcopy(base), config).save_pretrained(tmp_path, save_embedding_layers=False)
    with pytest.raises(AdapterError, match=r"changes model\.embed_tokens, which this model .* can't have changed"):
        read(tmp_path, build(base.config, base.state_dict()), {})


@pytest.mark.parametrize("name", ["qwen2", "llama-bias"])
def test_trained_biases_are_refused(name, tmp_path):
    base = reference(name)
    config = peft.LoraConfig(target_modules=["q_proj"], r=4, bias="lora_only")
    peft.get_peft_model(copy.deepcopy(base), config).save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match=r"q_proj.*bias, which can't be applied"):
        AdapterFolder.open(tmp_path)
