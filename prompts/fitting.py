"""A calibration fitted on labelled scores. Imported only when needed.

Temperature and a bias for each class (bias-corrected temperature scaling, Alexandari et al. 2020, arXiv:1901.06852),
drawn towards `labels.batch` as if by `PRIOR`: of few labels it is that, of many its own.
"""

from collections.abc import Sequence
from typing import Any

from prompts import labels
from prompts.labels import Calibration

FOLDS = 5
PRIOR = 1.0
"""How much a bias of 1, or a slope of e, costs: as much as half a nat of likelihood."""


def fit(scores: Sequence[Sequence[float]], truth: Sequence[int]) -> Calibration:
    """The calibration under which the right classes are likeliest. `scores` is [N, C], `truth` N numbers of classes."""
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
    """Which of `FOLDS` parts each item is in, every class as evenly in each as can be."""
    seen: dict[object, int] = {}
    order = {name: number for number, name in enumerate(dict.fromkeys(truth))}
    part = []
    for name in truth:
        part.append((seen.get(name, 0) + order[name]) % FOLDS)
        seen[name] = seen.get(name, 0) + 1
    return part
