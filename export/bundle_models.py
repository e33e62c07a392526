"""The model files of a bundle: portable with and without fixed axes, ONNX Runtime's own format, texts in."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from export.arithmetic import Ranges
from export.builder import Array
from export.bundle_files import run
from export.form import Form
from export.graph import student_graph
from export.student import PARITY_LIMIT, graph_metadata
from export.tokenizer_graph import text_graph
from export.weights import module_weights
from runs.errors import UserError
from runs.files import write_bytes_atomic
from students.model import StudentPreTrainedModel

ORT_FILE = "student.ort"
OPERATORS_FILE = "student.required_operators.config"
CONVERTER = "onnxruntime.tools.convert_onnx_models_to_ort"

DYNAMIC_WHAT = "portable operators, any batch size and length"
FIXED_WHAT = "portable operators, one text of {} tokens"
ORT_WHAT = "ONNX Runtime's own format, any batch size and length"
TEXT_WHAT = "the tokenizer inside the graph: texts in, labels and scores out"

Example = tuple[str, str | None]
"""A text, and the second text of a pair."""


@dataclass(frozen=True)
class Making:
    """A bundle in the making: what it is made from, where, and how."""

    checkpoint: Path
    model: StudentPreTrainedModel
    folder: Path
    tokenizer: Path
    labels: list[str]
    form: Form
    length: int
    """Tokens of the fixed-shape file, and where texts are cut."""
    ranges: Ranges | None

    def graph(self, dialect: str, sequence_length: int | None = None) -> onnx.ModelProto:
        """The student in a dialect, checked; with a sequence length for one text, else with dynamic axes."""
        form = self.form_in(dialect, sequence_length)
        about = graph_metadata(self.checkpoint, self.model, form)
        weights, spec = module_weights(self.model), self.model.config.spec_object
        graph = student_graph(spec, weights, form, about, ranges=self.ranges)
        onnx.checker.check_model(graph, full_check=True)
        return graph

    def form_in(self, dialect: str, sequence_length: int | None = None) -> Form:
        """The bundle's precisions in a dialect, for one text of a length or for any."""
        batch_size = sequence_length and 1
        return Form(dialect, self.form.precision, self.form.embeddings, batch_size, sequence_length)


@dataclass(frozen=True)
class Reference:
    """What the checkpoint itself says to an example: outputs as arrays of one text, and the answer read from them."""

    text: str
    pair: str | None
    outputs: tuple[Array, ...]
    answer: run.Answer

    def to_json(self) -> dict[str, Any]:
        """The form of a bundle's examples.json."""
        pair = {} if self.pair is None else {"pair": self.pair}
        return {"text": self.text, **pair, "answer": self.answer}


@dataclass(frozen=True)
class BundledFile:
    """A model file of a bundle beside its checkpoint."""

    name: str
    what: str
    size_bytes: int
    agrees: tuple[bool, ...]
    """For each example, whether the file gives the checkpoint's answer."""
    max_abs_error: float
    """Largest difference of an output, or of a score where the file gives no more."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names."""
        return {**asdict(self), "agrees": sum(self.agrees), "examples": len(self.agrees)}


def write_models(making: Making, examples: Sequence[Example]) -> tuple[list[BundledFile], list[Reference]]:
    """Write every model file, that for most uses first, and compare each with the checkpoint over the examples."""
    dynamic, fixed = making.form_in("portable"), making.form_in("portable", making.length)
    graph = making.graph("portable")
    write_bytes_atomic(making.folder / dynamic.file_name, graph.SerializeToString())
    fixed_graph = making.graph("portable", making.length)
    write_bytes_atomic(making.folder / fixed.file_name, fixed_graph.SerializeToString())
    _write_ort_format(making.graph("onnxruntime"), making.folder)
    whats = {
        dynamic.file_name: DYNAMIC_WHAT,
        fixed.file_name: FIXED_WHAT.format(making.length),
        ORT_FILE: ORT_WHAT,
    }
    expected = _references(making, run.Student(making.folder, dynamic.file_name, threads=1), examples)
    files = [_compare(making, name, what, expected) for name, what in whats.items()]
    # A graph with the tokenizer inside answers single texts with a label.
    if making.model.config.spec_object.head.kind == "classification" and not any(pair for _, pair in examples):
        whole = text_graph(making.tokenizer, graph, making.labels, making.length)
        write_bytes_atomic(making.folder / run.TEXT_MODEL, whole.SerializeToString())
        files.append(_compare_text_model(making.folder, expected))
    return files, expected


