"""The same students on every runtime: agreement, latency, size and memory, and what phones' accelerators would take.

    python benchmarks/runtimes.py minilm-l6-h384 tinybert-4 --python ncnn=/envs/ncnn/bin/python \
        --python litert=/envs/litert/bin/python --page docs/runtimes.md

A student is a named shape (random weights) or a checkpoint folder. Each of its files is run on all runtimes; those that
refuse it are kept with their reason. Results are stored file by file; the same command goes on where it was.
"""

import json
import re
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import onnx
import torch
import typer

import devices.targets  # noqa: F401  (fills the registry)
from devices.fingerprint import fingerprint
from devices.target import open_target
from devices.workload import Workload
from export.form import Form
from export.graph import student_graph
from export.graph_file import SPEC_KEY
from export.lowering import LOWERING_VERSION
from export.runtimes.mobile import mobile_usability
from export.runtimes.processes import Interpreters
from export.runtimes.proof import verify_runtimes
from export.runtimes.registered import RUNTIMES
from export.verify import Batch, random_batches
from export.weights import module_weights
from runs.errors import UserError
from runs.files import content_hash, read_json, write_bytes_atomic, write_json_atomic
from runs.progress import Progress
from students.bert import load_model
from students.model import StudentPreTrainedModel, build_student
from students.shapes import SHAPES

FIRST = "student.onnx"

FORMS = {
    FIRST: Form(),
    "student.int8.onnx": Form(precision="int8"),
    "student.ort.onnx": Form(dialect="onnxruntime"),
}
"""Name of a file → the form it is written in; axes stay dynamic."""

DRAWS = 12
"""Times that random batches are drawn; each draw has nine texts."""

MARKERS = ("<!-- measured: begin -->", "<!-- measured: end -->")
"""Between these lines of the page stand the tables."""


def load_student(name: str, folder: Path) -> Path:
    """A checkpoint folder: the one named, or that of a shape with random weights, written into `folder`."""
    if Path(name).is_dir():
        return Path(name)
    torch.manual_seed(0)
    model = build_student(SHAPES[name])
    with torch.no_grad():
        # As initialised, biases are zero and answers all but alike.
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.03)
    model.save_pretrained(folder / "student")
    return folder / "student"


def batches_of(model: StudentPreTrainedModel, sequence_length: int) -> list[Batch]:
    """Random texts of many lengths, none longer than `sequence_length`."""
    drawn = [batch for seed in range(DRAWS) for batch in random_batches(model.config.spec_object, seed)]
    return [batch for batch in drawn if batch["input_ids"].shape[1] <= sequence_length]


def measure_file(
    checkpoint: Path, file: Path, workload: Workload, processes: int, interpreters: Interpreters
) -> dict[str, Any]:
    """One file on all runtimes, and the mobile check of it."""
    refused: dict[str, str] = {}
    reports = verify_runtimes(
        checkpoint,
        file,
        # From a checkpoint runtimes are converted in fp32 alone, whatever the file.
        [name for name in RUNTIMES if file.name == FIRST or RUNTIMES[name].source == "file"],
        batches_of(load_model(checkpoint), workload.sequence_length),
        workload,
        processes=processes,
        interpreters=interpreters,
        refused=lambda runtime, problem: refused.update({runtime: str(problem).replace(f"{file.parent}/", "")}),
    )
    return {
        "runtimes": [report.to_json() for report in reports],
        "refused": refused,
        "mobile": [usability.to_json() for usability in mobile_usability(file)],
    }


