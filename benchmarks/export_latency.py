"""Our files against optimum-onnx's, OpenVINO and the matrix products alone: same weights, one run, interleaved.

    python benchmarks/export_latency.py --optimum-python /path/to/optimum/bin/python

For each shape all files are open at once in one process and timed in rounds of random order, in several processes.
Every finished shape is written down; the same command goes on with the next.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from contest.contenders import (
    CONTENDERS,
    Contender,
    Shape,
    prepare_shape,
    reference_answer,
    run_optimum,
)
from contest.ratios import paired_ratio
from contest.shares import kernel_shares
from contest.summary import summarise_shapes
from contest.table import contest_tables
from contest.timing import Entry, Timing, time_entries

from devices.fingerprint import fingerprint
from devices.measurement import Measurement
from devices.stopwatch import Policy
from devices.target import open_target
from devices.workload import Workload
from export.lowering import LOWERING_VERSION
from runs.errors import UserError
from runs.files import read_json, write_bytes_atomic, write_json_atomic
from runs.progress import Progress
from students.shapes import SHAPES
from students.spec import Head, StudentSpec, uniform_spec

WORKLOAD = Workload()
SUMMARY = "summary.json"
TABLES = "tables.md"
RIVALS = ("optimum", "openvino", "floor")
PROFILED = ("ours", "optimum")
"""Families whose kernels are looked at: OpenVINO has another profile, and the floor is all products."""

NAMED = ("minilm-l6-h384", "tinybert-4", "bert-small", "bert-mini", "bert-tiny")
SIZES = {
    "6x384-f768": (6, 384, 12, 768),
    "5x320-f1280": (5, 320, 10, 1280),
    "6x256-f512": (6, 256, 8, 512),
    "3x192-f768": (3, 192, 6, 768),
    "6x128-f512": (6, 128, 4, 512),
}
"""Members of the space `hybrid` that stock BERT can express: layers, hidden width, heads, feed-forward."""


def contest_shapes() -> dict[str, StudentSpec]:
    """The ten shapes by name."""
    return {name: SHAPES[name] for name in NAMED} | {name: uniform_spec(*sizes) for name, sizes in SIZES.items()}


def chosen_shapes(names: list[str], head: Head) -> dict[str, StudentSpec]:
    """Those of `names`, or all, under `head`; a `UserError` names the known ones."""
    known = {name: replace(spec, head=head) for name, spec in contest_shapes().items()}
    for name in names:
        if name not in known:
            raise UserError(f"unknown shape {name!r}: use some of {', '.join(known)}.")
    return {name: known[name] for name in names or known}


def entries_of(shape: Shape, refused: dict[str, str]) -> list[Entry]:
    """The files of all contenders; who has none goes into `refused` with the reason."""
    entries = []
    for name in CONTENDERS:
        contender = CONTENDERS[name]
        try:
            open_target(contender.target)
            file = contender.make(shape)
        except UserError as problem:
            refused[name] = str(problem)
            continue
        workload = Workload(**{**shape.workload.to_json(), "precision": contender.precision})
        entries.append(Entry(name, contender.target, file, shape.feed(contender.feed), workload))
    return entries


def relative_error(answer: np.ndarray, reference: np.ndarray) -> float:
    """Root mean square of the difference over that of the reference."""
    return float(np.sqrt(np.mean((answer - reference) ** 2) / np.mean(reference**2)))


def best_of(family: str, precision: str, measured: Mapping[str, Measurement]) -> str | None:
    """The fastest contender of a family as measured in this very run, which favours the family."""
    names = [name for name in measured if is_of(CONTENDERS[name], family, precision)]
    return min(names, key=lambda name: measured[name].p50_ms) if names else None


def is_of(contender: Contender, family: str, precision: str) -> bool:
    """Whether a contender runs in the name of a family and in a precision."""
    return contender.family == family and contender.precision == precision


def ratios_of(timing: Timing, measured: Mapping[str, Measurement]) -> dict[str, dict[str, Any]]:
    """Ours over the best of each rival, and over fp32 for each of ours in int8."""
    found: dict[str, dict[str, Any]] = {}
    for name in (name for name in measured if CONTENDERS[name].family == "ours"):
        contender = CONTENDERS[name]
        rivals = {rival: best_of(rival, contender.precision, measured) for rival in RIVALS}
        rivals["fp32"] = contender.in_fp32
        for rival, other in rivals.items():
            if other is not None and other in measured:
                found[f"{name} / {rival}"] = {"against": other, **paired_ratio(timing.samples, name, other).to_json()}
    return found


def contest(shape: Shape, optimum: Path | None, policy: Policy, processes: int) -> dict[str, Any]:
    """All contenders on one shape."""
    report = run_optimum(shape, optimum) if optimum else {}
    refused: dict[str, str] = {}
    entries = entries_of(shape, refused)
    timing = time_entries(entries, policy, processes)
    measured = timing.measurements()
    reference = reference_answer(shape)
    rows: dict[str, dict[str, Any]] = {}
    for entry in entries:
        contender = CONTENDERS[entry.name]
        if entry.name not in measured:
            continue
        row = {"target": entry.target, "precision": contender.precision, "bytes": entry.file.stat().st_size}
        row |= {key: value for key, value in measured[entry.name].to_json().items() if key not in ("key", "workload")}
        if contender.feed == "tokens":
            row["relative_error"] = relative_error(timing.answers[entry.name], reference)
        if contender.family in PROFILED:
            row["kernels"] = kernel_shares(entry.file, entry.inputs)
        rows[entry.name] = row
    return {
        "optimum": report,
        "contenders": rows,
        "refused": refused | dict(timing.refused),
        "ratios": ratios_of(timing, measured),
    }


def runtime_of(target: str) -> dict[str, str] | None:
    """What a target runs on, None where it is not installed."""
    try:
        return open_target(target).runtime()
    except UserError:
        return None


def settings_of(spec: StudentSpec, optimum: Path | None, policy: Policy, processes: int) -> dict[str, Any]:
    """What has to be equal for a shape not to be timed again."""
    target = open_target("onnxruntime")
    targets = sorted({CONTENDERS[name].target for name in CONTENDERS})
    return {
        "spec": spec.to_json(),
        "workload": WORKLOAD.to_json(),
        "policy": policy.to_json(),
        "processes": processes,
        "optimum_python": None if optimum is None else str(optimum),
        "runtimes": {name: runtime_of(name) for name in targets},
        "fingerprint": fingerprint(target, LOWERING_VERSION).to_json(),
    }


def main(
    shapes: Annotated[list[str] | None, typer.Argument(help="some of the ten; all without")] = None,
    optimum_python: Annotated[
        Path | None, typer.Option(help="interpreter of the environment with optimum-onnx")
    ] = None,
    processes: Annotated[int, typer.Option(help="timing processes, one after another", min=1)] = 5,
    rounds: Annotated[int, typer.Option(help="rounds in each process", min=1)] = 20,
    keep_files: Annotated[bool, typer.Option(help="do not delete the timed files")] = False,
    encoder: Annotated[bool, typer.Option(help="encoders that answer hidden states, instead of classifiers")] = False,
    output: Annotated[Path, typer.Option(help="folder for files, results and summary")] = Path("export-latency"),
) -> None:
    """Print one JSON object with the bars and medians; the same is in the folder, with every shape in a file."""
    chosen = chosen_shapes(shapes or [], Head("none") if encoder else Head())
    policy = Policy(rounds=rounds, warmup_runs=3)
    results: dict[str, dict[str, Any]] = {}
    with Progress().task("timing exports", len(chosen)) as bar:
        for name, spec in chosen.items():
            file = output / f"{name}.json"
            settings = settings_of(spec, optimum_python, policy, processes)
            result = read_json(file) if file.is_file() else {}
            if result.get("settings") != settings:
                shape = prepare_shape(spec, output / "files", WORKLOAD)
                result = {"settings": settings, **contest(shape, optimum_python, policy, processes)}
                write_json_atomic(file, result)
                if not keep_files:
                    shutil.rmtree(shape.folder)
            results[name] = result
            write_json_atomic(output / SUMMARY, summarise_shapes(results))
            write_bytes_atomic(output / TABLES, contest_tables(results).encode())
            bar.advance()
    print(json.dumps(summarise_shapes(results), indent=2))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
