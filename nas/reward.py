"""What a candidate is worth to a controller: a distillation loss, and where wanted its latency, in one number."""

from dataclasses import dataclass
from math import exp, isfinite

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr


@dataclass(frozen=True)
class Reward:
    """`(1 - L) * (latency / (beta * teacher latency)) ** alpha`, known from a re-implementation of KD-NAS.

    docs/methods.md, second-hand there, names alpha = -0.06 and beta = 0.6. Inside a budget that term pays for
    speed nobody asked for, so the default alpha is 0 and the budget's window alone speaks for latency.
    """

    alpha: float = 0.0
    beta: float = 0.6

    def __call__(self, loss: float, latency_ms: float, teacher_ms: float) -> float:
        """Reward of a normalised loss in [0, 1] and a latency in ms; the worst, 0, for a loss that is no number."""
        if not isfinite(loss):
            return 0.0
        return float((1.0 - loss) * (latency_ms / (self.beta * teacher_ms)) ** self.alpha)


def normalise(loss: float) -> float:
    """A loss in [0, infinity) as L in [0, 1): 1 - exp(-loss), which keeps the order. The paper's own is not known."""
    return 1.0 - exp(-max(loss, 0.0)) if isfinite(loss) else 1.0


def rank_correlation(predicted: npt.NDArray[np.float64], observed: npt.NDArray[np.float64]) -> float | None:
    """Spearman's rho; None where either side has fewer than two different values."""
    if len(observed) < 2 or np.ptp(predicted) == 0 or np.ptp(observed) == 0:
        return None
    return float(spearmanr(predicted, observed).statistic)
