"""The part of the train split that a distillation sees, drawn once per seed, and examples that it does not see."""

import numpy as np
import numpy.typing as npt

from runs.errors import UserError


def draw_subset(examples: int, share: float, seed: int) -> npt.NDArray[np.int64]:
    """Ascending indices of `share` (0 to 1] of the examples, at least one of them."""
    if not 0 < share <= 1:
        raise UserError(f"the subset is {share!r}: it must be a share above 0 and at most 1.")
    count = max(1, round(examples * share))
    return np.sort(np.random.default_rng([seed, examples]).permutation(examples)[:count])


def left_out(examples: int, share: float, seed: int, most: int) -> npt.NDArray[np.int64]:
    """Ascending indices of up to `most` of the examples that `draw_subset` leaves out."""
    rest = np.setdiff1d(np.arange(examples), draw_subset(examples, share, seed))
    return np.sort(np.random.default_rng([seed, examples, 1]).permutation(rest)[: max(0, most)])
