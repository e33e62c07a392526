"""Whether an ONNX file answers what its checkpoint answers: both are run, on real texts or on random ids."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from export.builder import Array
from runs.errors import UserError
from runs.registry import Registry
from students.model import StudentPreTrainedModel
from students.spec import HeadKind, StudentSpec

Batch = Mapping[str, Array]
"""`input_ids`, `attention_mask`, `token_type_ids`, int64 [batch, sequence]."""

Text = str | tuple[str, str]
"""A text, or a pair of texts for tasks over pairs."""

ERRORS_ONLY = 3
TOLERANCE = 0.05
"""Regression answers agree within this share of the standard deviation of the model's own."""

COSINE = 0.98
"""An example's hidden states agree from this cosine similarity on."""


@dataclass(frozen=True)
class Parity:
    """How far a file's answers are from the model's."""

    max_abs_error: float
    """Largest absolute difference of a logit, or of a hidden state where there is no head."""
    agreement: float
    """Share of examples with the same label; in regression, within `TOLERANCE`; without a head, beyond `COSINE`."""
    largest: float
    """Largest absolute number among the model's own answers, which tells whether an error is large."""
    examples: int


def open_graph(model: Path | bytes, threads: int = 0) -> Any:
    """An ONNX Runtime session over a file or over a model's bytes; 0 threads are as many as there are cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except (RuntimeError, ValueError) as problem:
        name = "the model" if isinstance(model, bytes) else str(model)
        raise UserError(f"ONNX Runtime cannot load {name}: {str(problem).splitlines()[0]}") from None


def run_graph(graph: Any, batches: Iterable[Batch], threads: int = 0) -> Iterator[Array]:
    """The first output of a graph for each batch; `graph` is a path, bytes or a session of `open_graph`."""
    session = open_graph(graph, threads) if isinstance(graph, Path | bytes) else graph
    wanted = [given.name for given in session.get_inputs()]
    for batch in batches:
        missing = sorted(set(wanted) - set(batch))
        if missing:
            raise UserError(f"the graph wants an input called {missing[0]}: only {', '.join(batch)} can be given.")
        yield session.run(None, {name: batch[name] for name in wanted})[0]


def run_model(model: StudentPreTrainedModel, batches: Iterable[Batch]) -> Iterator[Array]:
    """The checkpoint's own answer for each batch: logits, or the last hidden state without a head."""
    model.train(False)
    with torch.inference_mode():
        for batch in batches:
            answer = model(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()})
            yield next(iter(answer.values())).numpy()


def text_batches(
    tokenizer: Any, texts: Sequence[Text], *, batch_size: int = 16, maximum_length: int = 128
) -> list[dict[str, Array]]:
    """Tokenised texts, padded to the longest of their batch, cut at `maximum_length` tokens."""
    batches = []
    for start in range(0, len(texts), batch_size):
        part = texts[start : start + batch_size]
        first = [text if isinstance(text, str) else text[0] for text in part]
        second = None if isinstance(part[0], str) else [text[1] for text in part]
        tokens = tokenizer(first, second, padding=True, truncation=True, max_length=maximum_length, return_tensors="np")
        ids = np.asarray(tokens["input_ids"], dtype=np.int64)
        mask = np.asarray(tokens["attention_mask"], dtype=np.int64)
        types = np.asarray(tokens.get("token_type_ids", np.zeros_like(ids)), dtype=np.int64)
        batches.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
    return batches


RANDOM_SHAPES = ((1, 8), (3, 33), (4, 128), (1, 1))
"""Batch sizes and sequence lengths of random verification inputs."""


def random_batches(spec: StudentSpec, seed: int = 0) -> list[dict[str, Array]]:
    """Random ids and token types in several shapes, every example but the first of a batch padded at the end."""
    rng = np.random.default_rng(seed)
    batches = []
    for batch_size, longest in RANDOM_SHAPES:
        shape = (batch_size, min(longest, spec.maximum_positions))
        lengths = rng.integers(1, shape[1] + 1, size=(batch_size, 1))
        lengths[0] = shape[1]
        batches.append(
            {
                "input_ids": rng.integers(0, spec.vocabulary_size, shape),
                "attention_mask": (np.arange(shape[1]) < lengths).astype(np.int64),
                "token_type_ids": rng.integers(0, spec.token_types, shape),
            }
        )
    return batches


AGREEMENTS: Registry[Callable[[Array, Array], Array]] = Registry("head")
"""Head kind → (model's answers, file's answers) [batch, …] → bool [batch]."""


@AGREEMENTS.register("classification")
def _same_label(reference: Array, answer: Array) -> Array:
    return np.asarray(reference.argmax(axis=-1) == answer.argmax(axis=-1))


@AGREEMENTS.register("regression")
def _close(reference: Array, answer: Array) -> Array:
    near = np.abs(reference - answer) <= TOLERANCE * max(float(reference.std()), 1e-3)
    return np.asarray(near.all(axis=-1))


@AGREEMENTS.register("none")
def _same_direction(reference: Array, answer: Array) -> Array:
    one, other = (values.reshape(len(values), -1).astype(np.float64) for values in (reference, answer))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) >= COSINE * lengths)


def compare(references: Iterable[Array], answers: Iterable[Array], head: HeadKind) -> Parity:
    """Parity of answers that were given batch by batch; answers that are not finite count as infinitely wrong."""
    error = largest = 0.0
    agreeing: list[Array] = []
    for reference, answer in zip(references, answers, strict=True):
        difference = np.abs(reference - answer)
        error = max(error, float(difference.max()) if np.isfinite(difference).all() else float("inf"))
        largest = max(largest, float(np.abs(reference).max()))
        agreeing.append(AGREEMENTS[head](reference, answer))
    agreed = np.concatenate(agreeing)
    return Parity(error, float(agreed.mean()), largest, len(agreed))


def verify(model: StudentPreTrainedModel, graph: Path | bytes, batches: Sequence[Batch]) -> Parity:
    """Run the checkpoint in PyTorch and the graph in ONNX Runtime over the same batches and compare the answers."""
    return compare(run_model(model, batches), run_graph(graph, batches), model.config.spec_object.head.kind)
