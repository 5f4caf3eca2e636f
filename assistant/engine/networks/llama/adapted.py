"""Adapters for our own forward pass, read from their folders.

LoRA, DoRA, IA3            parts beside the linears (`low_rank.py`)
prefix and prompt tuning   a beginning of the KV cache, computed once
changed weights            modules in the place of the base's, in the base's own precision
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from assistant.adapters.configs import Ia3Config, LoraConfig, VirtualTokensConfig
from assistant.adapters.folder import VIRTUAL, AdapterFolder
from assistant.engine.networks.llama.blocks import Blocks
from assistant.engine.networks.llama.low_rank import LowRank
from assistant.engine.networks.llama.model import FUSED, HEAD_MODULE, Linear, Model, Weights, pieces
from assistant.engine.networks.llama.rotary import side_by_side
from assistant.engine.networks.llama.shape import Shape
from assistant.errors import AdapterError


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """What an adapter changes in a `Model`."""

    hash: str
    parts: Mapping[str, tuple[LowRank, ...]] = field(default_factory=dict)
    """By the paths of the linears in the model, such as `layers.3.qkv`."""
    modules: Mapping[str, nn.Module | nn.Parameter] = field(default_factory=dict)
    """In place of those at these paths."""
    beginning: Tensor | None = None
    """Keys and values (layers, 2, H_kv, n, D) that stand before every conversation."""

    def drop(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True)
class Place:
    """The rows of a fused linear that stand for a linear of Hugging Face's."""

    linear: str
    first_row: int
    rows: int
    columns: int
    rotated_head_dim: int = 0
    """For queries and keys: their rows are reordered, so that a rotated pair lies side by side. Else 0."""

    def ordered(self, rows: Tensor) -> Tensor:
        """Rows (rows, ...) of Hugging Face's in the order of the fused linear."""
        return side_by_side(rows, self.rotated_head_dim) if self.rotated_head_dim else rows.contiguous()


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads adapters for one model."""

    model: Model
    stored: Weights
    """The base's weights as they are used, by Hugging Face's names, read from the file as they are asked for."""
    shapes: Mapping[str, Sequence[int]]
    """Of all these weights, without reading them."""
    linear: Linear
    """What makes the base's linears."""
    converted: Callable[[AdapterFolder], Weights]
    """Changed weights in the base's precision."""
    kv_dtype: torch.dtype

    @torch.inference_mode()
    def __call__(self, source: AdapterFolder) -> Adapter:
        """Raises `AdapterError` where the adapter was made for another model."""
        match source.kind:
            case "lora":
                return Adapter(source.hash, parts=self._low_ranks(source))
            case "ia3":
                return Adapter(source.hash, parts=self._gains(source))
            case "prefix":
                return Adapter(source.hash, beginning=self._prefix(source))
            case "prompt":
                return Adapter(source.hash, beginning=self._prompt(source))
        return Adapter(source.hash, modules=self._changed(source))

    # -- parts of linears

    def _low_ranks(self, source: AdapterFolder) -> dict[str, tuple[LowRank, ...]]:
        assert isinstance(source.config, LoraConfig)
        config, places, tensors = source.config, dict(_places(self.model.shape)), load_file(source.file)
        source.check_modules(places.keys())
        parts: dict[str, tuple[LowRank, ...]] = {}
        with _one_thread():
            for module, place in places.items():
                if module not in source.modules:
                    continue
                rank = config.rank(module)
                wanted: dict[str, tuple[int, ...]] = {"A": (rank, place.columns), "B": (place.rows, rank)}
                if config.use_dora:
                    wanted["magnitude_vector"] = (place.rows,)
                _refuse_shapes(source, module, wanted)
                found = {part: tensors[name].float() for part, name in source.modules[module].items()}
                made = self._low_rank(module, place, found, config.scale(module))
                parts[place.linear] = (*parts.get(place.linear, ()), made)
        return parts

    def _low_rank(self, module: str, place: Place, found: Mapping[str, Tensor], scale: float) -> LowRank:
        a, b = found["A"].contiguous(), found["B"] * scale
        gain = None
        if "magnitude_vector" in found:
            gain = place.ordered(_gain(found["magnitude_vector"], self._rows(module) + b @ a))
        return LowRank(place.first_row, a, place.ordered(b), gain)

    def _rows(self, module: str) -> Tensor:
        """A matrix (rows, K) of the base as it is used, float32, on the CPU: DoRA needs the lengths of its rows."""
        tied = module == HEAD_MODULE and f"{module}.weight" not in self.stored
        found = self.stored["model.embed_tokens.weight" if tied else f"{module}.weight"]
        return (found.dequantise() if isinstance(found, Blocks) else found.float()).cpu()

    def _gains(self, source: AdapterFolder) -> dict[str, tuple[LowRank, ...]]:
        assert isinstance(source.config, Ia3Config)
        places, tensors = dict(_places(self.model.shape)), load_file(source.file)
        source.check_modules(places.keys())
        parts: dict[str, tuple[LowRank, ...]] = {}
        for module, names in source.modules.items():
            place, on_input = places[module], source.config.scales_input(module)
            _refuse_shapes(source, module, {"ia3_l": (1, place.columns) if on_input else (place.rows, 1)})
            if on_input:
                place = _scaled_in_place_of(source, module, places)
            gain = place.ordered(tensors[names["ia3_l"]].float().flatten())
            made = LowRank.of_gains(place.first_row, gain, place.columns)
            parts[place.linear] = (*parts.get(place.linear, ()), made)
        return parts

    # -- virtual tokens

    def _prefix(self, source: AdapterFolder) -> Tensor:
        """PEFT's (n, layers * 2 * H_kv * D) as a beginning of the cache, keys reordered as in `rotary.py`."""
        shape, count = self.model.shape, _virtual_tokens(source)
        _refuse_shapes(source, VIRTUAL, {VIRTUAL: (count, 2 * shape.layers * shape.kv_heads * shape.head_dim)})
        flat = load_file(source.file)[VIRTUAL].float().view(count, shape.layers, 2, shape.kv_heads, shape.head_dim)
        keys, values = flat.permute(2, 1, 3, 0, 4)  # [L, H_kv, n, D] each
        keys = keys.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
        beginning = torch.stack((keys, values), dim=1).to(self._device, self.kv_dtype)
        if not beginning.isfinite().all():
            raise AdapterError(f"{source.file} holds larger numbers than the KV cache can: {self.kv_dtype}.")
        return beginning

    def _prompt(self, source: AdapterFolder) -> Tensor:
        """The keys and values that the base makes of the virtual tokens' embeddings (n, C)."""
        count = _virtual_tokens(source)
        _refuse_shapes(source, VIRTUAL, {VIRTUAL: (count, self.model.shape.width)})
        x = load_file(source.file)[VIRTUAL].to(self._device, self.model.dtype)
        if self.model.shape.scales_prompts:
            x = x * self.model.shape.embed_scale
        kv = self.model.empty_kv(count, self.kv_dtype)
        self.model.hidden_of(x, kv, 0)
        return kv

    @property
    def _device(self) -> torch.device:
        return self.model.norm.device

    # -- changed weights

    def _changed(self, source: AdapterFolder) -> dict[str, nn.Module | nn.Parameter]:
        source.check_weights(self.shapes)
        weights = cast(Weights, ChainMap(dict(self.converted(source)), cast(Any, self.stored)))
        return dict(pieces(self.model.shape, weights, self.linear, source.tensors.keys()))


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
    """Every linear by its Hugging Face name, in the order of the fused rows."""
    yield HEAD_MODULE, Place("head", 0, shape.vocabulary, shape.width)
    q, kv, dim = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.head_dim
    rows = {"q_proj": q, "k_proj": kv, "v_proj": kv, "gate_proj": shape.hidden, "up_proj": shape.hidden}
    columns = {"o_proj": q, "down_proj": shape.hidden}
    for index in range(shape.layers):
        for name, (block, projections) in FUSED.items():
            first = 0
            for one in projections:
                count = rows.get(one, shape.width)
                rotated = dim if one in ("q_proj", "k_proj") else 0
                place = Place(f"layers.{index}.{name}", first, count, columns.get(one, shape.width), rotated)
                yield f"model.layers.{index}.{block}.{one}", place
                first += count


