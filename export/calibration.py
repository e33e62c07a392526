"""Calibration: how far the numbers reach that a student multiplies, found by running it on texts of its task."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from export.arithmetic import Ranges, Reach
from export.arithmetics.evening import divisors_of
from export.builder import FLOAT, Array
from export.generation import graph_feed
from export.graph import student_graph
from export.part import Weights
from export.student import load_tokenizer
from export.verify import Batch, Text, open_graph, text_batches
from export.weights import module_weights
from runs.errors import UserError
from runs.registry import Registry
from students.bert import load_model
from students.spec import StudentSpec

BINS = 4096
"""Of the histogram that a rule sees; a hundredth of a step of 8 bits is told apart."""

LEVELS = 256

LEFT_OUT = (0.0, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
"""Shares of the numbers that may be cut off."""

Rule = Callable[[Array, Array], tuple[float, float]]
"""(counts [bins], edges [bins + 1]) → the range to round in."""

RULES: Registry[Rule] = Registry("calibration rule")


@RULES.register("min-max")
def _everything(counts: Array, edges: Array) -> tuple[float, float]:
    """Nothing is cut off."""
    return float(edges[0]), float(edges[-1])


def _inner(counts: Array, edges: Array, left_out: float) -> tuple[float, float]:
    """The range that leaves out at most the share `left_out` of all numbers, half at each end."""
    below = np.cumsum(counts) / counts.sum()
    low = int(np.searchsorted(below, left_out / 2, side="right"))
    high = int(np.searchsorted(below, 1 - left_out / 2, side="left"))
    return float(edges[low]), float(edges[high + 1])


@RULES.register("squared-error")
def _squared_error(counts: Array, edges: Array) -> tuple[float, float]:
    """Of ever narrower ranges, the one whose rounding and cutting off costs the least squared error."""
    middles = (edges[:-1] + edges[1:]) / 2
    tried = [_inner(counts, edges, share) for share in LEFT_OUT]

    def error(reach: tuple[float, float]) -> float:
        low, high = reach
        step = (max(high, 0.0) - min(low, 0.0)) / (LEVELS - 1)
        beyond = np.maximum(low - middles, 0) + np.maximum(middles - high, 0)
        return float((counts * np.where(beyond > 0, beyond**2, step**2 / 12)).sum())

    return min(tried, key=error)


def calibrate(
    spec: StudentSpec, weights: Weights, batches: Sequence[Batch], rule: str = "squared-error"
) -> dict[str, Reach]:
    """Name of each product → how far what it multiplies reaches, over all tokens of `batches` that are no padding.

    `squared-error` came nearer to the fp32 answers of two real classifiers than `min-max`; labels agreed equally. The
    names are those of any dialect's graph of this spec. The fp32 graph is run twice over `batches` in ONNX Runtime.
    Raises `UserError` where there is nothing to run on, or where a number is not finite.
    """
    chosen = RULES[rule]
    spoken = [batch for batch in batches if batch["attention_mask"].any()]
    if not spoken:
        raise UserError("there are no texts to calibrate on: give some of the task's.")
    graph = student_graph(spec, weights)
    sources = _sources(graph)
    watched = tuple(dict.fromkeys(sources.values()))
    for name in watched:
        graph.graph.output.append(helper.make_tensor_value_info(name, FLOAT, None))
    run = Run(open_graph(graph.SerializeToString()), spec, watched, spoken)
    reaches = _channel_reaches(run)
    divisors = {name: divisors_of(np.abs(reach).max(axis=0)) for name, reach in reaches.items()}
    scales = {name: np.asarray(1.0 if given is None else given, dtype=np.float32) for name, given in divisors.items()}
    histograms = {name: _histogram(reach / scales[name]) for name, reach in reaches.items()}
    for name, values in run.numbers():
        counts, edges = histograms[name]
        counts += np.histogram(values / scales[name], bins=edges)[0]
    found = {name: Reach(*chosen(*histogram), divisors[name]) for name, histogram in histograms.items()}
    return {product: found[source] for product, source in sources.items()}


def _sources(graph: onnx.ModelProto) -> dict[str, str]:
    """Product → the tensor it multiplies by a weight."""
    constant, sources = {tensor.name for tensor in graph.graph.initializer}, {}
    for node in graph.graph.node:
        if constant.issuperset(node.input):
            constant.update(node.output)
        elif node.op_type == "MatMul" and node.input[1] in constant:
            sources[node.output[0].removesuffix(".product")] = node.input[0]
    return sources


@dataclass(frozen=True)
class Run:
    """A session that shows the tensors `names`, and what it is run on."""

    session: Any
    spec: StudentSpec
    names: tuple[str, ...]
    batches: Sequence[Batch]

    def numbers(self) -> Iterator[tuple[str, Array]]:
        """(name, its numbers) batch by batch; those of padding are left out."""
        for batch in self.batches:
            mask = batch["attention_mask"] != 0
            feed = graph_feed(self.spec, batch)
            for name, values in zip(self.names, self.session.run(self.names, feed), strict=True):
                # Behind the last layer's keys and values there may be one token a text alone.
                every_token = values.ndim == 3 and values.shape[:2] == mask.shape
                yield name, values[mask if every_token else mask.any(axis=1)]


def _channel_reaches(run: Run) -> dict[str, Array]:
    """Name → smallest and largest number of each channel, [2, width]."""
    reaches: dict[str, Array] = {}
    for name, values in run.numbers():
        if not np.isfinite(values).all():
            raise UserError(f"the numbers in {name} are not finite: check the checkpoint's weights.")
        rows = values.reshape(-1, values.shape[-1])
        ends = np.stack([rows.min(axis=0), rows.max(axis=0)])
        low, high = reaches.get(name, ends)
        reaches[name] = np.stack([np.minimum(low, ends[0]), np.maximum(high, ends[1])])
    return reaches


def _histogram(reach: Array) -> tuple[Array, Array]:
    """Empty counts and the edges of their bins, over all channels."""
    low, high = float(reach.min()), float(reach.max())
    return np.zeros(BINS, dtype=np.int64), np.linspace(low, high if high > low else low + 1.0, BINS + 1)


def calibrate_on(checkpoint: Path, texts: Sequence[Text], maximum_length: int) -> Ranges:
    """The ranges of a checkpoint on texts, cut at `maximum_length` tokens; `UserError` where there is no tokenizer."""
    model = load_model(checkpoint)
    spec = model.config.spec_object
    length = min(maximum_length, spec.maximum_positions)
    batches = text_batches(load_tokenizer(checkpoint), texts, maximum_length=length)
    return calibrate(spec, module_weights(model), batches)
