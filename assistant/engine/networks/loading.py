"""A model's folder -> its network: our own forward pass for the Llama family, transformers' for all else."""

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from assistant.adapters.folder import AdapterFolder
from assistant.engine.formats import quantised, weights
from assistant.engine.hardware import machine, placement, product_speed
from assistant.engine.models import weight_files
from assistant.engine.networks.llama import model as llama
from assistant.engine.networks.llama import native, shape
from assistant.engine.networks.llama.adapted import Reader
from assistant.engine.networks.llama.blocks import FLAT, GROUP, KINDS, Blocks, Stack, quantise
from assistant.engine.networks.llama.network import LlamaNetwork
from assistant.engine.networks.llama.packed import BlockLinear, Int4Linear
from assistant.engine.networks.network import Network
from assistant.errors import ModelIncomplete
from assistant.paths import cache_folder

if TYPE_CHECKING:
    from assistant.engine.networks.llama.graph import GraphStepper

log = logging.getLogger(__name__)
Weight = Tensor | Blocks
BITS = {"int8": 8, "int4": 4}
READ_BY_ROWS = ("lm_head.weight", "model.embed_tokens.weight")
"""Never in 4 bits: every token goes through them, and they are a small share of a large model."""


def load(folder: Path, device: str, dtype: str) -> tuple[Network, Any, int]:
    """(network, transformers' configuration, context in tokens) of the model in `folder`.

    Raises a `ModelError` that says what is wrong with the model or too small in the machine.
    """
    weight_files.check(folder)
    config = weights.read_config(folder)
    stored = weights.stored(folder, own_forward=not shape.unsupported(config))
    at = placement.place(stored, device, dtype)
    context_tokens = placement.context_tokens(config, stored, at)
    if stored.own_forward:
        return _llama(folder, config, at), config, context_tokens
    from assistant.engine.networks.through_transformers import TransformersNetwork

    return TransformersNetwork(weights.load(folder, at.dtype, at.device)), config, context_tokens


def _llama(folder: Path, config: Any, at: placement.Placement) -> LlamaNetwork:
    try:
        tensors = _tensors(folder, at)
        linear = _linear(config, tensors, at)
        model = llama.build(config, tensors, linear)
    except KeyError as error:
        raise ModelIncomplete(f"{folder} lacks the tensor {error.args[0]}. Pull the model again.") from error
    except (RuntimeError, ValueError) as error:
        raise ModelIncomplete(f"The weights in {folder} don't fit its config.json: {error}") from error
    native.NativeLinear.many_dtype = _many_dtype(model.layers[0].gate_up)
    kv_dtype = torch.float16 if isinstance(model.head, native.NativeLinear) else model.dtype
    stored = _Stored(folder, at)
    read = Reader(model, stored, stored.shapes, linear, partial(_changed, at), kv_dtype)
    return LlamaNetwork(model, at.device, kv_dtype, partial(_adapter_bytes, at), read, _graph(model))


class _Stored(Mapping[str, Weight]):
    """A model's weights as they are used, each read from the file and converted when it is asked for.

    The file is mapped no longer than a tensor of it is in use: a model that is being loaded isn't in memory twice.
    """

    def __init__(self, folder: Path, at: placement.Placement) -> None:
        self._folder, self._at = folder, at
        self.shapes = weight_files.shapes(folder)

    def __getitem__(self, name: str) -> Weight:
        if name not in self.shapes:
            raise KeyError(name)
        return _converted(name, weights.tensors(self._folder, name)[name], self._at)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def _adapter_bytes(at: placement.Placement, source: AdapterFolder) -> int:
    """Memory that an adapter takes: changed weights as the base's, all else in float32."""
    return int(source.numel * (placement.WEIGHT_BYTES[at.precision] if source.kind == "weights" else 4))


def _changed(at: placement.Placement, source: AdapterFolder) -> Mapping[str, Weight]:
    """Weights of the base that were trained, in its precision; where quantising takes long, kept as the base's are."""
    return _kept(
        [source.file],
        at,
        lambda: {name: _converted(name, one, at) for name, one in weights.tensors_of(source.file).items()},
    )


def _many_dtype(linear: Any) -> torch.dtype | None:
    """bfloat16 where a long prompt is read faster with torch's products of unpacked weights than by the C library.

    Weights of 16 bits: wherever bfloat16 is faster than float32. Of blocks the library multiplies integers, which
    was faster at any length with AVX512-BF16 (a prompt of 128 tokens 1.3 times, of 2,048 1.15); AMX is another matter.
    """
    if not isinstance(linear, native.NativeLinear) or (not linear.is_16_bit and not native.has_amx()):
        return None
    fastest = product_speed.fastest_dtype(cache_folder() / machine.SPEEDS)
    return torch.bfloat16 if fastest == torch.bfloat16 else None


