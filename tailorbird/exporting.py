"""What `export-student` does: files in every form asked for, kept where they are worth it, and proven elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from devices.workload import Workload
from distill.tasks import load_task
from export.arithmetic import ARITHMETICS, Ranges
from export.bundle_origin import origin
from export.calibration import calibrate_on
from export.form import Form
from export.gate import Gate
from export.runtimes.mobile import mobile_usability
from export.runtimes.proof import verify_runtimes
from export.runtimes.registered import RUNTIMES
from export.stock import write_stock
from export.student import ExportedFile, check_form, check_output, export_student, load_tokenizer
from export.verify import Batch, Text, text_batches
from export.vocabulary import prune_checkpoint
from runs.errors import UserError
from runs.files import write_bytes_atomic, write_json_atomic
from runs.progress import Progress
from students.bert import load_model
from tailorbird.bundling import bundle_kept
from tailorbird.gating import Gated, gate_files
from tailorbird.known import Known, known_of

CALIBRATION_TEXTS = 256
"""Of the training texts, evenly spread; ranges hardly move beyond that."""

COMPARED_TEXTS = 500
"""Of the validation texts on which files are compared with their checkpoint."""

PRUNED, STOCK, BUNDLE, RECORD = "pruned", "stock", "bundle", "export.json"


@dataclass(frozen=True)
class Request:
    """Everything that was asked for; names are checked before anything is written."""

    checkpoint: Path
    output: Path
    precisions: tuple[str, ...] = ("fp32", "int8")
    dialects: tuple[str, ...] = ("portable", "onnxruntime")
    embeddings: str | None = None
    batch_size: int | None = None
    sequence_length: int | None = None
    threads: int = 1
    maximum_length: int = 128
    """Where texts are cut, in tokens; a fixed sequence length cuts them too."""
    data: str | None = None
    calibration: Path | None = None
    gate: Gate | None = None
    """None keeps every file."""
    prune_vocabulary: bool = False
    bundle: bool = False
    stock: bool = False
    runtimes: tuple[str, ...] = ()

    @property
    def workload(self) -> Workload:
        """What files are timed on."""
        return Workload(self.batch_size or 1, self.sequence_length or self.maximum_length, self.threads)

    @property
    def length(self) -> int:
        """Tokens of the longest text."""
        return min(self.maximum_length, self.sequence_length or self.maximum_length)

    def forms(self) -> list[Form]:
        """One a file: the exact ones first, which the others are held against."""
        rounded = [name for name in dict.fromkeys(self.precisions) if name != "fp32"]
        sizes = (self.batch_size, self.sequence_length)
        wanted = [Form(dialect, "fp32", None, *sizes) for dialect in self.dialects]
        if self.embeddings and "fp32" in self.precisions:
            wanted += [Form(dialect, "fp32", self.embeddings, *sizes) for dialect in self.dialects]
        return wanted + [
            Form(dialect, name, self.embeddings, *sizes) for name, dialect in product(rounded, self.dialects)
        ]


def export_checkpoint(request: Request, progress: Progress) -> dict[str, Any]:
    """Do all that is asked and return what came out, which is left beside the files as `export.json` too."""
    forms = _checked(request)
    known = None
    if request.data is not None:
        known = known_of(request.checkpoint, load_task(request.data, progress), request.length)
    source, pruned = request.checkpoint, None
    if request.prune_vocabulary and known is not None:
        progress.say("choosing the tokens that the training texts and a margin need")
        source = request.output / PRUNED
        pruned = prune_checkpoint(request.checkpoint, known.training_texts(), source).to_json()
        known = known_of(source, known.task, request.length)
    ranges = _ranges(request, source, known, progress)
    texts = known.some_texts(COMPARED_TEXTS) if known else None
    with TemporaryDirectory(prefix="tailorbird-export-") as scratch:
        folder = Path(scratch) / "files"
        progress.say(f"writing {len(forms)} files and comparing each with the checkpoint")
        files = export_student(source, folder, forms, texts, maximum_length=request.length, ranges=ranges)
        # A model of few positions is timed on as many tokens.
        positions = load_model(source).config.spec_object.maximum_positions
        request = replace(request, maximum_length=min(request.maximum_length, positions))
        gated = Gated() if request.gate is None else gate_files(files, request.gate, request.workload, known, progress)
        kept = [file for file in files if gated.keeps(file.path.name)]
        request.output.mkdir(parents=True, exist_ok=True)
        for name in {file.path.name for file in files} - {file.path.name for file in kept}:
            # An earlier export may have kept what this one refuses.
            (request.output / name).unlink(missing_ok=True)
        for file in kept:
            # The scratch folder may lie on another file system, so that a rename would not do.
            write_bytes_atomic(request.output / file.path.name, file.path.read_bytes())
    kept = [replace(file, path=request.output / file.path.name) for file in kept]
    result: dict[str, Any] = {
        "checkpoint": str(request.checkpoint),
        "output": str(request.output),
        "compared_on": "validation texts" if known else "random ids",
        "workload": request.workload.to_json(),
        "files": [_row(file, gated) for file in kept],
        "refused": {name: verdict.to_json() for name, verdict in gated.verdicts.items() if not verdict.kept},
        "vocabulary": pruned,
    }
    if request.stock:
        result["stock"] = str(write_stock(source, request.output / STOCK))
    plain = request.output / Form("portable", "fp32", None, request.batch_size, request.sequence_length).file_name
    if request.runtimes:
        progress.say(f"running {plain.name} on {', '.join(request.runtimes)}")
        reports = verify_runtimes(
            source, plain, request.runtimes, _batches(request, source, known), request.workload, output=request.output
        )
        result["runtimes"] = [report.to_json() for report in reports]
        result["mobile"] = [found.to_json() for found in mobile_usability(plain)]
    if request.bundle:
        bundle_kept(
            source,
            request.output / BUNDLE,
            kept,
            gated.times_ms,
            request.workload,
            maximum_length=request.length,
            ranges=ranges,
            texts=texts or (),
            made_of=origin(request.checkpoint, load_model(request.checkpoint).config.spec_object),
        )
        result["bundle"] = str(request.output / BUNDLE)
    write_json_atomic(request.output / RECORD, result)
    return result


def _row(file: ExportedFile, gated: Gated) -> dict[str, Any]:
    name = file.path.name
    verdict = gated.verdicts.get(name)
    return {
        **file.to_json(),
        "latency_ms": gated.times_ms.get(name),
        "gate": None if verdict is None else verdict.to_json(),
    }


def _checked(request: Request) -> list[Form]:
    """The forms, after everything that can be checked without reading a model."""
    forms = request.forms()
    for form in forms:
        check_form(form)
    check_output(request.output, request.checkpoint, {form.file_name for form in forms})
    for name in request.runtimes:
        RUNTIMES[name].check()
    if request.calibration is not None:
        lines_of(request.calibration)
    if request.prune_vocabulary and request.data is None:
        raise UserError("--prune-vocabulary needs texts to know which tokens are used: name them with --data.")
    if request.runtimes and "portable" not in request.dialects:
        raise UserError("--verify runs the portable file on each runtime: ask for --dialect portable as well.")
    return forms


def _ranges(request: Request, source: Path, known: Known | None, progress: Progress) -> Ranges | None:
    """Ranges calibrated on texts, where there are some and a precision has a use for them."""
    rounded = [ARITHMETICS[name] for name in request.precisions]
    if not any(one.calibrated or one.improved for one in rounded):
        return None
    if request.calibration is not None:
        texts: Sequence[Text] = lines_of(request.calibration)
    elif known is not None:
        texts = known.training_texts(CALIBRATION_TEXTS)
    elif any(one.calibrated for one in rounded):
        raise UserError("int8-static rounds by ranges found on texts: name some with --calibration or --data.")
    else:
        return None
    progress.say(f"calibrating on {len(texts)} texts")
    return calibrate_on(source, texts, request.length)


def lines_of(path: Path) -> list[str]:
    """The texts of a file, one a line; `UserError` for a file that is missing, no text, or empty."""
    if not path.is_file():
        raise UserError(f"the calibration file {path} does not exist.")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"the calibration file {path} is not UTF-8 text: give one text a line.") from None
    texts = [line for line in lines if line]
    if not texts:
        raise UserError(f"the calibration file {path} holds no text: give one text a line.")
    return texts


def _batches(request: Request, source: Path, known: Known | None) -> Sequence[Batch] | None:
    """What runtimes are compared on; None for random ids."""
    if known is None:
        return None
    length = min(request.length, load_model(source).config.spec_object.maximum_positions)
    return text_batches(load_tokenizer(source), known.some_texts(COMPARED_TEXTS), maximum_length=length)
