"""Run by the interpreter of another environment: optimum-onnx's exports of one stock BERT folder, and nothing timed.

    /path/to/optimum/bin/python benchmarks/contest/optimum_worker.py STOCK_FOLDER OUTPUT_FOLDER

Writes `O0.onnx` (the plain export) and `O1.onnx` to `O3.onnx` (its optimization levels), each also as
`….int8-tensor.onnx` and `….int8-channel.onnx` (its dynamic quantization for AVX-512 with VNNI), and at last
`optimum.json`: versions, what could not be made and why, and what needed help.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from optimum.exporters.onnx import main_export  # type: ignore[import-not-found]
from optimum.onnxruntime import (  # type: ignore[import-not-found]
    AutoOptimizationConfig,
    AutoQuantizationConfig,
    ORTModelForFeatureExtraction,
    ORTModelForSequenceClassification,
    ORTOptimizer,
    ORTQuantizer,
)

LEVELS = {"O1": AutoOptimizationConfig.O1, "O2": AutoOptimizationConfig.O2, "O3": AutoOptimizationConfig.O3}
SCALES = {"tensor": False, "channel": True}
"""One scale for a whole weight matrix, or one for each of its columns."""
PACKAGES = ("optimum", "optimum-onnx", "onnxruntime", "onnx", "torch", "transformers")
REPORT = "optimum.json"

TASKS = {
    "BertModel": ("feature-extraction", ORTModelForFeatureExtraction),
    "BertForSequenceClassification": ("text-classification", ORTModelForSequenceClassification),
}
"""Class in the stock folder's config → optimum's task and its class for that."""

Make = Callable[[Path], None]
"""Puts one ONNX file into a scratch folder."""


def optimise(plain: Path, loader: Any, level: str, scratch: Path) -> None:
    """The plain export at one of optimum's levels."""
    optimizer = ORTOptimizer.from_pretrained(loader.from_pretrained(plain))
    optimizer.optimize(optimization_config=LEVELS[level](), save_dir=scratch)


def quantise(source: Path, scales: str, scratch: Path) -> None:
    """A float file in optimum's dynamic int8."""
    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=SCALES[scales])
    quantizer = ORTQuantizer.from_pretrained(source.parent, file_name=source.name)
    quantizer.quantize(save_dir=scratch, quantization_config=config)


def quantise_by_hand(source: Path, scales: str, scratch: Path) -> None:
    """The same by ONNX Runtime's own quantizer, which can be told the type that it does not find out for itself."""
    options = {"WeightSymmetric": True, "ActivationSymmetric": False, "DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(
        source,
        scratch / "model.onnx",
        per_channel=SCALES[scales],
        weight_type=QuantType.QInt8,
        extra_options=options,
    )


def reason_of_failure(make: Make, place: Path) -> str | None:
    """Make a file in a scratch folder and put it in its place; or the reason why it cannot be made."""
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        try:
            make(Path(scratch))
        # Whatever a conversion fails with is its result here.
        except Exception as problem:
            return f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0]}"
        [file] = Path(scratch).glob("*.onnx")
        os.replace(file, place)
    return None


def main(stock: Path, folder: Path) -> None:
    """Make every file that can be made of the folder `stock`."""
    failed: dict[str, str] = {}
    helped: dict[str, str] = {}
    folder.mkdir(parents=True, exist_ok=True)
    plain = folder / "plain"
    [architecture] = json.loads((stock / "config.json").read_text(encoding="utf-8"))["architectures"]
    task, loader = TASKS[architecture]
    settings = {"task": task, "library_name": "transformers", "local_files_only": True}
    main_export(str(stock), plain, framework="pt", do_validation=False, **settings)
    # Quantizers read the model's config beside the file.
    for source, name in (("config.json", "config.json"), ("model.onnx", "O0.onnx")):
        (folder / name).write_bytes((plain / source).read_bytes())
    for level in LEVELS:
        if reason := reason_of_failure(partial(optimise, plain, loader, level), folder / f"{level}.onnx"):
            failed[f"{level}.onnx"] = reason
    for float_file in sorted(folder.glob("O?.onnx")):
        for scales in SCALES:
            place = folder / f"{float_file.stem}.int8-{scales}.onnx"
            if reason := reason_of_failure(partial(quantise, float_file, scales), place):
                helped[place.name] = reason
                if reason := reason_of_failure(partial(quantise_by_hand, float_file, scales), place):
                    failed[place.name] = reason
    versions = {package: version(package) for package in PACKAGES}
    # Written last, so that its presence says that all is there.
    (folder / REPORT).write_text(json.dumps({"versions": versions, "failed": failed, "by_hand": helped}, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
