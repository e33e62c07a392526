"""What a student may weigh beside its milliseconds: a number of weights, and bytes of the file that is shipped."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.target import ArtifactKind
from devices.workload import Workload
from export.form import Form
from export.lowering import GRAPH_FORMS, graph_form
from nas.controllers.pool import Codes
from nas.members import Members

MEGABYTE = 1e6


@dataclass(frozen=True)
class Limits:
    """The most weights and file bytes, None for as many as you like; `precision` is that of the file."""

    parameters: int | None = None
    file_bytes: float | None = None
    precision: str = "fp32"

    def allow(self, members: Members, codes: Codes) -> npt.NDArray[np.bool_]:
        """Codes [n, genes] → which of them keep the limits [n]; a file's size is `export.sizes`', its most."""
        kept = np.ones(len(codes), dtype=bool)
        if self.parameters is not None:
            kept &= members.parameters(codes) <= self.parameters
        if self.file_bytes is not None:
            kept &= members.file_bytes(codes, self.precision) <= self.file_bytes
        return kept

    def keep(self, parameters: int, file_bytes: int) -> bool:
        """Whether a student of so many weights and bytes keeps them."""
        heavy = self.parameters is not None and parameters > self.parameters
        return not heavy and (self.file_bytes is None or file_bytes <= self.file_bytes)

    def missed(self, members: Members, codes: Codes) -> str:
        """The sentence for limits that none of the codes keeps."""
        space, more = f"the space {members.space.name}", "allow more, or choose another --space."
        least, smallest = int(members.parameters(codes).min()), float(members.file_bytes(codes, self.precision).min())
        if self.parameters is not None and self.parameters < least:
            return f"--max-parameters is {self.parameters:,}, and the smallest student of {space} has {least:,}: {more}"
        assert self.file_bytes is not None
        limit_mb = self.file_bytes / MEGABYTE
        if self.file_bytes < smallest:
            return (
                f"--max-file-mb is {limit_mb:g}, and the smallest {self.precision} file in {space} has up to "
                f"{smallest / MEGABYTE:.2f} MB: {more}"
            )
        return (
            f"no student of {space} was found that keeps both --max-parameters {self.parameters} and --max-file-mb "
            f"{limit_mb:g}: {more}"
        )


def file_form(kind: ArtifactKind, workload: Workload) -> Form:
    """The file that stands for a student in a workload's precision: the one its target runs, or where that runs
    checkpoints the portable one."""
    if kind in GRAPH_FORMS:
        return graph_form(kind, workload)
    return Form(precision="int8") if workload.precision == "int8" else Form()
