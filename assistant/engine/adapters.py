"""LoRA adapters beside a model's weights: read for our own forward pass, or put into a model of transformers by PEFT.

The base is never merged with them, so that it may have 4 bits, stays what it is bit for bit, and an adapter is swapped
in the time that it takes to set a few references.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assistant.engine.adapter_folder import CONFIG, WEIGHTS, AdapterFolder
from assistant.engine.llama.low_rank import LowRank
from assistant.engine.llama.model import Shape
from assistant.engine.llama.rotary import side_by_side
from assistant.errors import AdapterError


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """What is added to the linears of a `llama.model.Model`."""

    parts: Mapping[str, tuple[LowRank, ...]]
    """By our names of the linears, such as `layers.3.qkv`; those that aren't named stay as they are."""
    hash: str
    """SHA-256 of the weights and of how they are used."""
    base: str
    """The model that it was trained on, as its maker called it; empty where that wasn't said. Not checked."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a linear of Hugging Face's lies in one of ours."""

    linear: str
    first_row: int
    rows: int
    columns: int
    rotated_head_dim: int = 0
    """For queries and keys, whose rows stand in another order with us."""

    def ordered(self, rows: Tensor) -> Tensor:
        """Rows (rows, ...) of Hugging Face's in our order."""
        return side_by_side(rows, self.rotated_head_dim) if self.rotated_head_dim else rows.contiguous()


def read(folder: Path, config: Any, weight: Callable[[str], Tensor]) -> Adapter:
    """The adapter in `folder` for a model with transformers' configuration `config`.

    `weight` gives a matrix (rows, K) of the base as it is used, float32, by its Hugging Face name: DoRA needs the
    lengths of its rows. Raises `AdapterError` for one that is damaged, of another kind or made for another model.
    """

    def base(module: str) -> Tensor:
        tied = module == "lm_head" and config.tie_word_embeddings
        return weight("model.embed_tokens.weight" if tied else f"{module}.weight")

    source = AdapterFolder.open(folder)
    places = dict(_places(Shape.of(config)))
    source.check_modules(places.keys())
    parts: dict[str, tuple[LowRank, ...]] = {}
    with _one_thread():
        for module, place in places.items():
            if module in source.tensors:
                parts[place.linear] = (*parts.get(place.linear, ()), _low_rank(source, module, place, base))
    return Adapter(parts, source.hash, source.config.base_model_name_or_path or "")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hundreds of short products: two niced threads beside a busy process took 5.2 s for DoRA's, one takes 0.24 s."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _places(shape: Shape) -> Iterator[tuple[str, Place]]:
    """Every linear by its Hugging Face name, in the order of our rows."""
    yield "lm_head", Place("head", 0, shape.vocabulary, shape.width)
    q, kv, dim = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.head_dim
    for index in range(shape.layers):
        theirs, ours = f"model.layers.{index}", f"layers.{index}"
        yield f"{theirs}.self_attn.q_proj", Place(f"{ours}.qkv", 0, q, shape.width, dim)
        yield f"{theirs}.self_attn.k_proj", Place(f"{ours}.qkv", q, kv, shape.width, dim)
        yield f"{theirs}.self_attn.v_proj", Place(f"{ours}.qkv", q + kv, kv, shape.width)
        yield f"{theirs}.self_attn.o_proj", Place(f"{ours}.out", 0, shape.width, q)
        yield f"{theirs}.mlp.gate_proj", Place(f"{ours}.gate_up", 0, shape.hidden, shape.width)
        yield f"{theirs}.mlp.up_proj", Place(f"{ours}.gate_up", shape.hidden, shape.hidden, shape.width)
        yield f"{theirs}.mlp.down_proj", Place(f"{ours}.down", 0, shape.width, shape.hidden)


