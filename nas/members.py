"""A space's members as students of one teacher: their blocks, specs, weights and bytes, in bulk."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.workload import Workload
from export.memory import working_bytes
from export.sizes import FILE_BYTES, block_bytes
from nas.controllers.pool import Codes
from predictor.compiled import in_chunks
from students.space import SearchSpace
from students.spec import Block, Head, StudentSpec
from students.table import BlockTable

Figures = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Members:
    """A space's members as students of one teacher: its vocabulary, positions and labels."""

    space: SearchSpace
    vocabulary_size: int
    maximum_positions: int
    token_types: int
    head: Head

    @property
    def _inputs(self) -> Mapping[str, Any]:
        return {
            "vocabulary_size": self.vocabulary_size,
            "maximum_positions": self.maximum_positions,
            "token_types": self.token_types,
            "head": self.head,
        }

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Every block that a member can be made of, as in any `table`."""
        return self.table(np.zeros((0, len(self.space.genes)), dtype=np.int64)).blocks

    def table(self, codes: Codes, once: bool = False) -> BlockTable:
        """Codes [n, genes] → n students as rows of blocks; with `once`, of shared layers the first alone."""
        return self.space.table(codes, **self._inputs, once=once)

    @cached_property
    def _block_parameters(self) -> Figures:
        return np.array([float(block.parameters()) for block in self.blocks])

    @cached_property
    def _block_bytes(self) -> dict[str, Figures]:
        return {}

    def parameters(self, codes: Codes) -> Figures:
        """Codes [n, genes] → number of weights [n]; equal to `StudentSpec.parameters`."""
        return self._total(codes, self._block_parameters)

    def file_bytes(self, codes: Codes, precision: str) -> Figures:
        """Codes [n, genes] → bytes of their files [n]; equal to `export.sizes.file_bytes`."""
        if precision not in self._block_bytes:
            self._block_bytes[precision] = np.array([block_bytes(block, precision) for block in self.blocks])
        return FILE_BYTES + self._total(codes, self._block_bytes[precision])

    @cached_property
    def _block_working(self) -> dict[Workload, Figures]:
        return {}

    def working_bytes(self, codes: Codes, workload: Workload) -> Figures:
        """Codes [n, genes] → bytes that the largest operator of each reads and writes beside its weights [n]."""
        if workload not in self._block_working:
            self._block_working[workload] = np.array([working_bytes(block, workload) for block in self.blocks])
        most = self._block_working[workload]
        return in_chunks(lambda rows: self.table(codes[rows]).most(most), len(codes))

    def _total(self, codes: Codes, of_blocks: Figures) -> Figures:
        """Of what is stored."""
        return in_chunks(lambda rows: self.table(codes[rows], once=True).total(of_blocks), len(codes))

    @property
    def supernet(self) -> StudentSpec:
        """What every member is a part of."""
        return self.space.supernet(**self._inputs)

    def specs(self, codes: Codes) -> list[StudentSpec]:
        """Codes [n, genes] → n specs."""
        return self.space.decode(codes, **self._inputs)
