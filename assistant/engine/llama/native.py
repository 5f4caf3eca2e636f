"""The C of decode.c, built once by the machine's compiler and kept; without a compiler the engine does without."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from assistant.engine.llama.blocks import Blocks

SOURCE = Path(__file__).with_name("decode.c")
FLAGS = (
    "-std=c11 -D_GNU_SOURCE -O3 -march=native -fno-math-errno -fno-trapping-math -fassociative-math -fno-signed-zeros "
    "-shared -fPIC"
).split()
Q4, Q8, ROWS = 4, 8, 16


class CLinear(ctypes.Structure):
    """`Linear` of decode.c."""

    _fields_ = [
        ("blocks", ctypes.c_void_p), ("bias", ctypes.c_void_p),
        ("kind", ctypes.c_int32), ("n", ctypes.c_int32), ("k", ctypes.c_int32), ("unused", ctypes.c_int32),
    ]


class CLayer(ctypes.Structure):
    """`Layer` of decode.c."""

    _fields_ = [
        ("attention_norm", ctypes.c_void_p), ("hidden_norm", ctypes.c_void_p), ("qk_norm", ctypes.c_void_p),
        ("qkv", CLinear), ("out", CLinear), ("gate_up", CLinear), ("down", CLinear),
        ("rotated", ctypes.c_int32), ("window", ctypes.c_int32),
    ]


class CModel(ctypes.Structure):
    """`Model` of decode.c."""

    _fields_ = [
        ("layers", ctypes.c_void_p), ("norm", ctypes.c_void_p), ("head", CLinear),
        *((name, ctypes.c_int32) for name in ("count", "width", "hidden", "heads", "kv_heads", "head_dim", "half_cache")),
        ("eps", ctypes.c_float),
    ]


def cache_folder() -> Path:
    return Path(os.environ.get("SPIKE_CACHE", Path.home() / ".cache" / "assistant-spike"))


@cache
def library() -> ctypes.CDLL | None:
    """The built code, or None where it can't be built."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode() + _machine().encode()).hexdigest()[:16]
    file = cache_folder() / f"decode-{key}.so"
    if not file.exists():
        if compiler is None:
            return None
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            built = Path(folder) / "decode.so"
            done = subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(built), "-lm", "-lpthread"], capture_output=True)
            if done.returncode:
                return None
            built.rename(file)
    loaded = ctypes.CDLL(str(file))
    pointer, number = ctypes.c_void_p, ctypes.c_int
    loaded.step.argtypes = [pointer, pointer, pointer, ctypes.c_int64, number, pointer, pointer, number]
    loaded.times.argtypes = [pointer, pointer, number, pointer, number]
    loaded.unpack.argtypes = [pointer, pointer, number]
    loaded.embed.argtypes = [pointer, pointer, number, pointer]
    loaded.pack.argtypes = [pointer, number, number, number, number, pointer]
    loaded.products.argtypes = [pointer, pointer, pointer, number]
    for name in ("products", "step", "times", "unpack", "embed", "pack"):
        getattr(loaded, name).restype = None
    return loaded


def _machine() -> str:
    """What the code was built for: a home folder may be shared by machines."""
    flags = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {platform.system()} {flags}"


