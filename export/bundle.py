"""`write_bundle`: a checkpoint becomes one folder with all that a phone or a board needs, checked as a whole."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.arithmetic import Ranges
from export.bundle_files import run
from export.bundle_models import BundledFile, Example, Making, write_models
from export.bundle_origin import Measured, Origin, origin
from export.bundle_pages import write_pages
from export.bundle_words import check_words, word_rules
from export.form import Form
from export.items import checkpoint_files
from export.student import check_form, load_tokenizer
from export.verify import Text
from runs.errors import UserError
from runs.files import file_sha256, folder_atomic, read_json, write_bytes_atomic, write_json_atomic
from students.bert import load_model
from students.model import StudentPreTrainedModel

SCHEMA = 1
BUNDLE_FILE, SUMS_FILE, TOKENIZER = "bundle.json", "SHA256SUMS", "tokenizer"

BY_TOKEN = ("none", "tokens", "spans", "masked-lm")
"""Heads whose outputs have an axis of tokens, of which padding is cut off."""

CHECKED_TEXTS = 64
"""Texts of the caller's, at most, that the files are compared on beside the bundle's own examples."""

SHORTEST = 8
"""Tokens a text; below, nothing is left of one."""

PRECISE = Form()


@dataclass(frozen=True)
class Bundle:
    """A written bundle."""

    folder: Path
    files: tuple[BundledFile, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names."""
        return {"bundle": str(self.folder), "files": [file.to_json() for file in self.files]}


def write_bundle(
    checkpoint: Path,
    output: Path,
    form: Form = PRECISE,
    *,
    maximum_length: int = 128,
    texts: Sequence[Text] = (),
    ranges: Ranges | None = None,
    measured: Sequence[Measured] = (),
    made_of: Origin | None = None,
) -> Bundle:
    """Write a student or BERT checkpoint as a folder that stands alone.

    `form` says precision and embeddings; dialects and axes are the bundle's own: each model file is written in the ones
    it is for, and run through the bundle's `run.py` on its examples and on some of `texts` beside the checkpoint.
    `maximum_length` is the length of the fixed-shape file in tokens, and where texts are cut. `ranges` are those of
    `export.calibration`; `measured` goes into the README.
    `made_of` says where the checkpoint comes from if what lies beside it does not.

    The folder appears whole or not at all; a bundle that is there is replaced. Raises `UserError` for a checkpoint that
    is not one or has no tokenizer, a tokenizer other than BERT's, a head that has no bundle (a causal language model),
    and an output folder that holds anything but a bundle.
    """
    check_form(form)
    checkpoint_files(checkpoint)
    _check_output(output, checkpoint)
    model = load_model(checkpoint)
    spec = model.config.spec_object
    if spec.head.kind not in run.ANSWERS:
        raise UserError(f"{checkpoint} has the head {spec.head.kind}, which has no bundle: export without --bundle.")
    length = min(maximum_length, spec.maximum_positions)
    if length < SHORTEST:
        raise UserError(f"texts of at most {length} tokens leave no room for a text: use at least {SHORTEST}.")
    tokenizer = load_tokenizer(checkpoint)
    if len(tokenizer) > spec.vocabulary_size:
        raise UserError(
            f"the tokenizer in {checkpoint} has {len(tokenizer)} tokens and the model {spec.vocabulary_size}: they do "
            "not belong together."
        )
    rules = word_rules(tokenizer)
    examples = _examples(spec.head.kind == "spans" or any(not isinstance(text, str) for text in texts))
    with folder_atomic(output) as scratch:
        # It was made for one user alone, and a bundle is for others.
        scratch.chmod(0o755)
        tokenizer.save_pretrained(scratch / TOKENIZER)
        write_json_atomic(scratch / "wordpiece.json", rules)
        write_json_atomic(scratch / "labels.json", _labels(model))
        write_bytes_atomic(scratch / "run.py", Path(run.__file__).read_bytes())
        tried = [*examples, *_some(texts)]
        check_words(run.WordPiece(scratch), tokenizer, [part for pair in tried for part in pair if part], length)
        about = {"schema": SCHEMA, "head": spec.head.kind, "by_token": spec.head.kind in BY_TOKEN}
        about |= {"maximum_length": length, "mask": tokenizer.mask_token_id}
        write_json_atomic(scratch / BUNDLE_FILE, {**about, "models": {}})
        making = Making(checkpoint, model, scratch, scratch / TOKENIZER, _labels(model), form, length, ranges)
        files, expected = write_models(making, tried)
        own = len(examples)
        write_json_atomic(scratch / "examples.json", [reference.to_json() for reference in expected[:own]])
        models = {file.name: {"agreeing": sum(file.agrees[:own]), "is": file.what} for file in files}
        write_json_atomic(scratch / BUNDLE_FILE, {**about, "models": models})
        write_pages(making, files, made_of or origin(checkpoint, spec), measured)
        _write_sums(scratch)
    return Bundle(output, tuple(files))


def _labels(model: StudentPreTrainedModel) -> list[str]:
    names: dict[Any, str] = dict(model.config.id2label or {})
    return [names[number] for number in sorted(names, key=int)]


def _examples(pairs: bool) -> list[Example]:
    """The bundle's own texts; no text of the user's data is passed on in a bundle."""
    texts = json.loads((Path(run.__file__).parent / "texts.json").read_text(encoding="utf-8"))
    return list(zip(texts, [*texts[1:], texts[0]], strict=True)) if pairs else [(text, None) for text in texts]


def _some(texts: Sequence[Text]) -> list[Example]:
    """At most `CHECKED_TEXTS`, evenly spread."""
    step = max(1, -(-len(texts) // CHECKED_TEXTS))
    return [(text, None) if isinstance(text, str) else text for text in texts[::step]]


def _write_sums(folder: Path) -> None:
    """SHA256SUMS in the form that `sha256sum -c` reads, over every other file."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in names]
    write_bytes_atomic(folder / SUMS_FILE, "".join(lines).encode())


def _check_output(output: Path, checkpoint: Path) -> None:
    """Raise `UserError` unless `output` is new, empty or a bundle, and not where the checkpoint is."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: name a folder for the bundle.")
    if checkpoint.resolve().is_relative_to(output.resolve()):
        raise UserError(f"{output} holds {checkpoint}, which a bundle there would replace: name another folder.")
    above = next(folder for folder in output.resolve().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"no folder can be made in {above}: name another place for the bundle.")
    if not output.exists() or not any(output.iterdir()):
        return
    names = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    strangers = names - _listed(output) - {SUMS_FILE}
    if strangers:
        raise UserError(f"the folder {output} holds something else ({min(strangers)}): name a new or empty folder.")


def _listed(folder: Path) -> set[str]:
    """The files that a bundle says it has; none where the folder is no bundle."""
    about, sums = folder / BUNDLE_FILE, folder / SUMS_FILE
    if not (about.is_file() and sums.is_file()) or read_json(about, "bundle").get("schema") != SCHEMA:
        return set()
    return {line.partition("  ")[2] for line in sums.read_text().splitlines()}
