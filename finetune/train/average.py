"""Interpolate an adapter's weights between before and after a training, if the training loses too much.

Weights in between lose less of the old skills than they give up of the new ones (Wortsman et al. 2022,
arXiv:2109.01903). The share is chosen on the validation parts of the datasets behind the adapter.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from sqlite_utils import Database

from assistant.adapters.folder import WEIGHTS
from finetune.data.tokens import Row, Tokenizer
from finetune.lineage.lineage import Start
from finetune.network import trainable
from finetune.network.both import sums_of
from finetune.network.trainee import Trainee
from finetune.prove import earlier

SHARES = (1.0, 0.7, 0.5, 0.35, 0.2)
"""Shares of the trained weights, in the order they are tried."""
MOST_LOST = 0.004
"""Largest loss on any earlier dataset, in nats a token: less than half of what `finetune promote` refuses
(`FORGETTING_LIMIT`). With 0.0075 a corpus that had gained 0.154 nats kept 93 % of that after the next training."""
MOST_TOKENS = 4_000
"""Tokens of all validation parts behind the adapter, and of the new one."""


def validation_parts(db: Database, start: Start, tokenizer: Tokenizer, seed: int) -> list[Sequence[Sequence[Row]]]:
    """Samples of the validation parts behind an adapter; only of kind supervised, as likelihoods are compared."""
    behind = [one for one in start.behind(db)[0] if one.kind == "supervised"]
    most = MOST_TOKENS // max(1, len(behind))
    parts = (earlier.part(db, one, tokenizer, most, seed, "validation").test.items for one in behind)
    return [items for items in parts if any(items)]


def interpolate(
    model: Any,
    before: Path,
    after: Path,
    new: Sequence[Sequence[Row]],
    earlier_parts: Sequence[Sequence[Sequence[Row]]],
    device: torch.device,
) -> float:
    """The share of the trained weights with the lowest loss on `new`, among those that lose at most `MOST_LOST` on each
    earlier part; the interpolated adapter is written to `after`. `new` and the earlier parts are validation parts.

    `model`: PEFT's, with the same ranks and targets; its weights are overwritten.
    """
    old, trained = (load_file(folder / WEIGHTS) for folder in (before, after))
    trainee = Trainee(model).eval()

    def put(share: float) -> None:
        set_peft_model_state_dict(
            model, {name: torch.lerp(old[name].float(), one.float(), share) for name, one in trained.items()}
        )

    def asked(share: float, parts: Sequence[Sequence[Sequence[Row]]]) -> list[float]:
        put(share)
        return [_nats(trainee, items, device) for items in parts]

    was, best, least = asked(0.0, earlier_parts), SHARES[-1], math.inf
    for share in SHARES:
        now = asked(share, earlier_parts)
        if any(one - other > MOST_LOST for one, other in zip(now, was, strict=True)):
            continue
        (nats,) = asked(share, [new])
        if nats >= least:
            break
        best, least = share, nats
    if best < 1:
        put(best)
        trainable.save(model, after)
    return best


def _nats(trainee: Trainee, items: Sequence[Sequence[Row]], device: torch.device) -> float:
    """Loss in nats for each supervised token; 0 without tokens."""
    tokens = sum(row.supervised for rows in items for row in rows) or 1
    return -sum(map(sum, sums_of(trainee, items, device))) / tokens