def _scaled_in_place_of(source: AdapterFolder, module: str, places: Mapping[str, Place]) -> Place:
    """Where gains on the input of `module` are applied: those of down_proj on the output of up_proj, whose product with
    the gate that input is."""
    block, _, name = module.rpartition(".")
    if name != "down_proj":
        raise AdapterError(
            f"The adapter in {source.path} scales the input of {module}, which can't be applied: of this model only "
            "down_proj's input can be scaled. Train it with feedforward_modules=['down_proj']."
        )
    return places[f"{block}.up_proj"]


def _virtual_tokens(source: AdapterFolder) -> int:
    assert isinstance(source.config, VirtualTokensConfig)
    return source.config.num_virtual_tokens


def _refuse_shapes(source: AdapterFolder, module: str, wanted: Mapping[str, tuple[int, ...]]) -> None:
    names = source.modules.get(module, {module: module})
    shapes = {part: source.tensors[name].shape for part, name in names.items()}
    if shapes != wanted:
        raise AdapterError(
            f"The adapter in {source.path} has {_listed(shapes)} for {module}, where this model takes "
            f"{_listed(wanted)}. {source.origin}"
        )


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{part} {shape}" for part, shape in sorted(shapes.items()))


def _gain(magnitudes: Tensor, rows: Tensor) -> Tensor:
    """DoRA's magnitudes (rows,) over the lengths of the rows of W + s B A (rows, K) (https://arxiv.org/abs/2402.09353)."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return torch.where(lengths > 0, magnitudes / lengths, 0.0)  # a row of a padded vocabulary stays 0
