"""Graphs that were lowered before, on disk by content: making one takes longer than a round of measuring it."""

import os
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from devices.target import Artifact, ArtifactKind, OnnxArtifact
from devices.workload import Workload
from export.form import Form
from export.items import Item, Stack, item_key
from export.lowering import (
    GRAPH_FORMS,
    LOWERING_VERSION,
    graph_arrays,
    graph_bytes,
    graph_form,
    lower,
)
from runs.files import content_hash
from students.spec import StudentSpec

LIMIT_BYTES = 4 * 2**30
"""Of the graphs kept; those not used for longest go first."""

SUFFIX = ".onnx"


class LoweringCache:
    """Graphs in a folder that one process at a time works with; the folder must be there.

    Of one item they are the same for all workloads of one precision. Modules are made anew each time, and so are
    graphs of checkpoints, which have to be loaded to know what to feed them with.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def lower(self, item: Item, kind: ArtifactKind, workload: Workload, seed: int = 0) -> Artifact:
        """What `export.lowering.lower` makes, with its graph in a file of this folder where it is one kept here."""
        if kind not in GRAPH_FORMS or not isinstance(item, Stack | StudentSpec):
            return lower(item, kind, workload, seed)
        # Refuses what cannot be fed before anything is made.
        inputs = graph_arrays(item, None, workload, seed)
        return OnnxArtifact(item_key(item), self._graph(item, graph_form(kind, workload), seed), inputs)

    def _graph(self, item: Stack | StudentSpec, form: Form, seed: int) -> bytes | Path:
        name = content_hash([item_key(item), asdict(form), seed, LOWERING_VERSION], 24)
        path = self._folder / f"{name}{SUFFIX}"
        if path.is_file():
            os.utime(path)
            return path
        graph = graph_bytes(item, form, seed)
        # A full disk must not end a measurement that can do without the file.
        with suppress(OSError):
            self._keep(path, graph)
            return path
        return graph

    def _keep(self, path: Path, graph: bytes) -> None:
        """Write the file whole or not at all, and remove the oldest beyond the limit."""
        handle, temporary = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(graph)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        ages = sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        held = 0
        for file in ages:
            held += file.stat().st_size
            if held > self._limit_bytes and file != path:
                file.unlink(missing_ok=True)
