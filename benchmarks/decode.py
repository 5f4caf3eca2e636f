"""Decoding speed of a model in tokens a second, compared with other programs in the same run.

python -m benchmarks.decode [--model FILE.gguf] [--rounds 3] [--tokens 48] [--contexts 128 4000]

llama.cpp is measured if llama-cpp-python is installed, here or in the environment of the interpreter
`LLAMACPP_PYTHON`. `one forward pass` is the engine without sampling and detokenising; `a reply` is what a client gets,
sampled as in a chat, so without drafts.
"""

import argparse
import itertools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from assistant.engine.engine import Engine
from assistant.engine.formats import weights
from assistant.engine.generate.reply import Reply
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.schedule import Schedule, Task
from assistant.engine.models import catalogue, model_folder
from assistant.engine.networks.llama.blocks import Blocks, quantise
from assistant.engine.networks.llama.network import LlamaNetwork
from assistant.engine.networks.llama.packed import Int4Linear
from assistant.engine.networks.network import Ask, Conversation
from assistant.engine.request import Chat
from assistant.events import Event, Token
from benchmarks.engine_runs import chat, headline, in_turn, llama_cpp, model_path, seconds, table, transformers_model
from prompts.message import Message

Steps = Callable[[], Sequence[float]]


def filled(network: LlamaNetwork, context: int) -> Conversation:
    conversation = Conversation(network.cache())
    network.logits([Ask(conversation, [100 + i * 7 % 20_000 for i in range(context)])])
    return conversation


def passes(network: LlamaNetwork, context: int, count: int) -> Steps:
    conversation = filled(network, context)

    def run() -> list[float]:
        del conversation.ids[context:]
        return [seconds(lambda: network.logits([Ask(conversation, [500])])) for _ in range(count)]

    return run


def replies(engine: Engine, context: int, count: int) -> Steps:
    text = "whale " * (context - 10)
    sampling = Sampling(max_tokens=count, seed=1)

    def run() -> list[float]:
        moments: list[float] = []
        steps = chat(engine, [Message("user", text)], sampling)
        for event in steps:
            took = seconds(lambda: next(steps, None)) if isinstance(event, Token) else 0.0
            moments += [took] if took else []
        return moments[:-2]

    return run


def products(network: LlamaNetwork, count: int) -> Steps:
    x = torch.randn(16_384)
    assert network._stepper is not None
    stepper = network._stepper
    return lambda: [seconds(lambda: stepper.products(x)) for _ in range(count)]


def torch_products(folder: Path, count: int) -> Steps:
    """The same products by torch's packed 4-bit kernel, its scales rounded to bfloat16; kinds other than Q4_0 and Q4_1
    are quantised to 4 bits for it.
    """
    tensors = weights.tensors(model_folder.ready(folder, lambda _: None))
    matrices = [one for one in tensors.values() if isinstance(one, Blocks)]
    linears = [Int4Linear(one if one.kind in ("Q4_0", "Q4_1") else quantise(one.dequantise(), 4)) for one in matrices]
    inputs = [torch.randn(1, one.shape[1], dtype=torch.bfloat16) for one in matrices]

    def token() -> None:
        for linear, x in zip(linears, inputs, strict=True):
            linear.product(x)

    return lambda: [seconds(token) for _ in range(count)]


def generate(model: Any, context: int, count: int) -> Steps:
    """Times between the tokens of `transformers.generate`."""

    class Watch:
        def __init__(self) -> None:
            self.moments: list[float] = []

        def put(self, _: Any) -> None:
            self.moments.append(__import__("time").perf_counter())

        def end(self) -> None:
            pass

    def run() -> list[float]:
        watch, ids = Watch(), torch.tensor([[100 + i * 7 % 20_000 for i in range(context)]])
        model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, streamer=watch, pad_token_id=0)
        moments = watch.moments[1:]  # the first is after the prompt
        return [after - before for before, after in itertools.pairwise(moments)][1:]

    return run


def together(engine: Engine, conversations: int, count: int) -> float:
    """Total tokens a second of `conversations` replies at once."""
    said = 0

    def note(event: Event) -> None:
        nonlocal said
        said += isinstance(event, Token)

    schedule = Schedule(engine.run)
    for number in range(conversations):
        messages = [Message("user", f"Tell me a long story about {number + 2} whales.")]
        never = tuple((one, -100.0) for one in engine._model.end_ids)
        sampling = Sampling(max_tokens=count, seed=number, logit_bias=never)
        schedule.add(Task(engine.steps(Chat(messages, sampling)), note, lambda _: None))
    while said < conversations:
        schedule.round()
    before = said
    took = seconds(lambda: [schedule.round() for _ in range(count - 4)])
    return (said - before) / took


def drafted(engine: Engine, drafts: bool) -> float:
    """Greedy tokens a second for a reply that repeats its prompt."""
    text = "Repeat this word for word: " + "the old oak tree by the river stands where the water is slow and deep, " * 3
    kept = Reply._drafts
    if not drafts:
        Reply._drafts = lambda _: None  # type: ignore[method-assign]
    try:
        events = list(chat(engine, [Message("user", text)], Sampling(temperature=0, max_tokens=96)))
    finally:
        Reply._drafts = kept  # type: ignore[method-assign]
    return float(events[-1].timing.tokens_per_s(events[-1].usage.completion_tokens))  # type: ignore[union-attr]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=catalogue.DEFAULT, help="a model folder or GGUF file, or a catalogue's name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--contexts", type=int, nargs="+", default=[128, 4000])
    arguments = parser.parse_args()
    folder = model_path(arguments.model)
    engine = Engine.load(folder)
    headline()
    network, count = engine._model.network, arguments.tokens
    assert isinstance(network, LlamaNetwork), "a model of the Llama family is wanted"
    dtypes = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    peers = {f"transformers {name}": transformers_model(folder, one) for name, one in dtypes.items()}
    for context in arguments.contexts:
        acts: dict[str, Steps] = {
            "a reply, sampled": replies(engine, context, count),
            "one forward pass": passes(network, context, count),
            "torch's packed int4 products alone": torch_products(folder, count),
        }
        if network._stepper is not None:
            acts["the products of the C library alone"] = products(network, count)
        if llama_cpp(folder, 8, 1):
            acts["llama.cpp"] = lambda context=context: (llama_cpp(folder, context, count) or {})["step_s"][2:]  # type: ignore[misc]
        acts |= {name: generate(model, context, max(8, count // 4)) for name, model in peers.items()}
        base = "llama.cpp" if "llama.cpp" in acts else "transformers bfloat16"
        took = in_turn(acts, arguments.rounds)
        table(f"decode at {context:,} tokens of context", took, 1, "tokens/s", base)
        reference = statistics.median(took["transformers bfloat16"])
        for name in ("a reply, sampled", "one forward pass"):
            mine = statistics.median(took[name])
            share = statistics.median(took["torch's packed int4 products alone"]) / mine
            print(f"  {name}: {reference / mine:.1f}x transformers bfloat16, {share:.0%} of torch's products alone")
        print()
    print("replies at once                      tokens/s of all")
    for number in (1, 2, 4, 8):
        print(f"  {number:<34}{statistics.median(together(engine, number, count) for _ in range(3)):>16.1f}")
    print("\ngreedy, the reply repeats its prompt        tokens/s")
    for name, on in (("without drafts", False), ("with drafts", True)):
        engine._model.conversations.clear()
        print(f"  {name:<34}{statistics.median(drafted(engine, on) for _ in range(5)):>16.1f}")


if __name__ == "__main__":
    main()
