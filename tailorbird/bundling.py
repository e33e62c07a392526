"""The bundle of an export: in the precision that came out fastest, with what was measured written into it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime

from devices.machine import this_machine
from devices.workload import Workload
from export.arithmetic import Ranges
from export.bundle import write_bundle
from export.bundle_origin import Measured, Origin
from export.form import Form
from export.student import ExportedFile
from export.verify import Text


def fastest_form(kept: Sequence[ExportedFile], times_ms: Mapping[str, float]) -> Form:
    """The form of the file that ran fastest, or of the first where nothing was timed."""
    return min(kept, key=lambda file: times_ms.get(file.path.name, float("inf"))).form


def bundle_kept(
    source: Path,
    output: Path,
    kept: Sequence[ExportedFile],
    times_ms: Mapping[str, float],
    workload: Workload,
    *,
    maximum_length: int,
    ranges: Ranges | None,
    texts: Sequence[Text],
    made_of: Origin,
) -> Path:
    """Write the bundle of a checkpoint in `fastest_form` and return its folder; `times_ms` are by file name."""
    measured = [
        Measured(
            name,
            milliseconds,
            f"onnxruntime {onnxruntime.__version__}",
            this_machine().processor,
            f"batch {workload.batch_size}, {workload.sequence_length} tokens, {workload.threads} thread(s)",
        )
        for name, milliseconds in times_ms.items()
    ]
    form = fastest_form(kept, times_ms)
    write_bundle(
        source,
        output,
        form,
        maximum_length=maximum_length,
        texts=texts,
        ranges=ranges,
        measured=measured,
        made_of=made_of,
    )
    return output
