"""The error budget of a profile: how much is noise, how much the model, how much the step to fresh students."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from devices.undisturbed import Undisturbed

DEVIATION_OF_DELAYS = 2 / math.e
"""Mean absolute deviation of an exponential number from its mean, in means: delays are such, by and large."""


@dataclass(frozen=True)
class ErrorBudget:
    """Mean absolute errors in per cent of the latency.

    `noise` is how far the fastest of the processes lies from what it is on average; `held_out` the error on whole
    students that a fold left out, `fresh` that on the fresh students of the check. What noise does not explain of the
    one is the `model`'s, what the folds do not explain of the other the `transfer`'s: squares add up, as those of
    independent errors do. None where there were too few students for folds.
    """

    noise_percent: float
    model_percent: float | None
    transfer_percent: float | None
    held_out_percent: float | None
    fresh_percent: float

    @property
    def words(self) -> str:
        """One sentence."""
        noise = f"noise of the measurements {self.noise_percent:.1f} %"
        if self.model_percent is None or self.transfer_percent is None:
            return f"Error on fresh students {self.fresh_percent:.1f} %, of which {noise}."
        return (
            f"Error on fresh students {self.fresh_percent:.1f} %: {noise}, model {self.model_percent:.1f} %, transfer "
            f"to fresh students {self.transfer_percent:.1f} % (squares add up)."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and the sentence."""
        return {**asdict(self), "words": self.words}


def noise_percent(measurements: Iterable[Undisturbed]) -> float:
    """Mean absolute error in per cent of a fastest process, from how far the second fastest lies behind."""
    unsure = [one.unsure_percent * (1 - 1 / len(one.process_ms)) for one in measurements]
    # A mean would follow a few models that had no quiet moment; an exponential's is this far above its median.
    usual = float(np.median(unsure)) / math.log(2) if unsure else 0.0
    return DEVIATION_OF_DELAYS * usual


def beyond(whole: float, part: float) -> float:
    """What is left of an error when another, independent one is taken out of it; 0 where that was the larger."""
    return math.sqrt(max(whole**2 - part**2, 0.0))


def error_budget(noise: float, held_out: float | None, fresh: float) -> ErrorBudget:
    """Divide the error on fresh students, all in per cent."""
    if held_out is None:
        return ErrorBudget(noise, None, None, None, fresh)
    return ErrorBudget(noise, beyond(held_out, noise), beyond(fresh, held_out), held_out, fresh)
