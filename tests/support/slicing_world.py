"""A tiny teacher to be cut, texts for it, and how far a student's answers are from its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from students.importance import importance
from students.model import StudentPreTrainedModel, build_student
from students.slicing import slice_student
from students.spec import Head, StudentSpec, TransformerLayer

LAYER = TransformerLayer(4, 32, 64)
TEACHER = StudentSpec(24, 24, (LAYER,) * 3, vocabulary_size=80, maximum_positions=16, head=Head("classification", 3))


def batches(labels: bool = False, count: int = 6) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    result = []
    for _ in range(count):
        mask = torch.ones(8, 10, dtype=torch.long)
        mask[::2, 6:] = 0
        batch = {"input_ids": torch.randint(80, (8, 10), generator=generator), "attention_mask": mask}
        if labels:
            batch["labels"] = torch.randint(3, (8,), generator=generator)
        result.append(batch)
    return result


def teacher(spec: StudentSpec = TEACHER) -> StudentPreTrainedModel:
    """Random, but with weights large enough for attention and classes to differ."""
    model = build_student(spec, seed=2)
    generator = torch.Generator().manual_seed(3)
    for weight in model.parameters():
        weight.data += 0.15 * torch.randn(weight.shape, generator=generator)
    return model


def distance(model: StudentPreTrainedModel, other: StudentPreTrainedModel) -> float:
    """Mean squared difference of the outputs over the variance of the first's."""
    with torch.inference_mode():
        pairs = [(model(**batch)[0], other(**batch)[0]) for batch in batches()]
        ours, theirs = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    return float((ours - theirs).square().mean() / ours.var())


def cut(spec: StudentSpec, layer_map: Sequence[int], source: StudentPreTrainedModel) -> StudentPreTrainedModel:
    return slice_student(source, spec, importance(source, batches()), layer_map)
