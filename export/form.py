"""How a model is written down: dialect, precision, and which axes are fixed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """One way to write a model; every field is independent of the others."""

    dialect: str = "portable"
    """A name in `DIALECTS`: `portable` operators run everywhere, `onnxruntime` is the form which that runs fastest."""
    precision: str = "fp32"
    """A name in `ARITHMETICS`: how large matrices are stored and multiplied."""
    embeddings: str | None = None
    """A name in `ARITHMETICS` for the embedding tables; None for the same as `precision`."""
    batch_size: int | None = None
    """Texts a run; None leaves the axis dynamic."""
    sequence_length: int | None = None
    """Tokens a text; None leaves the axis dynamic."""

    @property
    def axes(self) -> tuple[int | str, int | str]:
        """Batch and sequence as ONNX shapes have them: numbers are fixed, names dynamic."""
        return (self.batch_size or "batch", self.sequence_length or "sequence")

    @property
    def exact(self) -> bool:
        """Whether nothing is rounded, so that the answers must be the model's own."""
        return self.precision == "fp32" and self.embeddings in (None, "fp32")

    @property
    def file_name(self) -> str:
        """What a student's file in this form is called: `student.onnx`, `student.ort.int8.onnx`, …"""
        sizes = "x".join(str(size) for size in (self.batch_size, self.sequence_length) if size)
        parts = [
            FILE_MARKS.get(self.dialect, self.dialect),
            "" if self.precision == "fp32" else self.precision,
            f"embeddings-{self.embeddings}" if self.embeddings else "",
            sizes,
        ]
        return ".".join(["student", *(part for part in parts if part), "onnx"])


FILE_MARKS = {"portable": "", "onnxruntime": "ort"}
"""Dialect → its part of a file's name."""

DEFAULT_FORMS = tuple(Form(dialect, precision) for precision in ("fp32", "int8") for dialect in FILE_MARKS)
"""What an export writes unless told otherwise."""

FILES = {form.file_name: form for form in DEFAULT_FORMS}
"""Names of the files of a default export."""

FILE_PATTERN = "student*.onnx"
"""Matches every file name that a form can have."""
