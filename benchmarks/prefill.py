"""Prefill speed of a model in tokens a second, compared with other programs in the same run.

python -m benchmarks.prefill [--model FILE.gguf] [--rounds 3] [--tokens 128 1024]
"""

import argparse
from collections.abc import Callable, Sequence

import torch

from assistant.engine.engine import Engine
from assistant.engine.generate.reply import PREFILL_TOKENS
from assistant.engine.models import catalogue
from assistant.engine.networks.network import Ask, Conversation
from benchmarks.engine_runs import headline, in_turn, llama_cpp, model_path, seconds, table, transformers_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=catalogue.DEFAULT, help="a model folder or GGUF file, or a catalogue's name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 128, 1024])
    arguments = parser.parse_args()
    folder = model_path(arguments.model)
    engine = Engine.load(folder)
    headline()
    peers = {name: transformers_model(folder, getattr(torch, name)) for name in ("bfloat16", "float32")}
    for count in arguments.tokens:
        ids = [100 + i * 7 % 20_000 for i in range(count)]

        def ours(ids: Sequence[int] = ids) -> list[float]:
            conversation = Conversation(engine._model.network.cache())
            pieces = [ids[at : at + PREFILL_TOKENS] for at in range(0, len(ids), PREFILL_TOKENS)]
            return [seconds(lambda: [engine.run([Ask(conversation, piece)]) for piece in pieces])]

        acts: dict[str, Callable[[], Sequence[float]]] = {"ours": ours}
        for name, model in peers.items():

            @torch.inference_mode()
            def theirs(model: object = model, ids: Sequence[int] = ids) -> list[float]:
                call: Callable[..., object] = model  # type: ignore[assignment]
                return [seconds(lambda: call(torch.tensor([ids]), use_cache=True, logits_to_keep=1))]

            acts[f"transformers {name}, plain forward"] = theirs
        if llama_cpp(folder, 8, 1):
            acts["llama.cpp"] = lambda count=count: [(llama_cpp(folder, count, 1) or {})["prefill_s"]]  # type: ignore[misc]
        for act in acts.values():
            act()  # warm-up for the shape
        took = in_turn(acts, arguments.rounds)
        table(f"prompt of {count:,} tokens", took, count, "tokens/s", "transformers float32, plain forward")


if __name__ == "__main__":
    main()
