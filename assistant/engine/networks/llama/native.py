"""The C library in `decode`, built once by the machine's compiler and kept. Without it the engine computes in torch.

It needs a C compiler, Linux and a CPU with AVX2 (Intel since 2013, AMD since 2015); with AVX512-VNNI it is faster.
Building takes 7 s, once: each product is compiled for each kind of block and for 1, 4 and 8 rows at a time.
"""

import ctypes
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from assistant.engine.hardware import compiler
from assistant.engine.hardware.machine import cpu_flags
from assistant.engine.networks.llama.blocks import GROUP, Blocks, Stack
from assistant.engine.networks.llama.low_rank import AdaptedLinear, LowRank
from assistant.errors import RequestRefused

if TYPE_CHECKING:
    from assistant.engine.networks.llama.model import Model

SOURCE = Path(__file__).parent / "decode" / "decode.c"
INSTRUCTION_SETS = {
    "AVX512-VNNI": ({"avx512_vnni", "avx512bw", "f16c", "fma", "bmi2"}, "native"),
    "AVX2": ({"avx2", "f16c", "fma", "bmi2"}, "x86-64-v3"),
}
"""Best first -> (the flags of a CPU that has it, the compiler's name for such a CPU)."""
TILE = 16
"""Rows of a matrix that lie interleaved."""
KINDS = ("B16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
"""In the order of blocks.h: ggml's, and bfloat16."""
KEYS = 32
"""Positions that the library looks at together."""
MOST_ROWS = 128
MOST_SHARING = 16
"""Query heads that share a key head."""
MOST_DIM = 256
MANY_ROWS = 64
"""From so many rows on unpacked weights may be faster."""


class CLowRank(ctypes.Structure):
    """`LowRank` of model.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("a", "b", "gain")),
        *((name, ctypes.c_int32) for name in ("first", "rows", "rank", "unused")),
    )


class CSegment(ctypes.Structure):
    """`Segment` of model.h."""

    _fields_ = (("blocks", ctypes.c_void_p), ("kind", ctypes.c_int32), ("tiles", ctypes.c_int32))


class CLinear(ctypes.Structure):
    """`Linear` of model.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("segments", "bias", "low_rank")),
        *((name, ctypes.c_int32) for name in ("count", "n", "k", "low_ranks")),
    )


NORMS = ("attention_norm", "hidden_norm", "attended_norm", "made_norm", "qk_norm")


class CLayer(ctypes.Structure):
    """`Layer` of model.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in NORMS),
        *((name, CLinear) for name in ("qkv", "out", "gate_up", "down")),
        *((name, ctypes.c_int32) for name in ("rotation", "window")),
    )


class CModel(ctypes.Structure):
    """`Model` of model.h."""

    _fields_ = (
        ("layers", ctypes.c_void_p),
        ("norm", ctypes.c_void_p),
        ("head", CLinear),
        *((name, ctypes.c_int32) for name in ("count", "width", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, ctypes.c_float) for name in ("eps", "attention_scale", "residual_scale")),
        ("gelu", ctypes.c_int32),
    )


class CRow(ctypes.Structure):
    """`Row` of model.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "kv")),
        ("rotation", ctypes.c_void_p * 2),
        *((name, ctypes.c_int64) for name in ("capacity", "position", "wanted")),
        ("seen", ctypes.c_char_p),
        ("tree", ctypes.c_int64),
    )


def unsupported(config: Any) -> str:
    """Why the library can't compute a model of the Llama family with this configuration; empty where it can."""
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    if dim % TILE or dim > MOST_DIM:
        return f"heads {dim} wide: a multiple of {TILE} up to {MOST_DIM} is wanted"
    if heads // kv_heads > MOST_SHARING:
        return f"{heads // kv_heads} query heads for a key head: more than {MOST_SHARING}"
    if odd := [width for width in (config.hidden_size, config.intermediate_size, heads * dim) if width % GROUP]:
        return f"a width of {odd[0]}: no multiple of {GROUP}"
    return ""


def has_amx() -> bool:
    """Whether the CPU multiplies tiles of bfloat16, many times faster than vectors."""
    return "amx_bf16" in cpu_flags()


@cache
def library() -> ctypes.CDLL | None:
    """The built code, or None where it can't be built."""
    for flags, architecture in INSTRUCTION_SETS.values():
        if flags <= cpu_flags():
            sources = hashlib.sha256(b"".join(one.read_bytes() for one in sorted(SOURCE.parent.glob("*.[ch]"))))
            more = [
                f"-march={architecture}",
                f"-DSOURCES={sources.hexdigest()[:16]}",
            ]  # built anew when any has changed
            loaded = compiler.library(SOURCE, more, links=["-lm", "-lpthread"])
            return _declared(loaded) if loaded else None
    return None


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, kinds in {
        "step": [pointer, pointer, number, pointer, number],
        "times": [pointer, pointer, number, pointer, number],
        "unpack": [pointer, pointer, number, number],
        "embed": [pointer, pointer, number, pointer],
        "pack": [pointer, number, number, number, pointer, number],
        "products": [pointer, pointer, pointer, number],
        "packed_bytes": [number, number, number],
    }.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = kinds, None
    loaded.packed_bytes.restype = ctypes.c_int64
    return loaded