def _write_ort_format(graph: onnx.ModelProto, folder: Path) -> None:
    """Write `ORT_FILE`, and beside it the operators and types that a build of ONNX Runtime needs for it.

    Made for ARM: nothing is laid out for the processor at hand, and integer operators may stay signed. The converter
    orders what it writes by chance, so the file's bytes differ from one time to the next, though not what it computes.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / Path(ORT_FILE).with_suffix(".onnx")
        source.write_bytes(graph.SerializeToString())
        flags = ["--optimization_style", "Fixed", "--target_platform", "arm", "--enable_type_reduction"]
        # In a process of its own, since the converter prints, and sets up logging for whoever imports it.
        done = subprocess.run([sys.executable, "-m", CONVERTER, str(source), *flags], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
            raise UserError(f"ONNX Runtime cannot convert the model to its own format: {reason}")
        write_bytes_atomic(folder / ORT_FILE, source.with_suffix(".ort").read_bytes())
        (config,) = Path(scratch).glob("*.config")
        # Its own heading names files of this machine.
        lines = [line for line in config.read_text().splitlines() if not line.startswith("#")]
    heading = f"# What {ORT_FILE} needs of ONNX Runtime: for a build with --include_ops_by_config"
    write_bytes_atomic(folder / OPERATORS_FILE, ("\n".join([heading, *lines]) + "\n").encode())


def _references(making: Making, student: run.Student, examples: Sequence[Example]) -> list[Reference]:
    """The checkpoint's own answers to texts that are cut where `student` cuts them."""
    making.model.train(False)
    found = []
    for text, pair in examples:
        ids, types = student.tokenizer.encode(text, pair, making.length)
        tokens = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": types}
        with torch.inference_mode():
            answer = making.model(**{name: torch.tensor([values]) for name, values in tokens.items()})
        outputs = tuple(output[0].numpy() for output in answer.values())
        found.append(Reference(text, pair, outputs, student.read_answer(list(outputs), ids, types)))
    return found


def _compare(making: Making, name: str, what: str, expected: Sequence[Reference]) -> BundledFile:
    """Run a file through the bundle's own `run.py`; `UserError` where an exact one is not its checkpoint's equal."""
    student = run.Student(making.folder, name, threads=1)
    agrees, error, largest = [], 0.0, 0.0
    for reference in expected:
        ids, types = student.tokenizer.encode(reference.text, reference.pair, making.length)
        outputs = student.outputs(ids, types)
        for output, wanted in zip(outputs, reference.outputs, strict=True):
            difference = np.abs(output - wanted)
            error = max(error, float(difference.max()) if np.isfinite(difference).all() else float("inf"))
            largest = max(largest, float(np.abs(wanted).max()))
        agrees.append(run.same(reference.answer, student.read_answer(outputs, ids, types))[0])
    if making.form.exact and not error <= PARITY_LIMIT * max(1.0, largest):
        raise UserError(
            f"{name} differs from {making.checkpoint} by {error:.2g}: nothing was written; check the checkpoint for "
            "weights that are not finite."
        )
    return BundledFile(name, what, (making.folder / name).stat().st_size, tuple(agrees), error)


def _compare_text_model(folder: Path, expected: Sequence[Reference]) -> BundledFile:
    """Run the file with the tokenizer inside over single texts, and compare labels and scores."""
    student = run.TextModel(folder, threads=1)
    found = [run.same(reference.answer, student.answer(reference.text)) for reference in expected]
    size, error = (folder / run.TEXT_MODEL).stat().st_size, max(error for _, error in found)
    return BundledFile(run.TEXT_MODEL, TEXT_WHAT, size, tuple(agrees for agrees, _ in found), error)
