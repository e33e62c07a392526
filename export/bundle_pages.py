"""What a bundle says about itself to people: README, model card, and the card that the checkpoint came with."""

from collections.abc import Sequence
from typing import Any

import onnxruntime
from jinja2 import Environment, PackageLoader, StrictUndefined

from devices.machine import this_machine
from export.bundle_files import run
from export.bundle_models import OPERATORS_FILE, ORT_FILE, BundledFile, Making
from export.bundle_origin import Measured, Origin
from runs.files import write_bytes_atomic

PAGES = ("README.md", "MODEL_CARD.md")
CHECKPOINT_CARD = "CHECKPOINT_CARD.md"

TEMPLATES = Environment(
    loader=PackageLoader("export", "bundle_files"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def write_pages(making: Making, files: Sequence[BundledFile], known: Origin, measured: Sequence[Measured]) -> None:
    """Write the pages into the bundle; `measured` are times of its files, else those that `known` has are told."""
    # The file in ONNX Runtime's own format has the time of the graph that it was made from.
    made_from = making.form_in("onnxruntime").file_name
    names = {made_from, *(file.name for file in files)}
    facts = {
        "spec": making.model.config.spec_object,
        "labels": making.labels,
        "files": files,
        "known": known,
        "times": [row for row in tuple(measured) or known.measured if row.file in names],
        "form": making.form,
        "length": making.length,
        "machine": this_machine(),
        "onnxruntime": onnxruntime.__version__,
        "operators_file": OPERATORS_FILE,
        "ort_file": ORT_FILE,
        "made_from": made_from,
        "text_model": next((file.name for file in files if file.name == run.TEXT_MODEL), None),
        "checkpoint_card": CHECKPOINT_CARD if known.card else None,
    }
    for name in PAGES:
        template: Any = TEMPLATES.get_template(f"{name}.jinja")
        write_bytes_atomic(making.folder / name, (template.render(**facts).strip() + "\n").encode())
    if known.card:
        write_bytes_atomic(making.folder / CHECKPOINT_CARD, known.card)
