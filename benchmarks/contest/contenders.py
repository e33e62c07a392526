"""Who takes part: each contender says which file it runs, on which target, and in whose name."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from contest.floor import ROWS, floor_graph, floor_inputs
from devices.workload import Precision, Workload
from export.builder import Array
from export.calibration import calibrate
from export.form import Form
from export.graph import student_graph
from export.lowering import example_inputs
from export.verify import random_batches, run_model
from export.weights import module_weights, random_module
from runs.errors import UserError
from runs.files import content_hash, read_json, write_bytes_atomic
from runs.registry import Registry
from students.bert import bert_from_student
from students.model import StudentPreTrainedModel
from students.spec import Head, StudentSpec

Family = Literal["ours", "optimum", "openvino", "floor", "reference"]
"""`reference` is for reading the others, and nobody is compared with it."""
Feed = Literal["tokens", "floor", "floor-weights"]

WORKER = Path(__file__).with_name("optimum_worker.py")
REPORT = "optimum.json"
LEVELS = ("O0", "O1", "O2", "O3")
SCALES = ("tensor", "channel")
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


@dataclass(frozen=True)
class Shape:
    """One student with random weights, the same for the same spec, and the folder where its files go."""

    spec: StudentSpec
    student: StudentPreTrainedModel
    folder: Path
    workload: Workload

    @property
    def optimum(self) -> Path:
        """Folder of optimum's files."""
        return self.folder / "optimum"

    def feed(self, feed: Feed) -> Path:
        """The `.npz` with inputs of a kind."""
        return self.folder / f"{feed}.npz"


def prepare_shape(spec: StudentSpec, folder: Path, workload: Workload) -> Shape:
    """Make the student and write what contenders are fed with; the folder is under `folder`, named by the spec."""
    student = random_module(spec)
    assert isinstance(student, StudentPreTrainedModel)
    own = folder / content_hash([spec.to_json(), workload.to_json()])
    own.mkdir(parents=True, exist_ok=True)
    shape = Shape(spec, student, own, workload)
    products = floor_inputs(spec, workload.sequence_length)
    feeds: dict[Feed, dict[str, Array]] = {
        "tokens": example_inputs(spec, student, workload),
        "floor": products,
        "floor-weights": {ROWS: products[ROWS]},
    }
    for feed, arrays in feeds.items():
        np.savez(shape.feed(feed), allow_pickle=False, **arrays)
    return shape


def reference_answer(shape: Shape) -> np.ndarray:
    """What the student itself answers to `tokens`, in PyTorch."""
    with np.load(shape.feed("tokens"), allow_pickle=False) as tokens:
        [answer] = run_model(shape.student, [dict(tokens)])
    return answer


def run_optimum(shape: Shape, python: Path) -> dict[str, Any]:
    """Let the environment of `python` make its files, unless they are there; its report is returned.

    Raises `UserError` where it cannot be run or fails altogether.
    """
    if not (shape.optimum / REPORT).is_file():
        shutil.rmtree(shape.optimum, ignore_errors=True)
        stock = shape.folder / "stock"
        bert_from_student(shape.student).save_pretrained(stock)
        command = [str(python), str(WORKER), str(stock.resolve()), str(shape.optimum.resolve())]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as problem:
            raise UserError(f"--optimum-python {python} cannot be run ({problem}): see benchmarks/README.md.") from None
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise UserError(f"optimum's export in {python} failed: {reason}")
    report: dict[str, Any] = read_json(shape.optimum / REPORT)
    return report


@dataclass(frozen=True)
class Contender:
    """A file and where it runs; `make` raises `UserError` with the reason where there is no such file."""

    family: Family
    precision: Precision
    target: str
    make: Callable[[Shape], Path]
    feed: Feed = "tokens"
    in_fp32: str | None = None
    """Name of the contender that is the same but for the precision."""


CONTENDERS: Registry[Contender] = Registry("contender")


def _ours(form: Form, shape: Shape) -> Path:
    return _written(shape, form, student_graph(shape.spec, module_weights(shape.student), form))


def _written(shape: Shape, form: Form, model: onnx.ModelProto) -> Path:
    path = shape.folder / f"{form.dialect}-{form.precision}-{'x'.join(map(str, form.axes))}.onnx"
    write_bytes_atomic(path, model.SerializeToString())
    return path


