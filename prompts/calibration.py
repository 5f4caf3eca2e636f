"""Fit a calibration on labelled scores.

Temperature and a bias for each class (bias-corrected temperature scaling, Alexandari et al. 2020, arXiv:1901.06852),
regularised towards `labels.batch` with weight `PRIOR`: few labels give nearly that, many their own values.
"""

from collections.abc import Sequence
from typing import Any

from prompts import labels
from prompts.labels import Calibration

FOLDS = 5
PRIOR = 1.0
"""Cost of a bias of 1, or of a slope of e, in half nats of likelihood."""


def fit(scores: Sequence[Sequence[float]], truth: Sequence[int]) -> Calibration:
    """The regularised maximum-likelihood calibration. `scores`: [N, C]; `truth`: N class indices."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    prior = np.asarray(labels.batch(scores).log_prior)
    centred = np.asarray(scores, dtype=float) - prior  # [N, C]
    right = np.arange(len(truth)), np.asarray(truth)

    def cost(parameters: Any) -> float:
        log_slope, bias = parameters[0], parameters[1:]
        likelihood = log_softmax(np.exp(log_slope) * centred + bias, axis=1)[right].sum()
        return float(PRIOR * (parameters @ parameters) / 2 - likelihood)

    found = minimize(cost, np.zeros(1 + len(prior)), method="L-BFGS-B", bounds=[(-5, 5), *[(None, None)] * len(prior)])
    slope, bias = float(np.exp(found.x[0])), found.x[1:]
    return Calibration("fitted", tuple((slope * prior - bias).tolist()), slope)


def folds(truth: Sequence[object]) -> list[int]:
    """Cross-validation fold, below `FOLDS`, of each item, stratified by class."""
    seen: dict[object, int] = {}
    order = {name: number for number, name in enumerate(dict.fromkeys(truth))}
    part = []
    for name in truth:
        part.append((seen.get(name, 0) + order[name]) % FOLDS)
        seen[name] = seen.get(name, 0) + 1
    return part
