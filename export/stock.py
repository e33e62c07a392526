"""A student as a stock BERT folder, which plain `transformers` loads without anything of ours."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertModel, PreTrainedModel

from export.builder import Array
from export.verify import Batch, random_batches
from runs.errors import UserError
from runs.files import folder_atomic, read_json
from students.bert import LANGUAGE_ACTIVATION, bert_config, bert_from_student, load_model
from students.bert_heads import LANGUAGE_MODELS
from students.model import StudentPreTrainedModel
from students.spec import StudentSpec, TransformerLayer

STOCK_LIMIT = 1e-5
"""Largest difference the folder's answers may show, for answers of up to 1; for larger ones it grows with them."""

MARK = "made_by"
MAKER = "tailorbird"
"""What `config.json` says under `MARK`, so that a folder of ours can be told from a user's own model."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def write_stock(checkpoint: Path, output: Path) -> Path:
    """Write the student or BERT in `checkpoint` as a stock BERT folder at `output`, and return `output`.

    The folder holds `config.json` with `model_type` bert and the labels, the weights as safetensors, and the files of
    the tokenizer as they are in the checkpoint. Layers that share weights are written out one by one; an encoder
    without a head has no pooler, since students have none. The folder is loaded again and compared with the checkpoint
    on random ids before it is put in place.

    Raises `UserError` for a checkpoint that is none, a student that stock BERT cannot express, an output in use, and
    answers that differ by more than `STOCK_LIMIT`.
    """
    _check_output(output, checkpoint)
    student = load_model(checkpoint)
    spec = student.config.spec_object
    if bert_config(spec) is None:
        raise UserError(f"{checkpoint} cannot be written as stock BERT: {obstacle(spec)}.")
    stock = bert_from_student(student)
    setattr(stock.config, MARK, MAKER)
    with folder_atomic(output) as scratch:
        stock.save_pretrained(scratch)
        for name in TOKENIZER_FILES:
            if (checkpoint / name).is_file():
                shutil.copy(checkpoint / name, scratch / name)
        _verify(student, type(stock), scratch, output)
    return output


def obstacle(spec: StudentSpec) -> str:
    """The first thing in a spec that a `BertConfig` has no number for, in the spec's own terms."""
    return next(_obstacles(spec), f"BERT has no {spec.head.kind} head of this kind")


def _obstacles(spec: StudentSpec) -> Iterator[str]:
    first = spec.layers[0]
    if spec.embedding_width != spec.hidden_width:
        widths = f"an embedding_width of {spec.embedding_width} under a hidden_width of {spec.hidden_width}"
        yield f"it has {widths}, BERT has one width"
    for index, layer in enumerate(spec.layers):
        if not isinstance(layer, TransformerLayer):
            yield f"layer {index} is a {layer.type} layer, BERT has transformer layers alone"
        elif layer.qkv_width != spec.hidden_width:
            yield (
                f"layer {index} has a qkv_width of {layer.qkv_width} under a hidden_width of {spec.hidden_width}, "
                "BERT has one width"
            )
        elif isinstance(first, TransformerLayer) and layer != first:
            yield f"layer {index} differs from layer 0 in {_difference(first, layer)}, BERT's layers are all alike"
        elif spec.head.kind in LANGUAGE_MODELS and layer.activation != LANGUAGE_ACTIVATION:
            yield (
                f"layer {index} has the activation {layer.activation}, under a {spec.head.kind} head BERT needs "
                f"{LANGUAGE_ACTIVATION}, since its head has the same as its layers"
            )


def _difference(first: TransformerLayer, other: TransformerLayer) -> str:
    for name in ("heads", "ffn_width", "activation"):
        here, there = getattr(other, name), getattr(first, name)
        if here != there:
            return f"{name} ({here}, there {there})"
    return "qkv_width"


def _check_output(output: Path, checkpoint: Path) -> None:
    """Raise `UserError` unless `output` is new, empty, or a stock folder of our making."""
    if output.resolve() == checkpoint.resolve():
        raise UserError(f"{output} is the checkpoint itself: name another folder for the stock model.")
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: name a folder for the stock model.")
    if not output.exists() or not any(output.iterdir()):
        return
    config = output / "config.json"
    settings = read_json(config, "model's config") if config.is_file() else None
    if not isinstance(settings, dict) or settings.get(MARK) != MAKER:
        raise UserError(f"the folder {output} holds something else: name a new or empty folder.")


def _verify(student: StudentPreTrainedModel, kind: type[PreTrainedModel], folder: Path, output: Path) -> None:
    """Compare the saved folder's answers with the student's; `output` is what messages call it."""
    loader: Any = kind
    # Told so, an encoder does not draw a pooler that the folder lacks.
    without_pooler = {"add_pooling_layer": False} if kind is BertModel else {}
    saved = loader.from_pretrained(folder, dtype=torch.float32, **without_pooler).eval()
    for batch in random_batches(student.config.spec_object):
        # What is said about padding is nobody's concern, and not the same: causal models number places differently.
        for reference, answer in zip(_answers(student, batch), _answers(saved, batch), strict=False):
            difference = float(np.abs(reference - answer).max())
            limit = STOCK_LIMIT * max(1.0, float(np.abs(reference).max()))
            if not difference <= limit:
                raise UserError(
                    f"{output} would differ from the checkpoint by {difference:.2g}, more than {limit:.2g}: "
                    "nothing was written; check the checkpoint for weights that are not finite."
                )


def _answers(model: PreTrainedModel, batch: Batch) -> list[Array]:
    """Every output of a model that is a tensor, in order, without padding where it goes token by token."""
    with torch.inference_mode():
        answered = model(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()})
    real = batch["attention_mask"] != 0
    tensors = [value.numpy() for value in answered.values() if isinstance(value, torch.Tensor)]
    return [value[real] if value.shape[:2] == real.shape else value for value in tensors]
