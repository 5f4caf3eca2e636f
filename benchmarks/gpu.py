"""The engine on a GPU, with random weights of real configurations: decoding compared with the memory bandwidth, prefill
with the peak, and both with `transformers.generate` on the same weights in the same run.

python -m benchmarks.gpu [--models 1b 8b] [--rounds 3] [--tokens 64]

The bandwidth is that of a large copy, reading and writing; the peak that of a bfloat16 product, 8192 cubed; both are
measured first. Needs an NVIDIA GPU with Triton; 8b takes about 50 GB with transformers, `--no-peer` 20.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers as tf

from assistant.engine.networks.llama.blocks import quantise
from assistant.engine.networks.llama.graph import GraphLinear, GraphStepper
from assistant.engine.networks.llama.model import Model, build
from assistant.engine.networks.llama.network import LlamaNetwork
from assistant.engine.networks.network import Ask, Conversation
from benchmarks.engine_runs import in_turn

GPU = torch.device("cuda")
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LLAMA = {"vocab_size": 128_256, "max_position_embeddings": 131_072, "rope_parameters": LLAMA3, "rms_norm_eps": 1e-5}
HEADS = {"num_attention_heads": 32, "num_key_value_heads": 8}
CONFIGS = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "tie_word_embeddings": True},
    "8b": {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "tie_word_embeddings": False},
}
"""Llama 3.2 1B and Llama 3.1 8B."""


def took(act: Callable[[], Any]) -> float:
    """Seconds on the GPU, including the launch."""
    torch.cuda.synchronize()
    began_s = time.perf_counter()
    act()
    torch.cuda.synchronize()
    return time.perf_counter() - began_s


def limits() -> tuple[float, float]:
    """(bytes a second, floating-point operations a second) of this GPU."""
    large, other = (torch.empty(1 << 30, dtype=torch.uint8, device=GPU) for _ in range(2))
    copy = statistics.median(took(lambda: other.copy_(large)) for _ in range(20))
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device=GPU) for _ in range(2))
    product = statistics.median(took(lambda: a @ b) for _ in range(20))
    return 2 * large.nbytes / copy, 2 * 8192**3 / product


def peer(config: tf.LlamaConfig) -> Any:
    """A transformers model with random weights."""
    torch.set_default_dtype(torch.bfloat16)
    with GPU:
        model = tf.LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model.eval().requires_grad_(False)


def network(config: tf.LlamaConfig, weights: dict[str, torch.Tensor], bits: int) -> tuple[LlamaNetwork, int]:
    """(our network with the same weights in `bits` bits, bytes read for each token)."""

    def linear(weight: Any, bias: Any) -> GraphLinear:
        return GraphLinear(weight if bits == 16 else quantise(weight, bits), bias)

    model = build(config, weights, linear)
    linears = [one for one in model.modules() if isinstance(one, GraphLinear)]
    read = [tensor for one in linears for tensor in (one.weight, one.scales, one.minima) if tensor is not None]
    with torch.inference_mode():
        stepper = GraphStepper(model)
        print(f"  {bits:>2} bits: the graph agrees with the plain forward pass: {stepper.agrees()}")

    def no_adapter(_: Any) -> Any:
        raise AssertionError

    ours = LlamaNetwork(model, GPU, torch.bfloat16, no_adapter, no_adapter, stepper)
    return ours, sum(tensor.nbytes for tensor in read)


def steps(ours: LlamaNetwork, context: int, count: int) -> Callable[[], Sequence[float]]:
    """Seconds of each token after a context of `context` tokens."""
    conversation = Conversation(ours.cache())
    ours.logits([Ask(conversation, [100 + i * 7 % 20_000 for i in range(context)])])

    def run() -> list[float]:
        del conversation.ids[context:]
        return [took(lambda: ours.logits([Ask(conversation, [500])])) for _ in range(count)]

    run()
    return run


def eager(model: Model, context: int, count: int) -> Callable[[], Sequence[float]]:
    """The plain forward pass, without a graph."""
    kv = model.empty_kv(context + 1, torch.bfloat16)
    ids = torch.tensor([500], device=GPU)

    @torch.inference_mode()
    def run() -> list[float]:
        return [took(lambda: model(ids, kv, context)) for _ in range(count)]

    run()
    return run


def generate(model: Any, context: int, count: int) -> Callable[[], Sequence[float]]:
    ids = torch.randint(0, 20_000, (1, context), device=GPU)
    options = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None}

    @torch.inference_mode()
    def run() -> list[float]:
        one = took(lambda: model.generate(ids, max_new_tokens=1, **options))
        all_ = took(lambda: model.generate(ids, max_new_tokens=count + 1, **options))
        return [(all_ - one) / count]

    run()
    return run


def prefill(ours: LlamaNetwork, count: int) -> Callable[[], Sequence[float]]:
    ids = [100 + i * 7 % 20_000 for i in range(count)]

    def run() -> list[float]:
        conversation = Conversation(ours.cache())
        return [took(lambda: ours.logits([Ask(conversation, ids)]))]

    run()
    return run


def measure(name: str, rounds: int, tokens: int, with_peer: bool) -> None:
    config = tf.LlamaConfig(**LLAMA, **HEADS, **CONFIGS[name])
    theirs = peer(config)
    weights = {path: value.data for path, value in theirs.state_dict().items()}
    if config.tie_word_embeddings:
        del weights["lm_head.weight"]
    if not with_peer:
        theirs = None
    bandwidth, peak = limits()
    print(f"{name}: copy {bandwidth / 1e12:.2f} TB/s, product {peak / 1e12:.0f} TFLOP/s")
    for context in (128, 4000):
        acts: dict[str, Callable[[], Sequence[float]]] = {}
        sizes: dict[str, int] = {}
        for bits in (16, 8, 4):
            ours, sizes[f"{bits} bits"] = network(config, weights, bits)
            acts[f"{bits} bits"] = steps(ours, context, tokens)
            if bits == 16:
                acts["16 bits, no graph"] = eager(ours.model, context, tokens)
        if theirs is not None:
            acts["transformers.generate"] = generate(theirs, context, tokens)
        medians = {act: statistics.median(times) for act, times in in_turn(acts, rounds).items()}
        base = medians.get("transformers.generate")
        print(f"  after {context:,} tokens              tokens/s   of bandwidth   x transformers")
        for act, median in medians.items():
            share = f"{sizes[act] / median / bandwidth:.0%}" if act in sizes else "-"
            ratio = f"{base / median:.1f}" if base else "-"
            print(f"    {act:<28}{1 / median:>10.1f}{share:>15}{ratio:>17}", flush=True)
        del acts, ours
        torch.cuda.empty_cache()
    ours, _ = network(config, weights, 16)
    parameters = sum(value.numel() for path, value in weights.items() if "embed_tokens" not in path)
    for count in (512, 4096):
        median = statistics.median(prefill(ours, count)()[0] for _ in range(max(3, rounds)))
        share = 2 * parameters * count / median / peak
        print(
            f"  first token of {count:,} tokens: {median * 1000:.1f} ms, products alone {share:.0%} of the peak",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--no-peer", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("This benchmark needs an NVIDIA GPU, and torch found none.")
    print(f"{time.strftime('%Y-%m-%d')}  {torch.cuda.get_device_name()}, torch {torch.__version__}")
    for name in arguments.models:
        measure(name, arguments.rounds, arguments.tokens, not arguments.no_peer)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
