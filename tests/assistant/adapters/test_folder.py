"""PEFT's folders are read by PEFT's rules, or refused with a sentence."""

import hashlib
import json
import struct
import warnings

import peft
import pytest
import safetensors.torch
import torch
import transformers as tf
from peft.tuners.tuners_utils import check_target_module_exists

from assistant.adapters.configs import Ia3Config, LoraConfig
from assistant.adapters.folder import CHANGED, CONFIG, HEAD, WEIGHTS, AdapterFolder, hash_of, trouble
from assistant.errors import AdapterError
from tests.assistant.engine.llama.test_model import CASES

MODULES = [
    f"model.layers.{index}.{path}"
    for index in (0, 1, 2, 11)
    for path in ("self_attn.q_proj", "self_attn.k_proj", "mlp.gate_proj", "mlp.down_proj")
] + ["lm_head"]
TARGETS = {
    "names": {"target_modules": ["q_proj", "down_proj"]},
    "ends": {"target_modules": ["self_attn.q_proj", "1.mlp.gate_proj", "proj"]},
    "whole": {"target_modules": ["lm_head", "model.layers.1.mlp.gate_proj"]},
    "expression": {"target_modules": r".*\.[12]\.(mlp|self_attn)\.(q|gate)_proj"},
    "expression-of-a-part": {"target_modules": "q_proj"},
    "excluded": {
        "target_modules": ["q_proj", "k_proj"],
        "exclude_modules": ["model.layers.1.self_attn.q_proj", "k_proj"],
    },
    "excluded-by-expression": {"target_modules": ["q_proj", "k_proj"], "exclude_modules": r".*\.1\..*"},
    "one-layer": {"target_modules": ["q_proj", "lm_head"], "layers_to_transform": 1},
    "layers": {"target_modules": ["q_proj", "gate_proj"], "layers_to_transform": [0, 11]},
    "no-layers": {"target_modules": ["q_proj"], "layers_to_transform": []},
    "pattern": {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    "patterns": {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["blocks", "layers"]},
    "pattern-of-another-model": {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "h"},
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_those_of_peft(name):
    ours, theirs = LoraConfig(**TARGETS[name]), peft.LoraConfig(**TARGETS[name])
    wanted = [bool(check_target_module_exists(theirs, module)) for module in MODULES]
    assert [ours.targets(module) for module in MODULES] == wanted


PATTERNS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "rank": {"rank_pattern": {"q_proj": 2, "self_attn.q_proj": 3, "down_proj": 32}},
    "alpha": {"alpha_pattern": {r"layers\.[01]\..*": 5, "^model.layers.11.mlp.down_proj": 7, "gate_proj": 9}},
    "both": {"rank_pattern": {r".*\.1\.mlp\..*": 2}, "alpha_pattern": {"k_proj|q_proj": 3}, "use_rslora": True},
}


@pytest.mark.parametrize("name", PATTERNS)
def test_ranks_and_scales_are_those_of_peft(name):
    model = torch.nn.Module()
    for module in MODULES:
        parent = model
        for part in module.split(".")[:-1]:
            if not hasattr(parent, part):
                parent.add_module(part, torch.nn.Module())
            parent = getattr(parent, part)
        parent.add_module(module.rpartition(".")[2], torch.nn.Linear(8, 8))
    ours = LoraConfig(r=4, lora_alpha=6, **PATTERNS[name])
    theirs = peft.LoraConfig(r=4, lora_alpha=6, target_modules=["lm_head", *MODULES], **PATTERNS[name])
    peft.inject_adapter_in_model(theirs, model)
    for module in MODULES:
        lora = model.get_submodule(module)
        assert (ours.rank(module), ours.scale(module)) == (lora.r["default"], lora.scaling["default"])


def saved(folder, tensors=None, **config):
    """An adapter of one linear."""
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    weights = {f"{name}A.weight": torch.ones(4, 8), f"{name}B.weight": torch.ones(8, 4)} | (tensors or {})
    table = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]} | config
    safetensors.torch.save_file(weights, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(table))
    return folder


