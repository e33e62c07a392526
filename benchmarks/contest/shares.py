"""Where ONNX Runtime's time goes in one file, from its own profile: products, attention, the rest."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxruntime

from contest.timing import read_arrays

RUNS = 30
WARMUP_RUNS = 5

KINDS = {
    **dict.fromkeys(("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "MatMulNBits"), "products"),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm", "QLinearMatMul"), "products"),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "QAttention"), "attention"),
}
"""ONNX Runtime's kernel → share it counts to. A fused attention holds products, softmax and often linear layers."""


def kernel_shares(file: Path, inputs: Path) -> dict[str, float]:
    """Share of the time in kernels by kind, and under `kernels` by kernel, one thread, all optimisations on.

    Profiling slows small kernels down, so latencies are not taken here.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        arrays = read_arrays(inputs)
        for _ in range(WARMUP_RUNS + RUNS):
            session.run(None, arrays)
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return shares_of(event for event in after_warmup(events) if event.get("cat") == "Node")


def after_warmup(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happened after the first `WARMUP_RUNS` runs."""
    ordered = sorted(events, key=lambda event: event["ts"])
    ends = [event["ts"] + event["dur"] for event in ordered if event.get("name") == "model_run"]
    return [event for event in ordered if event["ts"] >= ends[WARMUP_RUNS - 1]]


def shares_of(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Share of the summed durations by kind and by `kernel:NAME`."""
    spent: Counter[str] = Counter()
    for event in events:
        kernel = event.get("args", {}).get("op_name")
        if kernel and event["name"].endswith("_kernel_time"):
            spent[kernel] += event["dur"]
    total = sum(spent.values())
    kinds = {"products": 0.0, "attention": 0.0, "other": 0.0}
    for kernel, duration in spent.items():
        kinds[KINDS.get(kernel, "other")] += duration / total
    return kinds | {f"kernel:{kernel}": duration / total for kernel, duration in spent.most_common()}
