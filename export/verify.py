"""Whether an ONNX file answers what its checkpoint answers: both are run, on real texts or on random ids."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from export.agreement import AGREEMENTS as AGREEMENTS
from export.agreement import Parity as Parity
from export.agreement import compare as compare
from export.builder import Array
from export.generation import keeps_cache, run_through_cache
from runs.errors import UserError
from students.model import StudentPreTrainedModel
from students.spec import StudentSpec

Batch = Mapping[str, Array]
"""`input_ids`, `attention_mask`, `token_type_ids`, int64 [batch, sequence]."""

Text = str | tuple[str, str]
"""A text, or a pair of texts for tasks over pairs."""

ERRORS_ONLY = 3

SPANS = ("start_logits", "end_logits")
"""Answers that are two tensors: they are given side by side, [batch, sequence, 2]."""


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
    """A graph's answer for each batch; `graph` is a path, bytes or a session of `open_graph`.

    That is its first output, start and end logits of spans side by side, and of a causal graph the logits of texts that
    were fed through its cache in pieces.
    """
    session = open_graph(graph, threads) if isinstance(graph, Path | bytes) else graph
    wanted = [given.name for given in session.get_inputs()]
    names = [value.name for value in session.get_outputs()]
    causal = keeps_cache(session)
    for batch in batches:
        if causal:
            if batch["token_type_ids"].any():
                raise UserError("a causal graph knows single texts alone: give no pairs of texts.")
            yield run_through_cache(session, batch["input_ids"], batch["attention_mask"])
            continue
        missing = sorted(set(wanted) - set(batch))
        if missing:
            raise UserError(f"the graph wants an input called {missing[0]}: only {', '.join(batch)} can be given.")
        feed = {name: batch[name] for name in wanted}
        yield _joined(dict(zip(names, run_in_shape(session, feed), strict=True)))


def run_in_shape(session: Any, feed: Batch) -> list[Array]:
    """A session's outputs for a batch of any shape, also where its axes are fixed.

    Texts are then run as many at a time as the graph takes, the last with repeats, and filled up with padding; what was
    made of padding is taken out again. `UserError` for texts longer than the graph takes.
    """
    given = session.get_inputs()[0]
    if not any(isinstance(axis, int) for axis in given.shape[:2]):
        return list(session.run(None, dict(feed)))
    texts, longest = feed[given.name].shape[:2]
    size, length = (
        axis if isinstance(axis, int) else own for axis, own in zip(given.shape[:2], (texts, longest), strict=True)
    )
    if longest > length:
        raise UserError(f"the graph takes texts of {length} tokens, and one has {longest}: cut them at {length}.")
    places = np.minimum(np.arange(-(-texts // size) * size), texts - 1).reshape(-1, size)
    filled = {name: np.pad(values, ((0, 0), (0, length - longest))) for name, values in feed.items()}
    runs = [session.run(None, {name: values[rows] for name, values in filled.items()}) for rows in places]
    whole = [np.concatenate(parts)[:texts] for parts in zip(*runs, strict=True)]
    by_token = {
        number for number, made in enumerate(session.get_outputs()) if made.name in SPANS or len(made.shape) > 2
    }
    return [values[:, :longest] if number in by_token else values for number, values in enumerate(whole)]


def _joined(answers: Mapping[str, Array]) -> Array:
    if all(name in answers for name in SPANS):
        return np.stack([answers[name] for name in SPANS], axis=-1)
    return next(iter(answers.values()))


def run_model(model: StudentPreTrainedModel, batches: Iterable[Batch]) -> Iterator[Array]:
    """The checkpoint's own answer for each batch: logits, or the last hidden state without a head.

    Those of spans are start and end logits side by side, as in `run_graph`.
    """
    model.train(False)
    with torch.inference_mode():
        for batch in batches:
            answer = model(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()})
            yield _joined({name: value.numpy() for name, value in answer.items() if torch.is_tensor(value)})


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
    """Random ids and token types in several shapes, every example but the first of a batch padded at the end.

    Causal graphs know one type of token alone, so theirs are all 0.
    """
    types = 1 if spec.head.kind == "causal-lm" else spec.token_types
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
                "token_type_ids": rng.integers(0, types, shape),
            }
        )
    return batches


def verify(model: StudentPreTrainedModel, graph: Path | bytes, batches: Sequence[Batch]) -> Parity:
    """Run the checkpoint in PyTorch and the graph in ONNX Runtime over the same batches and compare the answers."""
    masks = [batch["attention_mask"] for batch in batches]
    return compare(run_model(model, batches), run_graph(graph, batches), model.config.spec_object.head.kind, masks)
