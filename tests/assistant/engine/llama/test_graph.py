"""The decode step for a GPU gives what the plain forward pass gives: its kernels run in Triton's interpreter here."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from assistant.adapters.folder import AdapterFolder
from assistant.engine.networks.llama import graph, kernels
from assistant.engine.networks.llama.blocks import quantise
from assistant.engine.networks.llama.graph import GraphEmbedding, GraphLinear, GraphStepper
from assistant.engine.networks.llama.low_rank import LowRank
from assistant.engine.networks.llama.model import Model, build
from assistant.engine.networks.llama.network import LlamaNetwork
from assistant.engine.networks.network import Ask, Conversation
from tests.assistant.engine.llama.test_model import reference
from tests.matrix import matrix

TOKENS = 20
COMPILED = Path(__file__).with_name("compile_kernels.py")


def model_of(name: str, bits: int = 16) -> Model:
    theirs = reference(name, torch.bfloat16)
    weights = theirs.state_dict()
    if bits < 16:
        weights = {
            path: quantise(one, bits) if one.ndim == 2 and one.shape[1] % 32 == 0 else one
            for path, one in weights.items()
        }
    return build(theirs.config, weights, GraphLinear)


def compare(model: Model, count: int = 1) -> None:
    """The next tokens' logits, and the keys and values they leave."""
    ids = torch.randint(0, 199, (TOKENS + count,))
    step = GraphStepper(model)
    with torch.inference_mode():
        kv = model.empty_kv(48, torch.bfloat16).zero_()
        model(ids[:TOKENS], kv, 0)
        theirs = kv.clone()
        for position in range(TOKENS, TOKENS + count):
            wanted = model(ids[position : position + 1], kv, position).float()
            found = step(int(ids[position]), theirs, position)
            torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02 * float(wanted.abs().max()))
    torch.testing.assert_close(theirs, kv, rtol=0.02, atol=0.04)


@pytest.mark.parametrize("name", matrix(["mistral-window", "qwen3", "llama3", "llama-bias", "qwen2", "smollm3"], 2))
def test_every_architecture(name: str) -> None:
    compare(model_of(name))


@pytest.mark.parametrize("bits", matrix([8, 4]))
def test_weights_in_blocks(bits: int) -> None:
    compare(model_of("smollm2", bits))


def test_an_adapter_with_a_part_of_the_rows_and_gains() -> None:
    model = model_of("smollm2")
    before = GraphStepper(model)
    generator = torch.Generator().manual_seed(3)

    def part(first: int, rows: int, columns: int, gain: bool) -> LowRank:
        a, b = (torch.randn(*shape, generator=generator) * 0.1 for shape in ((3, columns), (rows, 3)))
        return LowRank(first, a, b, torch.rand(rows, generator=generator) + 0.5 if gain else None)

    layer = model.layers[1]
    layer.qkv.adapt([part(0, 64, 64, True), part(96, 32, 64, False)])
    layer.gate_up.adapt([part(96, 96, 64, True)])
    layer.down.adapt([part(0, 64, 96, False)])
    compare(model)
    for one in (layer.qkv, layer.gate_up, layer.down):
        one.adapt(())
    assert before.agrees()


def test_gains_alone_which_the_bias_takes_part_in() -> None:
    model = model_of("llama-bias")
    generator = torch.Generator().manual_seed(3)
    layer, kv = model.layers[1], model.empty_kv(4, torch.bfloat16)
    ids = torch.arange(4)
    with torch.inference_mode():
        before = model(ids, kv, 0)
        layer.qkv.adapt([LowRank.of_gains(64, torch.rand(32, generator=generator) + 0.5, 64)])
        layer.gate_up.adapt([LowRank.of_gains(96, torch.rand(96, generator=generator) + 0.5, 64)])
        assert not torch.equal(model(ids, kv, 0), before)
    compare(model)


def test_long_conversations_are_shared_out() -> None:
    """More positions than one program takes, and a window that begins inside one's share."""
    for name in ("smollm2", "mistral-window"):
        model = model_of(name)
        position = graph.KEYS * 3 + 5
        ids = torch.randint(0, 199, (position + 1,))
        with torch.inference_mode():
            kv = model.empty_kv(256, torch.bfloat16)
            model(ids[:position], kv, 0)
            found = GraphStepper(model)(int(ids[-1]), kv.clone(), position)
            wanted = model(ids[-1:], kv, position).float()
        torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02 * float(wanted.abs().max()))


@pytest.mark.parametrize("kind", ["bfloat16", "Q8_0", "Q4_1"])
def test_products_and_rows_are_those_of_the_weights(kind: str) -> None:
    weight = torch.randn(48, 96).bfloat16()
    blocks = weight if kind == "bfloat16" else quantise(weight, 8 if kind == "Q8_0" else 4)
    exact = weight.float() if isinstance(blocks, torch.Tensor) else blocks.dequantise()
    linear, x = GraphLinear(blocks), torch.randn(5, 96).bfloat16()
    for rows in (x, x[:1]):
        wanted = (rows.float() @ exact.T).bfloat16()
        torch.testing.assert_close(linear(rows), wanted, rtol=0.02, atol=0.2)
    ids = torch.tensor([3, 47, 3])
    torch.testing.assert_close(GraphEmbedding(linear)(ids), exact[ids].bfloat16())
    if linear.scales is not None:
        torch.testing.assert_close(linear.unpacked(3, 48).float(), exact[3:], rtol=2**-7, atol=0)


def test_models_the_kernels_cannot_compute() -> None:
    assert "heads 24 wide" in graph.unsupported(model_of("llama-head-dim"))
    theirs = reference("smollm2")
    assert "float32" in graph.unsupported(build(theirs.config, theirs.state_dict(), GraphLinear))
    assert (
        graph.unsupported(build(theirs.to(torch.bfloat16).config, theirs.state_dict())) == "weights that aren't planar"
    )
    assert graph.unsupported(model_of("smollm2")) == ""


def test_a_network_uses_it_for_single_tokens_of_any_conversation() -> None:
    model = model_of("smollm2")

    def none(_: AdapterFolder) -> Any:
        raise AssertionError

    network = LlamaNetwork(model, torch.device("cpu"), torch.bfloat16, none, none, GraphStepper(model))
    plain = LlamaNetwork(model, torch.device("cpu"), torch.bfloat16, none, none)
    talks = [(Conversation(network.cache()), Conversation(plain.cache())) for _ in range(2)]
    for ids in ([5, 6, 7], [8]):
        for mine, theirs in talks:
            (found,), (wanted,) = network.logits([Ask(mine, ids)]), plain.logits([Ask(theirs, ids)])
            torch.testing.assert_close(
                found.float(), wanted.float(), rtol=0.02, atol=0.02 * float(wanted.float().abs().max())
            )


def test_kernels_compile_for_a_gpu() -> None:
    """The interpreter takes what the compiler refuses; the compiler needs no GPU."""
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    ended = subprocess.run(
        [sys.executable, str(COMPILED)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.split("\n")[-2] == "compiled"
    assert kernels.DOT.value is not None
