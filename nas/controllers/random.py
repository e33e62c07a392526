"""Random search: any candidate that fits the budget. What every learned controller has to beat."""

import numpy as np
import numpy.typing as npt

from nas.controllers.contract import CONTROLLERS, Controller
from nas.controllers.pool import Pool


@CONTROLLERS.register("random")
class RandomController(Controller):
    """Draws uniformly from the pool's members inside the budget's window."""

    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        return self._generator.choice(len(pool.codes), size=n, replace=False)