def _built() -> ctypes.CDLL:
    found = library()
    assert found is not None, "ask library() first"
    return found


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class NativeLinear(AdaptedLinear):
    """Weights in ggml's blocks or bfloat16, the very numbers that they came as."""

    many_dtype: torch.dtype | None = None
    """bfloat16 on a CPU that is fast enough at it: then many rows at once go through torch's product of unpacked
    weights."""
    _room = torch.empty(0)

    def __init__(self, weight: Blocks | Stack | Tensor, bias: Tensor | None = None) -> None:
        """Weights (N, K) as blocks or bfloat16; K a multiple of 32, N of 16 in all parts of a stack but the last."""
        super().__init__(None if bias is None else bias.float())
        self.n, self.k = weight.shape
        parts = weight.parts if isinstance(weight, Stack) else (weight,)
        if any(part.shape[0] % TILE for part in parts[:-1]):
            raise ValueError(f"parts of {[part.shape[0] for part in parts]} rows: multiples of {TILE} are wanted")
        self.packed = [_packed(part) for part in parts]
        self.segments = (CSegment * len(parts))()
        for segment, part, packed in zip(self.segments, parts, self.packed, strict=True):
            segment.blocks, segment.kind = packed.data_ptr(), _number(part)
            segment.tiles = _padded(part.shape[0]) // TILE
        self.c = CLinear(ctypes.addressof(self.segments), None, None, len(parts), self.n, self.k, 0)
        self._held: list[Any] = []  # what C points to
        self.adapt(())

    @property
    def is_16_bit(self) -> bool:
        """Whether the weights are bfloat16."""
        return bool(self.segments[0].kind == 0)

    def embedding(self) -> nn.Module:
        return NativeEmbedding(self)

    def adapt(self, parts: Sequence[LowRank]) -> None:
        super().adapt(parts)
        made = (CLowRank * len(parts))()
        bias = None if self.bias is None else nn.functional.pad(self.bias, (0, _padded(self.n) - self.n))
        self._held = [made, bias]
        self.c.bias = _address(bias)
        for c, part in zip(made, parts, strict=True):
            tensors = [None if one is None else one.float().contiguous() for one in (part.a, part.b, part.gain)]
            self._held += tensors
            c.a, c.b, c.gain = map(_address, tensors)
            c.first, c.rows, c.rank = part.first_row, part.b.shape[0], part.b.shape[1]
        self.c.low_rank, self.c.low_ranks = ctypes.addressof(made), len(parts)

    def forward(self, x: Tensor) -> Tensor:
        if self.many_dtype is not None and x.shape[0] >= MANY_ROWS:
            y = nn.functional.linear(x.to(self.many_dtype), self.unpack(self.many_dtype)).to(x.dtype)
            y = self.adapted(y, x)
            return y if self.bias is None else y.add_(self.bias)
        wide = x.float().contiguous()
        made = torch.empty(x.shape[0], _padded(self.n))
        _built().times(ctypes.addressof(self.c), wide.data_ptr(), x.shape[0], made.data_ptr(), torch.get_num_threads())
        return made[:, : self.n].to(x.dtype)

    def unpack(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weights (N, K) in float32 or bfloat16, until the next call: all linears share the room for them."""
        if NativeLinear._room.numel() < 4 * self.n * self.k:
            NativeLinear._room = torch.empty(4 * self.n * self.k, dtype=torch.uint8)
        out = NativeLinear._room[: dtype.itemsize * self.n * self.k].view(dtype).view(self.n, self.k)
        _built().unpack(ctypes.addressof(self.c), out.data_ptr(), dtype == torch.float32, torch.get_num_threads())
        return out


def _number(weight: Blocks | Tensor) -> int:
    """The kind of the weights as blocks.h numbers it."""
    return 0 if isinstance(weight, Tensor) else KINDS.index(weight.kind)


def _packed(weight: Blocks | Tensor) -> Tensor:
    """The weights with the rows of each tile interleaved. About 3 GB a second and core."""
    assert isinstance(weight, Blocks) or weight.dtype == torch.bfloat16
    rows = (weight if isinstance(weight, Tensor) else weight.rows).contiguous()
    kind, (n, k) = _number(weight), weight.shape
    packed = torch.empty(_built().packed_bytes(kind, n, k), dtype=torch.uint8)
    _built().pack(rows.data_ptr(), kind, n, k, packed.data_ptr(), torch.get_num_threads())
    return packed


def _padded(n: int) -> int:
    return -(-n // TILE) * TILE


class NativeEmbedding(nn.Module):
    """Rows of a `NativeLinear`: an embedding tied to the head is held once."""

    def __init__(self, linear: NativeLinear) -> None:
        super().__init__()
        self.linear = linear
        self.num_embeddings = linear.n

    def forward(self, ids: Tensor) -> Tensor:
        """ids (S,) -> (S, C) float32. Raises `RequestRefused` for an id that has no row: tokenizers may have more."""
        out = torch.empty(len(ids), self.linear.k)
        ids = ids.contiguous()
        if len(wrong := ids[(ids < 0) | (ids >= self.linear.n)]):
            raise RequestRefused(f"The model has no token {int(wrong[0])}.", code="bad_token", status=400)
        _built().embed(ctypes.addressof(self.linear.c), ids.data_ptr(), len(ids), out.data_ptr())
        return out


@dataclass(frozen=True, slots=True)
class Row:
    """One token of one sequence. It stands at `position` of `kv` (layers, 2, H_kv, T, D) float16; T mod 32 is 0."""

    token: int
    kv: Tensor
    position: int
    wanted: bool = True
    """Whether logits after it are asked for."""
    place: int | None = None
    """Its place in the text, where that isn't `position`."""
    tree: int = 0
    seen: bytes = b""
    """Of a tree that begins at position `tree`: a bit for each position that it sees, in words of 32, from the word
    with `tree` on. It sees all before those. Without them it sees all up to its own."""


def tree_rows(ids: Sequence[int], parents: Sequence[int], kv: Tensor, start: int, last: int) -> list[Row]:
    """Ids after the `start` that `kv` holds, each following the one with that index among them, or those for -1.

    Logits are wanted of the `last` ones.
    """
    before = start % KEYS
    words = -(-(before + len(ids)) // KEYS)
    seen: list[int] = []
    rows = []
    for node, (token, parent) in enumerate(zip(ids, parents, strict=True)):
        above = seen[parent] if parent >= 0 else (1 << before) - 1
        seen.append(above | 1 << before + node)
        place = start + seen[node].bit_count() - before - 1
        bits = seen[node].to_bytes(4 * words, "little")
        rows.append(Row(token, kv, start + node, node >= len(ids) - last, place, start, bits))
    return rows


class Stepper:
    """One token each for up to 128 rows, through a model whose every linear is a `NativeLinear`."""

    def __init__(self, model: "Model") -> None:
        self._model, shape = model, model.shape
        self._layers = (CLayer * shape.layers)()
        self._c = CModel()
        self._c.layers, self._c.eps, self._c.gelu = ctypes.addressof(self._layers), shape.eps, shape.gelu
        self._c.attention_scale, self._c.residual_scale = shape.attention_scale, shape.residual_scale
        self._c.count, self._c.width, self._c.hidden = shape.layers, shape.width, shape.hidden
        self._c.heads, self._c.kv_heads, self._c.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self._rows = (CRow * MOST_ROWS)()
        self.refresh()

    def refresh(self) -> None:
        """Take the model's modules, with their adapters, as they are now."""
        self._held: list[Tensor] = []  # what C points to
        model: Any = self._model
        self._c.head, self._c.norm = model.head.c, self._wide(model.norm)
        for c, layer in zip(self._layers, model.layers, strict=True):
            for name in NORMS:
                norm = getattr(layer, name, None)
                setattr(c, name, None if norm is None else self._wide(norm))
            c.rotation, c.window = layer.rotation, layer.window
            c.qkv, c.out, c.gate_up, c.down = layer.qkv.c, layer.out.c, layer.gate_up.c, layer.down.c

    def __call__(self, rows: Sequence[Row]) -> Tensor:
        """Logits (wanted, V) after the rows. Those of one cache stand beside one another, at successive positions.

        Layers with a window can't have trees. What a row gets is the same, bit for bit, whatever rows are beside it.
        """
        x = self._model.embedded(torch.tensor([row.token for row in rows])).float().contiguous()
        places = [row.position if row.place is None else row.place for row in rows]
        rotations = [[one.upto(place, place + 1) for one in self._model.rotaries] for place in places]
        for index, (c, row, turns) in enumerate(zip(self._rows, rows, rotations, strict=False)):
            c.x, c.kv = x.data_ptr() + index * x.shape[1] * 4, row.kv.data_ptr()
            for number, rotation in enumerate(turns):
                c.rotation[number] = rotation.data_ptr()
            c.capacity, c.position, c.wanted = row.kv.shape[3], row.position, row.wanted
            c.seen, c.tree = row.seen or None, row.tree
        logits = torch.empty(sum(row.wanted for row in rows), _padded(self._model.shape.vocabulary))
        _built().step(
            ctypes.addressof(self._c),
            ctypes.addressof(self._rows),
            len(rows),
            logits.data_ptr(),
            torch.get_num_threads(),
        )
        logits = logits[:, : self._model.shape.vocabulary]
        return logits if self._model.shape.logits_scale == 1 else logits.mul_(self._model.shape.logits_scale)

    def products(self, x: Tensor) -> None:
        """All the products of one token and nothing else, for benchmarks. x as wide as the widest input."""
        logits = torch.empty(_padded(self._model.shape.vocabulary))
        _built().products(ctypes.addressof(self._c), x.data_ptr(), logits.data_ptr(), torch.get_num_threads())

    def _wide(self, tensor: Any) -> int:
        self._held.append(tensor.float().contiguous())
        return int(self._held[-1].data_ptr())