def _ours_fixed(form: Form, shape: Shape) -> Path:
    workload = shape.workload
    return _ours(replace(form, batch_size=workload.batch_size, sequence_length=workload.sequence_length), shape)


def _calibrated(form: Form, shape: Shape) -> Path:
    """Static int8: `form` with ranges found on random ids, which is enough where only the time counts."""
    weights = module_weights(shape.student)
    ranges = calibrate(shape.spec, weights, random_batches(shape.spec))
    return _written(shape, form, student_graph(shape.spec, weights, form, ranges=ranges))


def _optimum(name: str, shape: Shape) -> Path:
    path = shape.optimum / name
    if path.is_file():
        return path
    report = shape.optimum / REPORT
    failed = read_json(report)["failed"] if report.is_file() else {}
    raise UserError(failed.get(name, "optimum was not run: give --optimum-python."))


def _floor(precision: Precision, shape: Shape) -> Path:
    """The products that our files have."""
    return _products(shape, f"floor-{precision}", floor_graph(shape.spec, shape.workload.sequence_length, precision))


def _floor_weights(precision: Precision, shape: Shape) -> Path:
    """Those of them that multiply by weights."""
    data = floor_graph(shape.spec, shape.workload.sequence_length, precision, attention=False)
    return _products(shape, f"floor-weights-{precision}", data)


def _floor_whole(precision: Precision, shape: Shape) -> Path:
    """The products for every token in every layer, as in a file that does not leave out what its head never reads."""
    whole = replace(shape.spec, head=Head("none"))
    return _products(shape, f"floor-whole-{precision}", floor_graph(whole, shape.workload.sequence_length, precision))


def _products(shape: Shape, name: str, data: bytes) -> Path:
    path = shape.folder / f"{name}.onnx"
    write_bytes_atomic(path, data)
    return path


def _register_all() -> None:
    for precision in PRECISIONS:
        portable, fused = Form("portable", precision), Form("onnxruntime", precision)
        suffix = "" if precision == "fp32" else f"-{precision}"
        ours = {
            f"ours-portable{suffix}": partial(_ours, portable),
            f"ours-fused{suffix}": partial(_ours, fused),
            f"ours-fused-fixed{suffix}": partial(_ours_fixed, fused),
        }
        for name, make in ours.items():
            twin = name.removesuffix(suffix) if suffix else None
            CONTENDERS.register(name)(Contender("ours", precision, "onnxruntime", make, in_fp32=twin))
        CONTENDERS.register(f"openvino-ours{suffix}")(
            Contender("openvino", precision, "openvino", partial(_ours, portable))
        )
        floors = {
            f"floor{suffix}": Contender("floor", precision, "onnxruntime", partial(_floor, precision), "floor"),
            f"floor-whole{suffix}": Contender(
                "reference", precision, "onnxruntime", partial(_floor_whole, precision), "floor"
            ),
            f"floor-weights{suffix}": Contender(
                "reference", precision, "onnxruntime", partial(_floor_weights, precision), "floor-weights"
            ),
        }
        for name, contender in floors.items():
            CONTENDERS.register(name)(contender)
    static = partial(_calibrated, Form("onnxruntime", "int8-static"))
    CONTENDERS.register("ours-static-int8")(Contender("ours", "int8", "onnxruntime", static, in_fp32="ours-fused"))
    static = partial(_calibrated, Form("portable", "int8-static"))
    CONTENDERS.register("openvino-static-int8")(Contender("openvino", "int8", "openvino", static))
    for level in LEVELS:
        make = partial(_optimum, f"{level}.onnx")
        CONTENDERS.register(f"optimum-{level}")(Contender("optimum", "fp32", "onnxruntime", make))
        for scales in SCALES:
            make = partial(_optimum, f"{level}.int8-{scales}.onnx")
            CONTENDERS.register(f"optimum-{level}-int8-{scales}")(Contender("optimum", "int8", "onnxruntime", make))
    CONTENDERS.register("openvino-optimum")(Contender("openvino", "fp32", "openvino", partial(_optimum, "O0.onnx")))
    CONTENDERS.register("openvino-optimum-int8")(
        Contender("openvino", "int8", "openvino", partial(_optimum, "O0.int8-channel.onnx"))
    )


_register_all()
