"""The runtime `ncnn`: Tencent's ncnn, converted by pnnx from a graph of fixed shape."""

import subprocess
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.target import Session
from export.runtimes.contract import RUNTIMES, Inputs, Opened, Runtime, as_numbers
from runs.errors import UserError

MASKED = -10000.0
"""What is added to the scores of padding; as in `students`, whose modules a process of ncnn does not load."""

HALF_PRECISION = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")

KINDS = {"i": "i64", "f": "f32"}
"""numpy's kind → pnnx's name of the type."""


def ncnn_inputs(inputs: Inputs, row: int) -> list[npt.NDArray[Any]]:
    """One text as ncnn takes it: int32 ids and token types [length], and the mask to add to scores [length, length]."""
    ids, mask, types = (inputs[name][row] for name in ("input_ids", "attention_mask", "token_type_ids"))
    added = (1.0 - mask.astype(np.float32)) * np.float32(MASKED)
    return [ids.astype(np.int32), np.repeat(added[None], len(mask), axis=0), types.astype(np.int32)]


def _declared(part: npt.NDArray[Any]) -> str:
    """Shape and type of an input as pnnx wants them, with the batch that ncnn then drops: `[1,128]i64`."""
    batched = (1,) * part.ndim + part.shape
    return f"[{','.join(map(str, batched))}]{KINDS[part.dtype.kind]}"


class NcnnSession(Session):
    """A net of ncnn; it knows no batches, so texts run one after another."""

    def __init__(self, opened: Opened) -> None:
        library: Any = import_module("ncnn")
        self._matrix: Any = library.Mat
        self._net: Any = library.Net()
        self._net.opt.num_threads = opened.threads
        for option in HALF_PRECISION:
            setattr(self._net.opt, option, False)
        failed = self._net.load_param(str(opened.file)) or self._net.load_model(str(opened.file.with_suffix(".bin")))
        if failed:
            raise UserError(f"ncnn cannot load {opened.file}.")
        self._inputs, self._outputs = opened.inputs, opened.outputs

    def _texts(self) -> list[list[Any]]:
        rows = len(next(iter(self._inputs.values())))
        # A Mat borrows the array's memory; the clone has its own.
        return [[self._matrix(part).clone() for part in ncnn_inputs(self._inputs, row)] for row in range(rows)]

    def _answers(self, text: list[Any]) -> list[Any]:
        with self._net.create_extractor() as extractor:
            for number, part in enumerate(text):
                extractor.input(f"in{number}", part)
            return [np.array(extractor.extract(f"out{number}")[1]) for number in range(len(self._outputs))]

    def run(self) -> list[npt.NDArray[np.float32]]:
        answers = [self._answers(text) for text in self._texts()]
        return [as_numbers(np.stack(parts)) for parts in zip(*answers, strict=True)]

    def time_ms(self) -> float:
        texts = self._texts()
        start = perf_counter_ns()
        for text in texts:
            self._answers(text)
        return (perf_counter_ns() - start) / 1e6


class Ncnn(Runtime):
    """ncnn on the processor, fp32."""

    name = "ncnn"
    extra = "ncnn"
    modules = ("ncnn", "pnnx")
    distribution = "ncnn"
    source = "one-text-graph"
    suffixes = (".ncnn.param", ".ncnn.bin")
    note = "converted from the checkpoint in fp32 for one shape; its mask input is the one added to scores, [S, S]"

    def convert(self, source: Path, inputs: Inputs, stem: Path) -> None:
        tool: Any = import_module("pnnx")
        shapes = ",".join(_declared(part) for part in ncnn_inputs(inputs, 0))
        with TemporaryDirectory(dir=stem.parent) as scratch:
            # pnnx writes a dozen files, most of them beside its source.
            place = Path(scratch) / "model.onnx"
            place.write_bytes(source.read_bytes())
            options = [f"inputshape={shapes}", "fp16=0"]
            command = [tool.EXEC_PATH, str(place), *options]
            said = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=scratch, check=False)
            made = [Path(scratch) / f"model{suffix}" for suffix in self.suffixes]
            unknown = sorted(unknown_layers(made[0])) if made[0].is_file() else ["everything"]
            if said.returncode or unknown:
                lines = (said.stdout + said.stderr).strip().splitlines() or ["no reason given"]
                reason = f"it has no layer for {', '.join(unknown)}" if made[0].is_file() else lines[-1]
                raise UserError(f"pnnx cannot convert this student for ncnn: {reason}.")
            for path, suffix in zip(made, self.suffixes, strict=True):
                path.replace(stem.with_name(stem.name + suffix))

    def open(self, opened: Opened) -> Session:
        return NcnnSession(opened)


def unknown_layers(param: Path) -> set[str]:
    """Layer types in a `.param` file that are PyTorch's or pnnx's own, which ncnn does not have."""
    types = {line.split()[0] for line in param.read_text().splitlines()[2:] if line.strip()}
    return {kind for kind in types if "." in kind or "_" in kind or "::" in kind}


RUNTIMES.register(Ncnn.name)(Ncnn())
