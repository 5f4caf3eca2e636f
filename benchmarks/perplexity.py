"""Cost of quantisation: perplexity of the same weights in bfloat16, int8 and int4 on a fixed text.

python -m benchmarks.perplexity [TEXT]

The default model has 4-bit weights, which int4 keeps exactly. To show the cost of rounding, a second model has weights
between those steps: each is moved at random by up to half a step of its block. No training has compensated for that
noise, so it is harder on 4 bits than a model's own weights.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assistant.engine.formats import weights
from assistant.engine.hardware.placement import Placement
from assistant.engine.models import model_folder
from assistant.engine.networks import loading
from assistant.engine.networks.llama import model as llama
from assistant.engine.networks.llama.blocks import GROUP, Blocks
from benchmarks.engine_runs import headline, model_path

TEXT = Path(__file__).parent / "data" / "perplexity.txt"
PIECE_TOKENS = 1024


def moved(weight: Tensor) -> Tensor:
    groups = weight.view(weight.shape[0], -1, GROUP)
    step = (groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)) / 15
    return (groups + (torch.rand_like(groups) - 0.5) * step).flatten(1)


@torch.inference_mode()
def perplexity(config: Any, tensors: dict[str, Tensor | Blocks], precision: str, ids: list[int]) -> float:
    at = Placement(torch.device("cpu"), precision, 0)
    plain = {}
    for name, one in tensors.items():
        converted = loading._converted(name, one, at)
        plain[name] = converted.dequantise() if isinstance(converted, Blocks) else converted.float()
    model = llama.build(config, plain)
    total, count = 0.0, 0
    for start in range(0, len(ids) - 1, PIECE_TOKENS):
        piece = torch.tensor(ids[start : start + PIECE_TOKENS + 1])
        logits = model(piece[:-1], model.empty_kv(len(piece)), 0, last=len(piece) - 1)
        total += float(torch.nn.functional.cross_entropy(logits, piece[1:], reduction="sum"))
        count += len(piece) - 1
    return float(torch.tensor(total / count).exp())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=TEXT)
    folder = model_folder.ready(model_path(), lambda _: None)
    text = parser.parse_args().text.read_text(encoding="utf-8")
    tokenizer, config = model_folder.load_tokenizer(folder), weights.read_config(folder)
    headline()
    ids = tokenizer.encode(text)
    stored = weights.tensors(folder)
    torch.manual_seed(0)
    wide = {name: one.dequantise() if isinstance(one, Blocks) else one for name, one in stored.items()}
    between = {n: moved(one) if one.ndim == 2 and n not in loading.READ_BY_ROWS else one for n, one in wide.items()}
    models: dict[str, dict[str, Tensor | Blocks]] = {"as it comes": dict(stored), "weights moved": dict(between)}
    print(f"{len(ids):,} tokens{'':<12}{'bfloat16':>12}{'int8':>18}{'int4':>18}")
    for name, tensors in models.items():
        base, *others = (perplexity(config, tensors, one, ids) for one in ("bfloat16", "int8", "int4"))
        costs = "".join(f"{one:>9.3f} {one / base - 1:>+7.2%}" for one in others)
        print(f"  {name:<20}{base:>12.3f}{costs}")


if __name__ == "__main__":
    main()