def _low_rank(source: AdapterFolder, module: str, place: Place, base: Callable[[str], Tensor]) -> LowRank:
    rank = source.config.rank(module)
    wanted: dict[str, tuple[int, ...]] = {"A": (rank, place.columns), "B": (place.rows, rank)}
    if source.config.use_dora:
        wanted["magnitude_vector"] = (place.rows,)
    tensors = source.tensors[module]
    shapes = {kind: tuple(tensor.shape) for kind, tensor in tensors.items()}
    if shapes != wanted:
        raise AdapterError(
            f"The adapter in {source.path} has {_listed(shapes)} for {module}, where this model takes "
            f"{_listed(wanted)}. {source.origin}"
        )
    a = tensors["A"].float().contiguous()
    b = tensors["B"].float() * source.config.scale(module)
    gain = _gain(tensors["magnitude_vector"].float(), base(module) + b @ a) if source.config.use_dora else None
    return LowRank(place.first_row, a, place.ordered(b), None if gain is None else place.ordered(gain))


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{kind} {shape}" for kind, shape in sorted(shapes.items()))


def _gain(magnitudes: Tensor, rows: Tensor) -> Tensor:
    """DoRA's magnitudes (rows,) over the lengths of the rows of W + s B A (rows, K) (https://arxiv.org/abs/2402.09353)."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return torch.where(lengths > 0, magnitudes / lengths, 0.0)  # a row of a padded vocabulary stays 0


class Adapters:
    """The adapters that were used last, read once for as long as their files stay what they are."""

    def __init__(self, read: Callable[[Path], Adapter]) -> None:
        self._read = read
        self._stamps: dict[Path, tuple[list[int], str]] = {}
        self.held: dict[str, Adapter] = {}
        """By hash."""

    def read(self, folder: Path) -> Adapter:
        """Raises `AdapterError`."""
        stamp = stamp_of(folder)
        known, found = self._stamps.get(folder, ([], ""))
        if not stamp or stamp != known:
            adapter = self._read(folder)
            self._stamps[folder] = stamp, adapter.hash
            self.held[adapter.hash] = adapter
            return adapter
        return self.held[found]


def stamp_of(folder: Path) -> list[int]:
    """Tells one state of an adapter's files from another; empty where there are none."""
    try:
        files = [(folder / name).stat() for name in (CONFIG, WEIGHTS)]
    except OSError:
        return []
    return [number for file in files for number in (file.st_mtime_ns, file.st_size)]


def attach(model: Any, folder: Path, name: str) -> str:
    """Put the adapter in `folder` beside the weights of transformers' `model`, by PEFT, under `name`; its hash.

    No adapter takes part until `use` says which. A name has no dots. Raises `AdapterError` for one that is damaged, of
    another kind or made for another model; nothing of it stays then.
    """
    source = AdapterFolder.open(folder)
    try:
        problem = _injected(model, source, name)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        problem = " ".join(str(error).strip().rstrip(".").split("\n", 2)[:2])  # the first of many tensors
    if problem:
        detach(model, name)
        raise AdapterError(f"The adapter in {folder} doesn't fit this model: {problem}. {source.origin}")
    use(model, None)
    return source.hash


def use(model: Any, name: str | None) -> None:
    """Compute with the attached adapter `name` from now on, or with the base alone, bit for bit.

    PEFT goes through every module for that: 17 ms for 210 adapted linears, so only where it changes.
    """
    from peft.functional import set_adapter

    set_adapter(model, name or [], inference_mode=True)


def detach(model: Any, name: str) -> None:
    """Give the adapter's memory back; the base is used from now on."""
    from peft.functional import delete_adapter

    use(model, None)
    delete_adapter(model, name, prefix="lora_")
    getattr(model, "peft_config", {}).pop(name, None)


def _injected(model: Any, source: AdapterFolder, name: str) -> str:
    """What is wrong with the adapter for this model, once it is in it; empty where nothing is."""
    from peft import LoraConfig
    from peft.functional import cast_adapter_dtype, inject_adapter_in_model, set_peft_model_state_dict

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # such as that there are several adapters, or that they were saved by a later peft
        inject_adapter_in_model(LoraConfig.from_pretrained(str(source.path)), model, name)
        cast_adapter_dtype(model, name)  # float32 before the weights come, as PEFT does beside a base of 16 bits
        found: Any = set_peft_model_state_dict(model, source.named_tensors(), name)
    model.requires_grad_(False)
    if found.unexpected_keys:
        return f"it changes {found.unexpected_keys[0]}, which the model doesn't have"
    missing = [key for key in found.missing_keys if f".{name}." in f"{key}."]
    return f"it lacks {missing[0]}" if missing else ""
