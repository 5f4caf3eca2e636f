"""The trained parameters: PEFT adapters on a frozen base, or some or all of the base's own weights."""

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
from assistant.store.training.runs import Run
from finetune import tagging
from finetune.config import TrainConfig
from finetune.network.head import put_entity_head
from finetune.whole_folder import whole_folder

BESIDE_HEAD = ("lora", "rslora", "dora", "qlora", "ia3")
"""Methods with which PEFT also trains and saves a whole module (`modules_to_save`)."""


def prepare(
    model: Any, config: TrainConfig, steps: int, name: str, types: Sequence[str] = (), start: Path | None = None
) -> Any:
    """Transformers' `model` prepared for `config.method`: only the trained parameters require gradients.

    `steps`: of the whole training, for AdaLoRA's budget. `name`: of the base. `types`: entity types to train a head
    for. `start`: folder of a low-rank adapter to continue, whose rank, scale and targets are kept. Raises
    `TrainingRefused`.
    """
    model.requires_grad_(False)
    if start is not None:
        return _continued(model, start, name, config.dropout)
    if types and config.method not in BESIDE_HEAD:
        raise TrainingRefused(f"An entity head can be trained with {', '.join(BESIDE_HEAD)}, not with {config.method}.")
    trained_whole = [put_entity_head(model, types)] if types else None
    if config.changes_base:
        model.base_name = name
        return _own_weights(model, config)
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice for other models
        try:
            adapted = get_peft_model(model, peft_config(config, steps, trained_whole))
        except ValueError as error:
            raise TrainingRefused(f"{config.method} can't be used with this model: {error}") from error
    _refuse_embedding(adapted)
    adapted.active_peft_config.base_model_name_or_path = name
    adapted.entity_types = tuple(types)
    return adapted


def _continued(model: Any, start: Path, name: str, dropout: float) -> Any:
    """`model` with the adapter in `start`, ready for further training."""
    from peft import LoraConfig, PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice for other models
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
    """Raise `TrainingRefused` for an adapted embedding, if the engine computes the model and can't apply it."""
    from peft.tuners.lora import Embedding

    own_forward = not llama.unsupported(adapted.get_base_model().config)
    if own_forward and any(isinstance(one, Embedding) for one in adapted.modules()):
        raise TrainingRefused("The chat can't apply an adapter of this model's embedding. Remove it from --targets.")


def peft_config(config: TrainConfig, steps: int, trained_whole: list[str] | None = None) -> Any:
    """PEFT's configuration for a method. `trained_whole`: modules whose own weights are trained and saved."""
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
    """Trained parameters by name."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def save(model: Any, folder: Path) -> None:
    """Write the adapter in PEFT's format, or the changed weights of the base, atomically."""
    with whole_folder(folder) as new:
        if _allocator(model) is not None:
            _as_plain_lora(model, new)
        elif hasattr(model, "peft_config"):
            model.save_pretrained(new, save_embedding_layers=False)
            (new / "README.md").unlink(missing_ok=True)  # an unfilled template
            if types := getattr(model, "entity_types", ()):
                tagging.save_types(new, types)
        else:
            tensors = {one: tensor.detach().cpu().contiguous() for one, tensor in trained(model).items()}
            save_file(tensors, new / CHANGED, {"base_model_name_or_path": getattr(model, "base_name", "")})


def keep(best: Path, target: Path) -> str:
    """Copy a run's best adapter to the adapters' folder, atomically; returns its hash.

    Uses hard links where possible, since it may contain all of a model's weights in float32.
    """
    with whole_folder(target) as new:
        for file in best.iterdir():
            try:
                (new / file.name).hardlink_to(file)
            except OSError:
                shutil.copyfile(file, new / file.name)
    return hash_of(target)


def made_by(paths: Paths, run: Run) -> tuple[Path, str]:
    """(folder of a finished run's adapter or changed weights, its hash).

    Runs of earlier versions have changed weights in the run's own folder. Raises `TrainingRefused` if the files don't
    match the run's hash.
    """
    folder = paths.adapters / run.result["adapter"] if run.adapter_hash else Path(run.result["weights"])
    hash_ = hash_of(folder) if folder.is_dir() else ""
    if not hash_ or run.adapter_hash not in ("", hash_):
        raise TrainingRefused(f"The files in {folder} are not what {run.name} saved. Restore them, or train again.")
    return folder, hash_


def allocate(model: Any, step: int) -> None:
    """Let AdaLoRA reallocate its rank budget after optimiser step `step`, from 0; no-op for other methods."""
    if (allocator := _allocator(model)) is not None:
        allocator.update_and_allocate(step)


def regularization(model: Any) -> Tensor | float:
    """AdaLoRA's regularisation term of a step's loss: the deviation of P and Q from orthogonality; else 0."""
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
    """AdaLoRA's importance statistics of the parameters, for a checkpoint; empty for other methods."""
    if (allocator := _allocator(model)) is None:
        return {}
    ranks = allocator.rankallocator
    return {f"{kind} {name}": one for kind in _IMPORTANCE for name, one in getattr(ranks, kind).items()}


def set_allocation(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Restore the statistics that `allocation` returned; other `tensors` are ignored."""
    if (allocator := _allocator(model)) is not None:
        for kind in _IMPORTANCE:
            known = getattr(allocator.rankallocator, kind)
            known.update(
                {key.removeprefix(f"{kind} "): one for key, one in tensors.items() if key.startswith(f"{kind} ")}
            )


def _as_plain_lora(model: Any, folder: Path) -> None:
    """Write an AdaLoRA adapter as plain LoRA, B diag(E) s / rank and A, which other programs can apply."""
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
    """The decoder layers: the longest module list."""
    lists = [one for one in model.modules() if isinstance(one, nn.ModuleList)]
    return max(lists, key=len)
