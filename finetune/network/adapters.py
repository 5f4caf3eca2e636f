"""Which parameters are trained: PEFT's adapters beside a frozen base, or some or all of the base itself."""

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from assistant.adapters.folder import CHANGED, hash_of
from assistant.engine.networks.llama import shape as llama
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.runs import Run
from finetune import tagging
from finetune.config import TrainConfig
from finetune.network import tag_head
from finetune.whole_folder import whole_folder

BESIDE_HEAD = ("lora", "rslora", "dora", "qlora", "ia3")
"""Methods that PEFT trains another module with, and keeps it."""


def prepare(
    model: Any, config: TrainConfig, steps: int, name: str, types: Sequence[str] = (), start: Path | None = None
) -> Any:
    """Transformers' `model` with what `config.method` trains, and nothing else, requiring gradients.

    `steps`: of the whole training, which AdaLoRA's budget is laid out for. `name`: of the base. `types`: of
    the entities that a head is to find. `start`: the folder of a low-rank adapter to go on from, whose rank, scale and
    targets are kept. Raises `TrainingRefused`.
    """
    model.requires_grad_(False)
    if start is not None:
        return _goes_on(model, start, name, config.dropout)
    if types and config.method not in BESIDE_HEAD:
        raise TrainingRefused(f"A head for entities is trained beside {', '.join(BESIDE_HEAD)}, not {config.method}.")
    trained_whole = [tag_head.put_head(model, types)] if types else None
    if config.changes_base:
        model.base_name = name
        return _own_weights(model, config)
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice for other models than this one
        try:
            adapted = get_peft_model(model, peft_config(config, steps, trained_whole))
        except ValueError as error:
            raise TrainingRefused(f"{config.method} can't be put on this model: {error}") from error
    _refuse_embedding(adapted)
    adapted.active_peft_config.base_model_name_or_path = name
    adapted.entity_types = tuple(types)
    return adapted


def _goes_on(model: Any, start: Path, name: str, dropout: float) -> Any:
    """`model` with the adapter in `start`, to be trained further."""
    from peft import LoraConfig, PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice for other models than this one
        try:
            config = LoraConfig.from_pretrained(str(start))
            config.lora_dropout = dropout
            config.inference_mode = False
            adapted: Any = PeftModel.from_pretrained(model, str(start), config=config, is_trainable=True)
        except (ValueError, KeyError, RuntimeError, OSError) as error:
            raise TrainingRefused(f"The adapter in {start} doesn't fit the model: {error}") from error
    adapted.active_peft_config.base_model_name_or_path = name
    adapted.entity_types = ()
    return adapted


def _refuse_embedding(adapted: Any) -> None:
    """Raise `TrainingRefused` for an adapter on the embedding of a model of which the engine adapts linears alone."""
    from peft.tuners.lora import Embedding

    own_forward = not llama.unsupported(adapted.get_base_model().config)
    if own_forward and any(isinstance(one, Embedding) for one in adapted.modules()):
        raise TrainingRefused("The chat can't apply an adapter of this model's embedding. Leave it out of --targets.")


