"""Knowledge distillation: a model's own distributions as soft targets.

An adapter that learns new data drifts from its earlier replies. Rows whose targets are the earlier model's
distributions prevent that better than the tokens themselves (Hinton et al. 2015, arXiv:1503.02531; self-distillation:
Li and Hoiem 2016, arXiv:1606.09282). A few of the likeliest tokens have nearly all the mass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from finetune.data.pack import Block, grouped
from finetune.data.tokens import Row, SoftTargets
from finetune.network.batch import batch
from finetune.network.trainee import Trainee

LIKELIEST = 16
"""Tokens kept of a distribution, with their probabilities normalised."""
OF_WHOLE = 512
"""Tokens kept of a distribution if a token sampled from the others gets the remaining mass. With 16 the sampled tokens
were memorised: perplexity of general text rose by 2 to 5 % within 32 steps."""


@torch.no_grad()
def softened(
    trainee: Trainee,
    items: Sequence[Sequence[Row]],
    blocks: Iterable[Block],
    tokens_at_once: int,
    device: torch.device,
    share: float = 1.0,
    whole: bool = False,
) -> list[list[Row]]:
    """The items with soft targets: `share` of each target is the model's distribution, the rest the token itself.

    `whole`: one token sampled from the others gets the mass that the kept tokens leave. Without it the model learns to
    say only the likeliest tokens: perplexity of general text rose by 12 % within 16 steps.
    """
    found = [list(rows) for rows in items]
    was_training = trainee.training
    trainee.eval()
    for some in grouped(blocks, tokens_at_once):
        one = batch(some).to(device)
        distribution = trainee.spread(one, OF_WHOLE) if whole else trainee.likeliest(one, LIKELIEST)
        ids, weights = (part.cpu().numpy() for part in distribution)
        owners = one.owners.cpu().numpy()
        for number, (item, place) in enumerate(one.rows):
            mine = owners == number
            found[item][place] = _softened(found[item][place], ids[mine], weights[mine], share)
    trainee.train(was_training)
    return found


def _softened(row: Row, ids: np.ndarray, weights: np.ndarray, share: float) -> Row:
    said = row.ids[row.learned][:, None]
    both = np.concatenate([said, ids], 1).astype(np.int32)
    mixed = np.concatenate([np.full(said.shape, 1 - share), share * weights], 1).astype(np.float32)
    return replace(row, soft=SoftTargets(both, mixed))
