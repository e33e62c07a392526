"""The error budget of a profile: how much is noise, how much the model, how much the step to fresh students."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from devices.measurement import Measurement

MEDIAN_OF_THREE = math.sqrt(1 - math.sqrt(3) / math.pi)
"""Standard deviation of the median of three normal numbers beside their own."""

USUAL_OF_THREE = math.sqrt(math.log(2))
"""Median of the sample standard deviations of threes of normal numbers beside the true one."""

MEAN_ABSOLUTE = math.sqrt(2 / math.pi)
"""Mean absolute value of a normal number beside its standard deviation."""


@dataclass(frozen=True)
class ErrorBudget:
    """Mean absolute errors in per cent of the latency.

    `noise` is how far the median of three processes lies from what very many would say; `held_out` the error on whole
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


def noise_percent(measurements: Iterable[Measurement]) -> float:
    """Mean absolute error in per cent of a median of three processes, from how far they disagree on each model."""
    floors = [one.noise_floor_percent for one in measurements]
    # The mean of small samples' deviations would follow a single disturbed process.
    usual = float(np.median(floors)) / USUAL_OF_THREE if floors else 0.0
    return MEAN_ABSOLUTE * MEDIAN_OF_THREE * usual


def beyond(whole: float, part: float) -> float:
    """What is left of an error when another, independent one is taken out of it; 0 where that was the larger."""
    return math.sqrt(max(whole**2 - part**2, 0.0))


def error_budget(noise: float, held_out: float | None, fresh: float) -> ErrorBudget:
    """Divide the error on fresh students, all in per cent."""
    if held_out is None:
        return ErrorBudget(noise, None, None, None, fresh)
    return ErrorBudget(noise, beyond(held_out, noise), beyond(fresh, held_out), held_out, fresh)
