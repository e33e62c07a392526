"""What a student may weigh beside its milliseconds: its weights, the file that is shipped, the memory that takes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.target import ArtifactKind
from devices.workload import Workload
from export.form import Form
from export.lowering import GRAPH_FORMS, graph_form
from nas.controllers.pool import Codes
from nas.members import Members
from nas.memory import MemoryModel

MEGABYTE = 1e6


@dataclass(frozen=True)
class Limits:
    """The most weights, file bytes and bytes of memory, None for as many as you like; `precision` is that of the file.

    `memory` foretells what members take; None where memory is not limited.
    """

    parameters: int | None = None
    file_bytes: float | None = None
    precision: str = "fp32"
    memory_bytes: float | None = None
    memory: MemoryModel | None = None

    def allow(self, members: Members, codes: Codes) -> npt.NDArray[np.bool_]:
        """Codes [n, genes] → which of them keep the limits [n]; a file's size is `export.sizes`', its most."""
        kept = np.ones(len(codes), dtype=bool)
        for limit in self._asked():
            kept &= limit.of(members, codes) <= limit.most
        return kept

    def keep(self, parameters: int, file_bytes: int, memory_bytes: int) -> bool:
        """Whether a student of so many weights and bytes keeps them."""
        found = ((self.parameters, parameters), (self.file_bytes, file_bytes), (self.memory_bytes, memory_bytes))
        return all(most is None or value <= most for most, value in found)

    def missed(self, members: Members, codes: Codes) -> str:
        """The sentence for limits that none of the codes keeps."""
        space, more = f"the space {members.space.name}", "allow more, or choose another --space."
        asked = self._asked()
        for limit in asked:
            least = float(limit.of(members, codes).min())
            if limit.most < least:
                return f"{limit.option} is {limit.given}, and {limit.least(least, space)}: {more}"
        both = " and ".join(f"{limit.option} {limit.given}" for limit in asked)
        return f"no student of {space} was found that keeps {'both ' * (len(asked) == 2)}{both}: {more}"

    def _asked(self) -> list["_Limit"]:
        asked = []
        if self.parameters is not None:
            asked.append(
                _Limit(
                    "--max-parameters",
                    str(self.parameters),
                    self.parameters,
                    Members.parameters,
                    lambda least, space: f"the smallest student of {space} has {least:,.0f}",
                )
            )
        if self.file_bytes is not None:
            asked.append(
                _Limit(
                    "--max-file-mb",
                    f"{self.file_bytes / MEGABYTE:g}",
                    self.file_bytes,
                    lambda members, codes: members.file_bytes(codes, self.precision),
                    lambda least, space: (
                        f"the smallest {self.precision} file in {space} has up to {least / MEGABYTE:.2f} MB"
                    ),
                )
            )
        if self.memory_bytes is not None:
            assert self.memory is not None
            asked.append(
                _Limit(
                    "--max-memory-mb",
                    f"{self.memory_bytes / MEGABYTE:g}",
                    self.memory_bytes,
                    self.memory.most_bytes,
                    lambda least, space: (
                        f"the {self.precision} file that takes least in {space} takes up to {least / MEGABYTE:.1f} MB "
                        "to run"
                    ),
                )
            )
        return asked


@dataclass(frozen=True)
class _Limit:
    """One limit: its option as it was given, the most that is allowed, what members have of it, and how to say so."""

    option: str
    given: str
    most: float
    of: Callable[[Members, Codes], npt.NDArray[np.float64]]
    least: Callable[[float, str], str]


def file_form(kind: ArtifactKind, workload: Workload) -> Form:
    """The file that stands for a student in a workload's precision: the one its target runs, or where that runs
    checkpoints the portable one."""
    if kind in GRAPH_FORMS:
        return graph_form(kind, workload)
    return Form(precision="int8") if workload.precision == "int8" else Form()