def runtime_table(result: dict[str, Any]) -> list[str]:
    """Markdown lines for one file."""
    lines = [
        "| runtime | agreement | largest error | ms | noise | file | memory beyond an empty process |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(result["runtimes"], key=lambda row: RUNTIMES.names().index(row["runtime"])):
        beyond = (row["peak_memory_bytes"] - row["idle_memory_bytes"]) / 2**20
        cells = [
            f"{row['runtime']} {row['version']}",
            f"{100 * row['agreement']:.1f} %",
            f"{row['max_abs_error']:.1e}",
            f"{row['latency_ms']:.2f}",
            f"{row['noise_floor_percent']:.1f} %",
            f"{row['size_bytes'] / 2**20:.1f} MiB",
            f"{beyond:.0f} MiB",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"| {name} | refused: {reason} | | | | | |" for name, reason in sorted(result["refused"].items())]
    return lines


def mobile_table(results: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown lines for the files of one student."""
    lines = ["| file | provider | operators | fall back | partitions | which fall back |", "|---|---|---|---|---|---|"]
    for file, result in results.items():
        for row in result["mobile"]:
            most = sorted(row["falling_back"].items(), key=lambda pair: -pair[1])[:5]
            named = ", ".join(f"{count} {operator}" for operator, count in most)
            share = f"{100 * row['fallback_share']:.0f} %"
            groups = "–" if row["partitions"] is None else row["partitions"]
            lines.append(f"| `{file}` | {row['provider']} | {row['operators']} | {share} | {groups} | {named} |")
    return lines


def page_text(summary: dict[str, Any]) -> str:
    """All tables of a summary."""
    mark, workload = summary["fingerprint"], summary["workload"]
    lines = [
        f"Measured on {mark['processor']}, {mark['cores']} cores, {mark['system']}: batch {workload['batch_size']}, "
        f"sequence {workload['sequence_length']}, {workload['threads']} thread, {summary['processes']} processes a "
        "runtime. Answers are compared on random texts of 1 to 128 tokens.",
    ]
    for student, results in summary["students"].items():
        for file, result in results.items():
            lines += ["", f"### {student}: `{file}`", "", *runtime_table(result)]
        lines += ["", f"### {student}: phones' accelerators", "", *mobile_table(results)]
    return "\n".join(lines)


def write_page(page: Path, text: str) -> None:
    """Put the tables between the page's markers."""
    before, found, rest = page.read_text(encoding="utf-8").partition(MARKERS[0])
    after = rest.partition(MARKERS[1])
    if not found or not after[1]:
        raise UserError(f"{page} has no lines {MARKERS[0]} and {MARKERS[1]} to write the tables between.")
    whole = f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after[2]}"
    write_bytes_atomic(page, whole.encode())


def interpreters_of(given: list[str]) -> Interpreters:
    """`RUNTIME=PYTHON` pairs."""
    pairs = [text.partition("=") for text in given]
    for runtime, _, python in pairs:
        _ = RUNTIMES[runtime]
        if not Path(python).is_file():
            raise UserError(f"--python {runtime}={python}: there is no such Python.")
    return Interpreters({runtime: Path(python) for runtime, _, python in pairs})


def main(
    students: Annotated[list[str], typer.Argument(help="named shapes or checkpoint folders")],
    python: Annotated[list[str], typer.Option(help="RUNTIME=PYTHON of an environment of its own")] = [],  # noqa: B006
    sequence_length: Annotated[int, typer.Option(min=1)] = 128,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    processes: Annotated[int, typer.Option(help="a runtime", min=1)] = 5,
    output: Annotated[Path, typer.Option(help="JSON with everything")] = Path("benchmarks/results/runtimes.json"),
    page: Annotated[Path | None, typer.Option(help="page whose tables are rewritten")] = None,
) -> None:
    """Write the JSON, file by file, and print its tables."""
    interpreters, progress = interpreters_of(python), Progress()
    workload = Workload(1, sequence_length, threads)
    mark = fingerprint(open_target("onnxruntime"), LOWERING_VERSION).to_json()
    settings = {"fingerprint": mark, "workload": asdict(workload), "processes": processes}
    summary = read_json(output) if output.is_file() else {}
    if {name: summary.get(name) for name in settings} != settings:
        summary = {**settings, "students": {}}
    for name in students:
        # A folder's own path is nobody's business but the machine's.
        label = name if name in SHAPES else f"{Path(name).name} ({content_hash(read_json(Path(name) / 'config.json'))})"
        results = summary["students"].setdefault(label, {})
        with TemporaryDirectory(prefix="tailorbird-benchmark-") as folder:
            checkpoint = load_student(name, Path(folder))
            model = load_model(checkpoint)
            spec = model.config.spec_object
            for file_name, form in FORMS.items():
                if file_name in results:
                    continue
                progress.say(f"{label}: {file_name}")
                metadata = {SPEC_KEY: json.dumps(spec.to_json())}
                file = Path(folder) / file_name
                onnx.save(student_graph(spec, module_weights(model), form, metadata), file)
                results[file_name] = measure_file(checkpoint, file, workload, processes, interpreters)
                write_json_atomic(output, summary)
    text = page_text(summary)
    if page:
        write_page(page, text)
    print(re.sub(r"\n{3,}", "\n\n", text))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