def _tensors(folder: Path, at: placement.Placement) -> Mapping[str, Weight]:
    """The weights in the precision that is asked for, by Hugging Face's names."""
    if _stay_blocks(folder, at):
        return _Stored(folder, at)
    return _kept(
        weight_files.files(folder),
        at,
        lambda: {name: _converted(name, one, at) for name, one in weights.tensors(folder).items()},
    )


def _stay_blocks(folder: Path, at: placement.Placement) -> bool:
    """Whether all matrices are multiplied with as the GGUF file has them."""
    tables = (weight_files.read_ggml(folder).get("tensors") or {}).values()
    kinds = {table["type"] for table in tables if len(table["shape"]) > 1}
    return bool(kinds) and kinds <= KINDS.keys() and at.precision == "int8" and at.device.type == "cpu"


def _kept(
    files: Sequence[Path], at: placement.Placement, convert: Callable[[], dict[str, Weight]]
) -> Mapping[str, Weight]:
    """What `convert` makes of the files, now or in an earlier process."""
    if at.precision not in BITS:
        return convert()
    return quantised.weights(cache_folder() / "quantised", files, at.precision, at.device, convert)


def _converted(name: str, weight: Weight, at: placement.Placement) -> Weight:
    """A weight in the precision that is asked for. Blocks of no more bits stay what they are."""
    if isinstance(weight, Tensor) and weight.ndim < 2:  # norms and biases
        return weight.to(at.device, at.dtype, copy=True)  # what is still mapped keeps the whole file in memory
    bits = BITS.get(at.precision)
    if bits and name in READ_BY_ROWS:
        bits = 8
    if isinstance(weight, Blocks):
        if bits and weight.bits <= bits and (at.device.type == "cpu" or weight.kind in FLAT):
            return weight.to(at.device)
        weight = weight.dequantise()
    if bits and weight.shape[1] % GROUP == 0:
        return quantise(weight, bits).to(at.device)
    return weight.to(at.device, at.dtype)


def _linear(config: Any, tensors: Mapping[str, Weight], at: placement.Placement) -> llama.Linear:
    """What makes the linears for the fastest decode step that there is here."""
    if _can_step(config, tensors, at):
        return _stepped
    return _graphed if at.dtype == torch.bfloat16 and _has_triton(at.device) else partial(_torch, at)


def _has_triton(device: torch.device) -> bool:
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


def _graphed(weight: Weight | Stack, bias: Tensor | None) -> nn.Module:
    """A linear for the kernels of a GPU."""
    from assistant.engine.networks.llama.graph import GraphLinear

    return GraphLinear(_narrow(weight), bias)


def _graph(model: llama.Model) -> "GraphStepper | None":
    """The decode step on a GPU, where it runs and gives what `model` gives."""
    if not _has_triton(model.norm.device):
        return None
    from assistant.engine.networks.llama import graph

    if graph.unsupported(model):
        return None
    try:
        with torch.inference_mode():
            stepper = graph.GraphStepper(model)
            if stepper.agrees():
                return stepper
        log.warning("The CUDA graph's logits aren't those of the plain forward pass: it is not used.")
    except Exception as error:  # whatever a driver, a compiler or a GPU doesn't like
        log.warning("The CUDA graph can't be built here, so decoding is slower: %s", error)
    return None


def _can_step(config: Any, tensors: Mapping[str, Weight], at: placement.Placement) -> bool:
    """Whether the C library can compute with these weights."""
    if at.device.type != "cpu" or native.library() is None or native.unsupported(config):
        return False
    if isinstance(tensors, _Stored):
        return True
    matrices = [one for one in tensors.values() if isinstance(one, Blocks) or one.ndim == 2]
    return all(isinstance(one, Blocks) or one.dtype == torch.bfloat16 for one in matrices)


def _stepped(weight: Weight | Stack, bias: Tensor | None) -> nn.Module:
    """A linear for the C library."""
    return native.NativeLinear(_narrow(weight), bias)


def _narrow(weight: Weight | Stack) -> Weight | Stack:
    """Projections of different kinds come joined, as float32; 8 bits hold them."""
    return quantise(weight, 8) if isinstance(weight, Tensor) and weight.dtype == torch.float32 else weight


def _torch(at: placement.Placement, weight: Weight | Stack, bias: Tensor | None) -> nn.Module:
    if isinstance(weight, Tensor):
        return llama.plain(weight.to(at.dtype), bias)
    packs = at.device.type == "cpu" and weight.shape[0] % Int4Linear.ROWS == 0
    return Int4Linear(weight, bias) if packs else BlockLinear(weight, bias)
