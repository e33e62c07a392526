"""Principal components of what feed-forwards are given, beside the plain way to count them."""

from typing import Any

import numpy as np
import pytest
import torch

from distill.classroom import classroom
from distill.components import principal_components
from distill.examples import Task
from distill.teachers import Teacher
from students.layer_types import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, TransformerLayer
from students.model import build_student, encoder_of
from students.spec import Head, Layer, StudentSpec

LAYERS: dict[str, Layer] = {
    "transformer": TransformerLayer(2, 8, 40),
    "feed-forward": FeedForwardLayer(24, 2),
    "convolution": ConvolutionLayer(3, 20),
    "bottleneck": BottleneckLayer(8, 2, 8, 12, 2),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_it_is_the_plain_count(kind: str, share: float, teacher: Teacher, task: Task) -> None:
    room = classroom(teacher, task)
    of = teacher.model().config.spec_object
    spec = StudentSpec(
        16, 16, (LAYERS[kind], TransformerLayer(2, 8, 24)), vocabulary_size=of.vocabulary_size,
        maximum_positions=of.maximum_positions, token_types=of.token_types, head=Head("classification", 2),
    )  # fmt: skip
    torch.manual_seed(0)
    student = build_student(spec, label_names=("a", "b")).train()
    seen: dict[str, list[Any]] = {}
    for name, module in encoder_of(student).named_modules():
        if name.rpartition(".")[2] == "expand":
            module.register_forward_hook(lambda module, given, made, name=name: seen.setdefault(name, []).append(made))
    found = principal_components(student, room.train, share)
    assert student.training and set(found) == set(seen) and len(found) >= 2
    # The same once more, text by text, with nothing to leave out.
    seen.clear()
    student.eval()
    for row in range(len(room.train)):
        batch = room.train.batch(np.array([row]))
        encoder_of(student)(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    for name, made in seen.items():
        values = torch.cat([one.detach().flatten(0, 1) for one in made]).double().numpy()
        variances = np.clip(np.linalg.eigvalsh(np.cov(values.T, bias=True))[::-1], 0, None)
        held = np.cumsum(variances) / variances.sum()
        if share < 1:
            assert found[name] == int((held < share).sum()) + 1
        assert 1 <= found[name] <= min(values.shape[1], 17)
    counts = [principal_components(student, room.train, one) for one in (0.3, 0.9, 0.999)]
    assert all(a[name] <= b[name] for a, b in zip(counts, counts[1:], strict=False) for name in found)
