"""Does every spec export? 200 random students in every form and runtime, each compared with PyTorch.

    python benchmarks/random_students.py

Half are random over all layer types, activations, heads, factorised embeddings and ways of sharing weights; the other
half are random members of the spaces that come along. Every student is written in the portable dialect (run by ONNX
Runtime and OpenVINO) and in ONNX Runtime's own. Results are stored as they come; the same command goes on where it was.
"""

import json
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer

from devices.open_vino import DEVICE, SETTINGS, load_library, plain_reason
from export.builder import Array
from export.form import Form
from export.graph import student_graph
from export.verify import Batch, compare, open_graph, random_batches, run_graph, run_model
from export.weights import module_weights, random_module
from runs.errors import UserError
from runs.files import content_hash, read_json, write_json_atomic
from runs.progress import Progress
from students.heads import POOLED_HEADS
from students.model import StudentPreTrainedModel
from students.space import SPACES, space
from students.spec import Head, StudentSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from random_specs import random_head, random_spec  # noqa: E402  the generator that the tests use

LIMIT = 1e-4
"""Largest difference for answers of up to 1; for larger ones it grows with them."""

SMALL = {"vocabulary_size": 2000, "maximum_positions": 128, "token_types": 2}
"""Of members of spaces: their vocabulary has no part in what is tried here."""

RESULT = "random_students.json"
EVERY = 10


@dataclass(frozen=True)
class Named:
    """An input or output as ONNX Runtime's sessions tell of theirs."""

    name: str
    shape: tuple[int | str, ...]


def _named(values: Iterable[onnx.ValueInfoProto]) -> list[Named]:
    dims = ((value.name, value.type.tensor_type.shape.dim) for value in values)
    return [Named(name, tuple(dim.dim_param or dim.dim_value for dim in shape)) for name, shape in dims]


class OpenVinoGraph:
    """A graph in OpenVINO behind what of ONNX Runtime's session `run_graph` uses."""

    def __init__(self, graph: bytes) -> None:
        core = load_library().Core()
        try:
            self._model = core.compile_model(core.read_model(graph), DEVICE, {**SETTINGS, "INFERENCE_NUM_THREADS": 1})
        except RuntimeError as problem:
            raise UserError(f"OpenVINO cannot load the graph: {plain_reason(problem)}") from None
        # OpenVINO itself calls an output by any name of the tensor that it is.
        declared = onnx.load_from_string(graph).graph
        self._inputs, self._outputs = _named(declared.input), _named(declared.output)

    def get_inputs(self) -> list[Named]:
        """Names and shapes; a name for an axis that is dynamic."""
        return self._inputs

    def get_outputs(self) -> list[Named]:
        """In the order of the graph."""
        return self._outputs

    def run(self, names: list[str] | None, given: Mapping[str, Array]) -> list[Array]:
        """All outputs, or those of `names` in their order."""
        answers = self._model(dict(given))
        wanted = names or [value.name for value in self._outputs]
        return [np.array(answers[name]) for name in wanted]


RUNTIMES: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "onnxruntime, portable": ("portable", lambda graph: open_graph(graph, 1)),
    "onnxruntime, own dialect": ("onnxruntime", lambda graph: open_graph(graph, 1)),
    "openvino, portable": ("portable", OpenVinoGraph),
}
"""What is tried → dialect of the file, and how it is opened."""


def drawn_specs(count: int, seed: int) -> Iterator[tuple[str, StudentSpec]]:
    """`count` students by where they were drawn from: layer types at large, and each space's members."""
    rng = np.random.default_rng(seed)
    names = SPACES.names()
    for _ in range(count - count // 2):
        yield "all layer types", random_spec(rng)
    for number in range(count // 2):
        chosen = space(names[number % len(names)])
        head: Head = random_head(rng, POOLED_HEADS)
        yield chosen.name, chosen.decode(chosen.sample(1, rng), **SMALL, head=head)[0]


def lively(spec: StudentSpec, seed: int) -> StudentPreTrainedModel:
    """A student whose weights are large enough that a forgotten bias or scale shows in its answers."""
    model = random_module(spec, seed)
    assert isinstance(model, StudentPreTrainedModel)
    small = spec.hidden_width < 64
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.mul_(4.0 if small and not name.endswith("norm.weight") else 1.0)
    return model


def tried(model: StudentPreTrainedModel, batches: Sequence[Batch]) -> dict[str, Any]:
    """By runtime the largest error beside the answers' size, or why it was refused."""
    spec, weights = model.config.spec_object, module_weights(model)
    references, masks = list(run_model(model, batches)), [batch["attention_mask"] for batch in batches]
    found: dict[str, Any] = {}
    for runtime, (dialect, opened) in RUNTIMES.items():
        try:
            graph = student_graph(spec, weights, Form(dialect))
            onnx.checker.check_model(graph, full_check=True)
            answers = list(run_graph(opened(graph.SerializeToString()), batches))
        except (UserError, RuntimeError, onnx.checker.ValidationError) as problem:
            found[runtime] = {"refused": str(problem).strip().splitlines()[0]}
            continue
        parity = compare(references, answers, spec.head.kind, masks)
        fits = parity.max_abs_error <= LIMIT * max(1.0, parity.largest)
        found[runtime] = {"max_abs_error": parity.max_abs_error, "largest": parity.largest, "fits": fits}
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By runtime how many students fitted, and the largest error."""
    table = {}
    for runtime in RUNTIMES:
        found = [row["runtimes"][runtime] for row in rows]
        errors = [one["max_abs_error"] / max(1.0, one["largest"]) for one in found if "refused" not in one]
        table[runtime] = {
            "students": len(found),
            "fitted": sum(one.get("fits", False) for one in found),
            "refused": sum("refused" in one for one in found),
            "worst_error": max(errors, default=None),
        }
    return table


def main(
    students: Annotated[int, typer.Option(help="how many students", min=2)] = 200,
    seed: Annotated[int, typer.Option(help="draws students and weights")] = 0,
    output: Annotated[Path, typer.Option(help="folder for the result")] = Path("random-students"),
) -> None:
    """Print one JSON object: for each runtime how many students had parity; the file also holds every student."""
    output.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("torch", "onnx", "onnxruntime", "openvino")}
    about = {"students": students, "seed": seed, "limit": LIMIT, "machine": platform.machine(), "versions": versions}
    file, rows, progress = output / RESULT, list[dict[str, Any]](), Progress()
    if file.is_file():
        before = read_json(file)
        rows = before["rows"] if before["about"] == about else []
    for number, (origin, spec) in enumerate(drawn_specs(students, seed)):
        if number < len(rows):
            continue
        model = lively(spec, seed + number)
        found = tried(model, random_batches(spec, seed + number)[:3])
        # Seed and number bring any spec back; those to look into are written out.
        whole = {} if all(one.get("fits") for one in found.values()) else {"spec": spec.to_json()}
        rows.append({"from": origin, "key": content_hash(spec.to_json()), **whole, "runtimes": found})
        if len(rows) % EVERY == 0 or len(rows) == students:
            progress.say(f"{len(rows)} of {students} students")
            write_json_atomic(file, {"about": about, "summary": summary(rows), "rows": rows})
    print(json.dumps({**about, **summary(rows)}, indent=2))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