def peft_config(config: TrainConfig, steps: int, trained_whole: list[str] | None = None) -> Any:
    """PEFT's configuration of an adapter, with modules that are trained as they are."""
    import peft

    kind: Any = peft.TaskType.CAUSAL_LM
    targets: Any = list(config.targets) or "all-linear"
    alpha = config.alpha or 2 * config.rank
    shared = {"task_type": kind, "target_modules": targets, "lora_alpha": alpha, "lora_dropout": config.dropout}
    shared["modules_to_save"] = trained_whole
    match config.method:
        case "adalora":
            begin, end = steps // 10, steps // 3
            return peft.AdaLoraConfig(
                **shared,
                init_r=config.rank + config.rank // 2,
                target_r=config.rank,
                total_step=max(steps, 3),
                tinit=begin,
                tfinal=end,
                deltaT=max(1, (steps - begin - end) // 20),
            )
        case "ia3":
            return peft.IA3Config(
                task_type=kind,
                modules_to_save=trained_whole,
                **({"target_modules": list(config.targets)} if config.targets else {}),
            )
        case "prefix":
            return peft.PrefixTuningConfig(task_type=kind, num_virtual_tokens=config.rank)
        case "prompt":
            return peft.PromptTuningConfig(task_type=kind, num_virtual_tokens=config.rank)
    return peft.LoraConfig(
        **shared, r=config.rank, use_rslora=config.method == "rslora", use_dora=config.method == "dora"
    )


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def save(model: Any, folder: Path) -> None:
    """Write the adapter as PEFT does, or the whole model where its own weights were trained, whole or not at all."""
    with whole_folder(folder) as new:
        if _allocator(model) is not None:
            _as_plain_lora(model, new)
        elif hasattr(model, "peft_config"):
            model.save_pretrained(new, save_embedding_layers=False)
            (new / "README.md").unlink(missing_ok=True)  # a form to be filled in
            if types := getattr(model, "entity_types", ()):
                tagging.save_types(new, types)
        else:
            tensors = {one: tensor.detach().cpu().contiguous() for one, tensor in trained(model).items()}
            save_file(tensors, new / CHANGED, {"base_model_name_or_path": getattr(model, "base_name", "")})


def keep(best: Path, target: Path) -> str:
    """Put a run's best adapter where the chat finds it, whole or not at all; its hash.

    Files are linked where the disk can, since all of a model's weights in float32 may be among them.
    """
    with whole_folder(target) as new:
        for file in best.iterdir():
            try:
                (new / file.name).hardlink_to(file)
            except OSError:
                shutil.copyfile(file, new / file.name)
    return hash_of(target)


def made_by(paths: Paths, run: Run) -> tuple[Path, str]:
    """(the folder of a finished run's adapter or of its base's changed weights, its hash).

    Changed weights of a run of an earlier version lie in the run's own folder. Raises `TrainingRefused` where the files
    aren't what the run has made.
    """
    folder = paths.adapters / run.result["adapter"] if run.adapter_hash else Path(run.result["weights"])
    hash_ = hash_of(folder) if folder.is_dir() else ""
    if not hash_ or run.adapter_hash not in ("", hash_):
        raise TrainingRefused(f"The files in {folder} are not what {run.name} has made. Put them back, or train again.")
    return folder, hash_


def allocate(model: Any, step: int) -> None:
    """Let AdaLoRA move its budget after optimiser step `step`, counted from 0; other methods have none."""
    if (allocator := _allocator(model)) is not None:
        allocator.update_and_allocate(step)


def regularization(model: Any) -> Tensor | float:
    """What AdaLoRA adds to the loss of a step: how far its P and Q are from orthogonal; 0 for other methods."""
    if (inner := _allocator(model)) is None:
        return 0.0
    matrices = [one for name, one in model.named_parameters() if "lora_A" in name or "lora_B" in name]
    norms = []
    for matrix in matrices:
        narrow = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        norms.append((narrow @ narrow.T - torch.eye(len(narrow), device=matrix.device)).norm())
    weight: float = inner.peft_config["default"].orth_reg_weight
    return weight * torch.stack(norms).mean()


def allocation(model: Any) -> dict[str, Tensor]:
    """What AdaLoRA remembers of each parameter's importance."""
    if (allocator := _allocator(model)) is None:
        return {}
    ranks = allocator.rankallocator
    return {f"{kind} {name}": one for kind in _IMPORTANCE for name, one in getattr(ranks, kind).items()}


def set_allocation(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Give back what `allocation` told, of whichever `tensors` are such."""
    if (allocator := _allocator(model)) is not None:
        for kind in _IMPORTANCE:
            known = getattr(allocator.rankallocator, kind)
            known.update(
                {key.removeprefix(f"{kind} "): one for key, one in tensors.items() if key.startswith(f"{kind} ")}
            )


def _as_plain_lora(model: Any, folder: Path) -> None:
    """Write what AdaLoRA came to as the LoRA it is: B diag(E) s / rank and A, which every program can apply."""
    import peft

    config = model.peft_config["default"]
    names = [name for name in model.state_dict() if name.endswith(".lora_E.default")]
    weights = model.state_dict()
    tensors: dict[str, Tensor] = {}
    for name in names:
        module = name.removesuffix(".lora_E.default")
        rank = weights[f"{module}.ranknum.default"]
        scale = config.lora_alpha if config.lora_alpha > 0 else float(config.r)
        gain = weights[name].T * (scale / (float(rank) + 1e-5))
        tensors[f"{module}.lora_A.weight"] = weights[f"{module}.lora_A.default"].cpu().contiguous()
        tensors[f"{module}.lora_B.weight"] = (weights[f"{module}.lora_B.default"] * gain).cpu().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors")
    peft.LoraConfig(
        task_type=config.task_type,
        base_model_name_or_path=config.base_model_name_or_path,
        target_modules=config.target_modules,
        r=config.init_r,
        lora_alpha=config.init_r,
        inference_mode=True,
    ).save_pretrained(str(folder))


_IMPORTANCE = ("ipt", "exp_avg_ipt", "exp_avg_unc")


def _allocator(model: Any) -> Any:
    inner = getattr(model, "base_model", None)
    return inner if hasattr(inner, "update_and_allocate") else None


def _own_weights(model: Any, config: TrainConfig) -> Any:
    if config.method == "full":
        model.requires_grad_(True)
        return model
    layers = _layers(model)
    if config.layers > len(layers):
        raise TrainingRefused(f"The model has {len(layers)} layers: choose --layers from 1 to {len(layers)}.")
    for layer in layers[-config.layers :]:
        layer.requires_grad_(True)
    return model


def _layers(model: Any) -> nn.ModuleList:
    """The longest list of modules there is."""
    lists = [one for one in model.modules() if isinstance(one, nn.ModuleList)]
    return max(lists, key=len)
