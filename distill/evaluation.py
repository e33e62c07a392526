"""How well a model answers: logits over a split, accuracy, and divergence from a teacher's answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distill.batches import Encoded, encode, evaluation_batches
from distill.examples import Split
from distill.numerics import mixed_precision, training_device

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Score in 0 to 1 by `metric`, and the logits [n, labels] it comes from, in the split's order."""

    score: float
    logits: Logits
    metric: str = "accuracy"


def accuracy(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    """Share of examples whose largest logit is the label's."""
    return float(np.mean(logits.argmax(-1) == labels))


def divergence(logits: Logits, teacher_logits: Logits) -> float:
    """Mean KL(teacher ‖ student) in nats, at temperature 1."""
    ours, theirs = (torch.from_numpy(np.array(x)).double().log_softmax(-1) for x in (logits, teacher_logits))
    return float((theirs.exp() * (theirs - ours)).sum(-1).mean())


@torch.no_grad()
def answer(model: Any, encoded: Encoded, mixed: bool = False) -> Logits:
    """Logits [n, labels] of every example in order; `mixed` allows bf16, which is faster and a little coarser."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts = []
    batches = evaluation_batches(encoded.lengths)
    with mixed_precision(device) if mixed else torch.autocast(device.type, enabled=False):
        for indices in batches:
            batch = {name: tensor.to(device) for name, tensor in encoded.batch(indices).items()}
            output = model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
            parts.append(output.logits.float().cpu().numpy())
    model.train(was_training)
    logits = np.concatenate(parts).astype(np.float32)
    restored = np.empty_like(logits)
    restored[np.concatenate(batches)] = logits
    return restored


def evaluate(model: Any, tokenizer: Any, split: Split, maximum_length: int | None = None) -> Evaluation:
    """Answer a split in fp32 on the best device and score it; the model is left where it was.

    Texts are cut at `maximum_length` tokens, by default at the model's number of positions.
    """
    positions: int = model.config.spec_object.maximum_positions
    encoded = encode(tokenizer, split, min(maximum_length or positions, positions))
    home = next(model.parameters()).device
    logits = answer(model.to(training_device()), encoded)
    model.to(home)
    return Evaluation(accuracy(logits, encoded.labels), logits)