class NativeLinear(nn.Module):
    """x W^T + bias, W in blocks of 4 or 8 bits, the very numbers of the GGUF file.

    A few rows at a time go through the C product; many, as in a prefill, through a plain product with the weights
    unpacked for the moment: a share of 1/M of its time.
    """

    _room = torch.empty(0)
    FEW = 6
    """Rows up to which the C product is taken. A guess, not measured yet."""

    def __init__(self, blocks: Blocks, bias: Tensor | None = None) -> None:
        super().__init__()
        self.n, self.k = blocks.shape
        kind = Q8 if blocks.kind == "Q8_0" else Q4
        tiles = -(-self.n // ROWS)
        self.packed = torch.empty(tiles * (self.k // 32) * (544 if kind == Q8 else 320), dtype=torch.uint8)
        rows = blocks.rows.contiguous()
        library().pack(rows.data_ptr(), kind, int(blocks.kind == "Q4_1"), self.n, self.k, self.packed.data_ptr())
        self.bias = bias
        self._wide_bias = None
        if bias is not None:
            self._wide_bias = torch.zeros(tiles * ROWS)
            self._wide_bias[: self.n] = bias
        self.c = CLinear(self.packed.data_ptr(), None if bias is None else self._wide_bias.data_ptr(), kind, self.n, self.k)

    def forward(self, x: Tensor) -> Tensor:
        """x (S, K) -> (S, N)."""
        if x.shape[0] > self.FEW:
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return nn.functional.linear(x, self.unpack().to(x.dtype), bias)
        wide = x.float().contiguous()
        y = torch.empty(x.shape[0], -(-self.n // ROWS) * ROWS)
        library().times(ctypes.addressof(self.c), wide.data_ptr(), x.shape[0], y.data_ptr(), torch.get_num_threads())
        return y[:, : self.n].to(x.dtype)

    def unpack(self) -> Tensor:
        """The weights, (N, K) float32, until the next call: all linears share the room, so its pages are there."""
        if NativeLinear._room.numel() < self.n * self.k:
            NativeLinear._room = torch.empty(self.n * self.k)
        out = NativeLinear._room[: self.n * self.k].view(self.n, self.k)
        library().unpack(ctypes.addressof(self.c), out.data_ptr(), torch.get_num_threads())
        return out


class NativeEmbedding(nn.Module):
    """Rows of a `NativeLinear`: an embedding tied to the head is held once."""

    def __init__(self, linear: NativeLinear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, ids: Tensor) -> Tensor:
        """ids (S,) -> (S, C)."""
        out = torch.empty(len(ids), self.linear.k)
        ids = ids.contiguous()
        library().embed(ctypes.addressof(self.linear.c), ids.data_ptr(), len(ids), out.data_ptr())
        return out


class Stepper:
    """One token at a time through a model whose every linear is a `NativeLinear`."""

    def __init__(self, model: nn.Module, half_cache: bool) -> None:
        self.model, shape = model, model.shape
        self._held = []  # what C points to
        layers = (CLayer * shape.layers)()
        for c, layer in zip(layers, model.layers, strict=True):
            c.attention_norm, c.hidden_norm = self._wide(layer.attention_norm), self._wide(layer.hidden_norm)
            c.qk_norm = self._wide(layer.qk_norm) if shape.qk_norm else None
            c.qkv, c.out, c.gate_up, c.down = layer.qkv.c, layer.out.c, layer.gate_up.c, layer.down.c
            c.rotated, c.window = layer.rotated, layer.window
        self._held.append(layers)
        self._c = CModel(
            ctypes.addressof(layers), self._wide(model.norm), model.head.c, shape.layers, shape.width, shape.hidden,
            shape.heads, shape.kv_heads, shape.head_dim, half_cache, shape.eps,
        )
        self._logits = torch.empty(-(-shape.vocabulary // ROWS) * ROWS)
        self._step, self._at = library().step, ctypes.addressof(self._c)

    def _wide(self, tensor: Tensor) -> int:
        self._held.append(tensor.float().contiguous())
        return self._held[-1].data_ptr()

    def __call__(self, token: int, kv: Tensor, position: int) -> Tensor:
        """Logits (V,) of what follows `token` at `position`; valid until the next call."""
        x = self.model.embed(torch.tensor([token]))
        rotation = self.model.rotary.upto(position, position + 1)
        self._step(
            self._at, x.data_ptr(), kv.data_ptr(), kv.shape[3], position, rotation.data_ptr(), self._logits.data_ptr(),
            torch.get_num_threads(),
        )
        return self._logits[: self.model.shape.vocabulary]
