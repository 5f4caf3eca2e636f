"""PEFT's folders are read by PEFT's rules, or refused with a sentence."""

import json

import peft
import pytest
import safetensors.torch
import torch
from peft.tuners.tuners_utils import check_target_module_exists

from assistant.engine.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, LoraConfig
from assistant.errors import AdapterError

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
    assert list(source.tensors) == ["model.layers.0.self_attn.q_proj"]


REFUSED = {
    "prefix": ({"peft_type": "PREFIX_TUNING"}, {}, "type 'PREFIX_TUNING'"),
    "ia3": ({"peft_type": "IA3"}, {}, "type 'IA3'"),
    "adalora": ({"peft_type": "ADALORA"}, {}, "type 'ADALORA'"),
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
