"""Compiles the GPU's kernels, as they are launched for models of 1 and 8 billion parameters: run by test_graph.py."""

from collections.abc import Mapping
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from assistant.engine.networks.llama import graph, kernels

FLOATS, NARROW, HALVES = "*fp32", "*bf16", "*fp16"


def compiled(kernel: Any, types: Mapping[str, str], constants: Mapping[str, Any], capability: int) -> None:
    names = kernel.arg_names
    signature = {name: types.get(name, "constexpr") for name in names}
    fixed = {(names.index(name),): value for name, value in constants.items()}
    aligned = {(names.index(name),): [["tt.divisibility", 16]] for name, kind in types.items() if kind[0] == "*"}
    source = ASTSource(kernel, signature, fixed, aligned)
    triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})


def main() -> None:
    for capability in (80, 90):
        for kind, weights in ((kernels.B16, NARROW), (kernels.Q8, "*i8"), (kernels.Q4, "*u8")):
            for gated in (False, True):
                types = {"x": FLOATS, "norm": NARROW, "weights": weights, "y": FLOATS, "residual": FLOATS}
                types |= {"scales": HALVES} if kind != kernels.B16 else {}
                types |= {"minima": HALVES} if kind == kernels.Q4 else {}
                types |= dict.fromkeys(("inner", "b", "gain"), FLOATS) if gated else {}
                fixed = {"n": 4096, "k": 4096, "kind": kind, "eps": 1e-5, "gated": gated, "rank": 16 if gated else 0}
                fixed |= {"rows": 8, "columns": 1024, "room": 4096}
                fixed |= dict.fromkeys(set(kernels.product.arg_names) - types.keys() - fixed.keys())
                compiled(kernels.product, types, fixed, capability)
        for dim, window in ((64, 0), (128, 4096)):
            types = {"qkv": FLOATS, "cursor": "*i64", "parts": FLOATS, "arrived": "*i32", "out": FLOATS, "layer": "i32"}
            types |= {"norm": NARROW} if window else {}
            fixed = {"heads": 32, "kv_heads": 8, "dim": dim, "window": window, "rotated": True, "eps": 1e-5}
            fixed |= {"group": graph.LEAST_DOT, "keys": graph.KEYS, "splits": graph.SPLITS}
            fixed |= {} if window else {"norm": None}
            compiled(kernels.attention, types, fixed, capability)
        types = {"weights": "*u8", "scales": HALVES, "minima": HALVES, "out": NARROW, "count": "i32"}
        compiled(kernels.unpack, types, {"kind": kernels.Q4, "block": 1024}, capability)
    print("compiled")  # noqa: T201


if __name__ == "__main__":
    main()