def test_what_only_training_needs_is_no_obstacle(tmp_path):
    config = peft.LoraConfig(r=4, lora_dropout=0.1, bias="all", task_type="CAUSAL_LM", init_lora_weights="gaussian")
    table = {key: value for key, value in config.to_dict().items() if key != "target_modules"}
    source = AdapterFolder.open(saved(tmp_path, **table))
    assert list(source.modules) == ["model.layers.0.self_attn.q_proj"]


REFUSED = {
    "p-tuning": ({"peft_type": "P_TUNING"}, {}, "type 'P_TUNING'"),
    "adalora": ({"peft_type": "ADALORA"}, {}, "type 'ADALORA'.*LORA, IA3, PREFIX_TUNING, PROMPT_TUNING"),
    "a config of LoRA that says IA3": ({"peft_type": "IA3"}, {}, "sets r=4"),
    "no type": ({"peft_type": None}, {}, "type None"),
    "pissa": ({"init_lora_weights": "pissa_niter_16"}, {}, "init_lora_weights='pissa_niter_16'"),
    "loftq": ({"init_lora_weights": "loftq"}, {}, "init_lora_weights='loftq'"),
    "modules to save": ({"modules_to_save": ["lm_head"]}, {}, r"modules_to_save=\['lm_head'\]"),
    "of a later peft": ({"use_more": "yes"}, {}, "use_more='yes'"),
    "bias of B": ({"lora_bias": True}, {}, "lora_bias=True"),
    "replicated layers": ({"layer_replication": [[0, 2]]}, {}, "layer_replication"),
    "rank in words": ({"r": "four"}, {}, "r Input should be"),
    "alpha is no number": ({"lora_alpha": float("nan")}, {}, "lora_alpha Input should be a finite number"),
    "no rank somewhere": ({"rank_pattern": {"q_proj": 0}}, {}, "rank_pattern.q_proj Input should be greater than 0"),
    "no rank": ({"r": 0}, {}, "r Input should be greater than 0"),
    "no expression": ({"target_modules": "(q_proj"}, {}, "no regular expression"),
    "NaN": ({}, {"base_model.model.lm_head.lora_A.weight": torch.tensor([1.0, torch.nan])}, "lm_head.* NaN"),
    "infinite": ({}, {"base_model.model.lm_head.lora_A.weight": torch.tensor([torch.inf])}, "infinite"),
    "bias": ({}, {"base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias": torch.ones(8)}, "bias='none'"),
    "embedding": (
        {},
        {"base_model.model.model.embed_tokens.weight": torch.ones(2, 8)},
        "embed_tokens.*save_embedding_layers=False",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    config, tensors, sentence = REFUSED[name]
    with pytest.raises(AdapterError, match=sentence):
        AdapterFolder.open(saved(tmp_path, tensors, **config))


def saved_by_peft(folder, config):
    """An adapter of a tiny model that changes what it says, and what it was put on."""
    torch.manual_seed(0)
    model = tf.AutoModelForCausalLM.from_config(CASES["smollm2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft.get_peft_model(model, config).save_pretrained(folder, save_embedding_layers=False)
    return folder


KINDS = {
    "lora": lambda: peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
    "ia3": lambda: peft.IA3Config(task_type="CAUSAL_LM"),
    "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_peft_saves(kind, tmp_path):
    source = AdapterFolder.open(saved_by_peft(tmp_path, KINDS[kind]()))
    assert source.kind == kind
    assert bool(source.modules) == (kind in ("lora", "ia3"))
    assert source.numel == sum(one.numel() for one in safetensors.torch.load_file(source.file).values())
    assert trouble(tmp_path, source.hash) == ""
    (tmp_path / "README.md").write_text("Others' files make it no other adapter.")
    assert hash_of(tmp_path) == source.hash
    if kind != "lora":
        files = sorted((tmp_path / name) for name in (CONFIG, WEIGHTS))
        whole = b"".join(file.name.encode() + file.read_bytes() for file in files)
        assert source.hash == hashlib.sha256(whole).hexdigest()
    other = dict(safetensors.torch.load_file(source.file))
    name = next(iter(other))
    safetensors.torch.save_file({**other, name: other[name] + 1}, source.file)
    assert "files were changed" in trouble(tmp_path, source.hash)
    safetensors.torch.save_file({**other, name: other[name] * float("nan")}, source.file)
    assert f"holds {name} with NaN" in trouble(tmp_path, source.hash)
    safetensors.torch.save_file({**other, "base_model.model.extra.weight": torch.ones(2)}, source.file)
    assert "extra.weight, which can't be applied" in trouble(tmp_path, source.hash)


FEEDFORWARD = {
    "ends": {"target_modules": ["q_proj", "gate_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "part of a name": {"target_modules": ["q_proj", "down_proj"], "feedforward_modules": ["n_proj"]},
    "expression": {"target_modules": r".*_proj", "feedforward_modules": r".*\.(0|11)\.mlp\.(gate|down)_proj"},
    "all": {"target_modules": "all-linear", "exclude_modules": ["k_proj"], "feedforward_modules": ["mlp.down_proj"]},
}


@pytest.mark.parametrize("name", FEEDFORWARD)
def test_gains_are_where_peft_has_them(name):
    from peft.tuners.ia3 import IA3Model

    ours = Ia3Config(**FEEDFORWARD[name])
    settings = {key: value for key, value in FEEDFORWARD[name].items() if key != "feedforward_modules"}
    theirs = peft.IA3Config(**settings, feedforward_modules=[])
    theirs.feedforward_modules = FEEDFORWARD[name]["feedforward_modules"]
    if name != "all":  # which PEFT resolves on a model
        assert [ours.targets(one) for one in MODULES] == [
            bool(check_target_module_exists(theirs, one)) for one in MODULES
        ]
    wanted = [IA3Model._check_target_module_feedforward(theirs, one) for one in MODULES]
    assert [ours.scales_input(one) for one in MODULES] == wanted


def test_changed_weights(tmp_path):
    tensors = {"model.norm.weight": torch.ones(4), "lm_head.weight": torch.ones(2, 4, dtype=torch.bfloat16)}
    safetensors.torch.save_file(tensors, tmp_path / CHANGED, {"base_model_name_or_path": "someone/small"})
    source = AdapterFolder.open(tmp_path)
    assert (source.kind, source.numel, source.origin) == ("weights", 12, "It was made for someone/small.")
    assert source.tensors["lm_head.weight"].shape == (2, 4)
    shapes = {name: one.shape for name, one in tensors.items()}
    source.check_weights(shapes)
    with pytest.raises(AdapterError, match=r"changes lm_head.weight, which this model doesn't have.*someone/small"):
        source.check_weights({"model.norm.weight": (4,)})
    with pytest.raises(AdapterError, match=r"model.norm.weight of the shape \(4,\), where this model has \(5,\)"):
        source.check_weights(shapes | {"model.norm.weight": (5,)})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_found_in_every_precision(dtype, wrong, tmp_path):
    good = torch.tensor([0.0, -0.0, 1e-7, -3.0, torch.finfo(dtype).max, torch.finfo(dtype).min], dtype=dtype)
    safetensors.torch.save_file({"empty": good[:0], "good": good}, tmp_path / CHANGED)
    assert AdapterFolder.open(tmp_path).numel == 6
    safetensors.torch.save_file(
        {"good": good, "wrong": good.clone().index_fill_(0, torch.tensor(3), wrong)}, tmp_path / CHANGED
    )
    with pytest.raises(AdapterError, match="holds wrong with NaN or infinite numbers"):
        AdapterFolder.open(tmp_path)


def header(table, data=b""):
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data


F4 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
DAMAGED = {
    "nothing": b"",
    "few bytes": b"\x00" * 7,
    "an endless header": struct.pack("<Q", 1 << 60) + b"{}",
    "no JSON": struct.pack("<Q", 2) + b"{]",
    "a list": header([1]),
    "no offsets": header({"a": {"dtype": "F32", "shape": [1]}}, b"0000"),
    "no table": header({"a": 4}, b"0000"),
    "a negative shape": header({"a": {**F4, "shape": [-1]}}, b"0000"),
    "too few bytes for the shape": header({"a": {**F4, "shape": [2]}}, b"0000"),
    "offsets backwards": header({"a": {**F4, "data_offsets": [4, 0]}}, b"0000"),
    "cut": header({"a": F4}, b"00"),
    "longer": header({"a": F4}, b"000000"),
    "a type that is none": header({"a": {**F4, "dtype": "F7"}}, b"0000"),
    "whole numbers": header({"a": {**F4, "dtype": "I32"}}, b"0000"),
    "a deep header": struct.pack("<Q", 200_000) + b"[" * 200_000,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_weights_are_a_sentence(name, tmp_path):
    (tmp_path / CHANGED).write_bytes(DAMAGED[name])
    with pytest.raises(AdapterError, match=r"changed.safetensors is damaged: "):
        AdapterFolder.open(tmp_path)


def test_what_is_wrong_with_a_registered_adapter(tmp_path):
    folder = saved(tmp_path)
    hash_ = hash_of(folder)
    assert trouble(folder, hash_) == ""
    assert "is gone. Put it back, or train again." in trouble(tmp_path / "none", hash_)
    (folder / "optimizer.pt").touch()
    assert "optimizer.pt, which is pickle and could run code" in trouble(folder, hash_)
    (folder / "optimizer.pt").unlink()
    (folder / HEAD).write_text("{}")
    assert "finds entities and can't reply" in trouble(folder, hash_)


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(AdapterError, match=r"lacks adapter_config.json"):
        AdapterFolder.open(tmp_path)
    whole = (saved(tmp_path) / WEIGHTS).read_bytes()
    for damaged in (whole[:-5], whole[:20], b"", b"\xff" * 100):
        (tmp_path / WEIGHTS).write_bytes(damaged)
        with pytest.raises(AdapterError, match=r"adapter_model.safetensors is damaged"):
            AdapterFolder.open(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(AdapterError, match=r"lacks adapter_model.safetensors"):
        AdapterFolder.open(tmp_path)
    (tmp_path / "adapter_model.bin").touch()
    with pytest.raises(AdapterError, match="which is pickle"):
        AdapterFolder.open(tmp_path)
    for damaged in ("{", "[]", "\xff", '"LORA"'):
        (tmp_path / CONFIG).write_bytes(damaged.encode("latin-1"))
        with pytest.raises(AdapterError, match=r"adapter_config.json is damaged"):
            AdapterFolder.open(tmp_path)


def test_no_weights_at_all(tmp_path):
    saved(tmp_path)
    safetensors.torch.save_file({}, tmp_path / WEIGHTS)
    with pytest.raises(AdapterError, match="holds no weights"):
        AdapterFolder.open(tmp_path)


def test_weights_must_be_for_the_linears_that_the_config_names(tmp_path):
    q, k = "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj"
    AdapterFolder.open(saved(tmp_path)).check_modules({q, k})
    base = {"base_model_name_or_path": "someone/other-base"}
    with pytest.raises(AdapterError, match=rf"changes {q}, which this model doesn't have.* for someone/other-base\."):
        AdapterFolder.open(saved(tmp_path, **base)).check_modules({k})
    with pytest.raises(AdapterError, match=f"is for {q}, which its adapter_config.json doesn't name"):
        AdapterFolder.open(saved(tmp_path, target_modules=["k_proj"])).check_modules({q, k})
    with pytest.raises(AdapterError, match=f"lacks weights for {k}"):
        AdapterFolder.open(saved(tmp_path, target_modules=["q_proj", "k_proj"])).check_modules({q, k})


def test_the_hash_is_of_what_shapes_the_result(tmp_path):
    def hashed(**config):
        return AdapterFolder.open(saved(tmp_path, **config)).hash

    assert hashed() == hashed(lora_dropout=0.5, base_model_name_or_path="moved", rank_pattern={})
    others = {"lora_alpha": 9}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 1}}, {"use_dora": True}
    more = {"base_model.model.lm_head.lora_A.weight": torch.ones(1)}
    assert len({hashed(), *(hashed(**config) for config in others), hashed(tensors=more)}) == 6
