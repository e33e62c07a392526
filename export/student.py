"""`export_student`: a checkpoint becomes ONNX files that are checked against it before they are put in place."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import onnx
from transformers import AutoTokenizer

from export.arithmetic import ARITHMETICS, Ranges
from export.builder import Array
from export.form import DEFAULT_FORMS, FILE_PATTERN, Form
from export.graph import student_graph
from export.graph_file import SPEC_KEY, read_graph_file
from export.items import Checkpoint, checkpoint_files, item_key
from export.part import DIALECTS
from export.verify import Batch, Parity, Text, compare, random_batches, run_graph, run_model, text_batches
from export.weights import module_weights
from runs.errors import UserError
from runs.files import write_bytes_atomic
from students.bert import load_model
from students.model import StudentPreTrainedModel

COMPANIONS = ("student", "pruned", "verdict.json")
"""What a folder of ours may hold beside ONNX files; any of them marks it as such."""

PARITY_LIMIT = 1e-4
"""Largest difference an fp32 file may show, for answers of up to 1; for larger ones it grows with them."""


@dataclass(frozen=True)
class ExportedFile:
    """A written file and how it compares with its checkpoint."""

    path: Path
    form: Form
    size_bytes: int
    parity: Parity

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names."""
        return {"file": self.path.name, **asdict(self.form), "bytes": self.size_bytes, **asdict(self.parity)}


def export_student(
    checkpoint: Path,
    output: Path,
    forms: Sequence[Form] = DEFAULT_FORMS,
    texts: Sequence[Text] | None = None,
    *,
    maximum_length: int = 128,
    ranges: Ranges | None = None,
) -> list[ExportedFile]:
    """Write a student or BERT checkpoint into the folder `output`, one file a form (`Form.file_name`).

    Every file is run in ONNX Runtime and compared with the checkpoint on `texts`, cut at `maximum_length` tokens, or on
    random ids without them, before any is written. `ranges` are those of `export.calibration`. Raises `UserError` for a
    checkpoint that is not one, an output folder that holds something else, texts without a tokenizer, and an fp32 file
    beyond `PARITY_LIMIT`.
    """
    wanted = list(dict.fromkeys(forms))
    for form in wanted:
        check_form(form)
    checkpoint_files(checkpoint)
    check_output(output, checkpoint, {form.file_name for form in wanted})
    model = load_model(checkpoint)
    shortest = min((form.sequence_length for form in wanted if form.sequence_length), default=maximum_length)
    batches = _batches(checkpoint, model, texts, min(maximum_length, shortest))
    references = list(run_model(model, batches))
    ready = [(form, *_verified(checkpoint, model, form, ranges, batches, references)) for form in wanted]
    exported = []
    for form, data, parity in ready:
        path = output / form.file_name
        write_bytes_atomic(path, data)
        exported.append(ExportedFile(path, form, len(data), parity))
    return exported


def check_form(form: Form) -> None:
    """Raise `UserError` for a name that no registry knows or an axis of no length."""
    _ = DIALECTS[form.dialect], ARITHMETICS[form.precision], ARITHMETICS[form.embeddings or form.precision]
    for name in ("batch_size", "sequence_length"):
        size = getattr(form, name)
        if size is not None and size < 1:
            raise UserError(f"{name} is {size}: a fixed axis needs a length of at least 1.")


def _verified(
    checkpoint: Path,
    model: StudentPreTrainedModel,
    form: Form,
    ranges: Ranges | None,
    batches: Sequence[Batch],
    references: Sequence[Array],
) -> tuple[bytes, Parity]:
    """The model's file as bytes, checked and compared with the model's own answers."""
    spec = model.config.spec_object
    graph = student_graph(spec, module_weights(model), form, graph_metadata(checkpoint, model, form), ranges=ranges)
    onnx.checker.check_model(graph, full_check=True)
    data = graph.SerializeToString()
    masks = [batch["attention_mask"] for batch in batches]
    parity = compare(references, run_graph(data, batches), spec.head.kind, masks)
    limit = PARITY_LIMIT * max(1.0, parity.largest)
    if form.exact and not parity.max_abs_error <= limit:
        raise UserError(
            f"{form.file_name} differs from {checkpoint} by {parity.max_abs_error:.2g}, more than {limit:.2g}: "
            "nothing was written; check the checkpoint for weights that are not finite."
        )
    return data, parity


def graph_metadata(checkpoint: Path, model: StudentPreTrainedModel, form: Form) -> dict[str, str]:
    """What our files say about themselves: toolkit version, form, checkpoint, labels and spec."""
    try:
        own = version("tailorbird")
    except PackageNotFoundError:
        own = "source"
    labels = model.config.id2label or {}
    return {
        "tailorbird.version": own,
        "tailorbird.form": json.dumps(asdict(form)),
        "tailorbird.checkpoint": item_key(Checkpoint(checkpoint)),
        "labels": json.dumps(list(labels.values()), ensure_ascii=False),
        SPEC_KEY: json.dumps(model.config.spec_object.to_json()),
    }


def _batches(
    checkpoint: Path, model: StudentPreTrainedModel, texts: Sequence[Text] | None, maximum_length: int
) -> Sequence[Batch]:
    spec = model.config.spec_object
    if texts is None:
        drawn = random_batches(spec)
        return [{name: values[:, :maximum_length] for name, values in batch.items()} for batch in drawn]
    if not texts:
        raise UserError("there are no texts to compare the files on: give some, or none at all for random ids.")
    length = min(maximum_length, spec.maximum_positions)
    # By length, so that little of what is run is padding; the order does not matter here.
    ordered = sorted(texts, key=lambda text: len("".join(text)))
    return text_batches(load_tokenizer(checkpoint), ordered, maximum_length=length)


VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""One of these makes a tokenizer; without any, `transformers` gives one that knows no word at all."""


def load_tokenizer(checkpoint: Path) -> Any:
    """The tokenizer saved with a checkpoint; `UserError` where there is none."""
    if not any(match for name in VOCABULARY_FILES for match in checkpoint.glob(name)):
        raise UserError(f"{checkpoint} has no tokenizer to read texts with: save it there.")
    try:
        return AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    except (OSError, ValueError, KeyError) as problem:
        reason = (str(problem).splitlines() or ["unreadable"])[0]
        raise UserError(f"the tokenizer in {checkpoint} cannot be read: {reason}") from None


def check_output(output: Path, checkpoint: Path, new: set[str]) -> None:
    """Raise `UserError` unless `output` is new, empty, a folder of ours, or the checkpoint itself."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: name a folder for the ONNX files.")
    if not output.exists():
        return
    names = {path.name for path in output.iterdir()}
    known = any(output.glob(FILE_PATTERN)) or not names.isdisjoint(COMPANIONS)
    if names and not known and output.resolve() != checkpoint.resolve():
        raise UserError(f"the folder {output} holds something else ({min(names)}): name a new or empty folder.")
    for name in sorted(names & new):
        if SPEC_KEY not in read_graph_file(output / name).metadata:
            raise UserError(f"{output / name} is there already and not of our making: name another folder.")
