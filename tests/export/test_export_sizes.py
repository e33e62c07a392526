"""A file is never larger than was foretold, and hardly smaller."""

from dataclasses import replace

import numpy as np
import pytest

from export.form import DEFAULT_FORMS, Form
from export.graph import student_graph
from export.sizes import file_bytes
from export.weights import USUAL_RANGES, module_weights
from students.layer_types import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, TransformerLayer
from students.model import build_student
from students.space import space
from students.spec import Head, HeadKind, StudentSpec

SLACK = 60_000
"""Bytes a file may have less, beside a hundredth."""

LAYERS = (TransformerLayer(2, 32, 64), FeedForwardLayer(96, 2), BottleneckLayer(16, 2, 32, 48), ConvolutionLayer(3, 80))


def seen(spec: StudentSpec) -> None:
    weights = module_weights(build_student(spec))
    for form in (*DEFAULT_FORMS, Form("portable", "int8-static")):
        written = student_graph(spec, weights, form, {"labels": "x" * 1000}, ranges=USUAL_RANGES).ByteSize()
        assert written <= file_bytes(spec, form.precision) <= 1.01 * written + SLACK, (form, spec)


@pytest.mark.parametrize("name", ["hybrid", "autotinybert-kd", "compact"])
def test_members_of_spaces(name: str) -> None:
    members = space(name)
    codes = members.sample(3, np.random.default_rng(0))
    rest = {"vocabulary_size": 900, "maximum_positions": 64, "token_types": 2, "head": Head("classification", 7)}
    for spec in members.decode(codes, **rest):
        seen(spec)


@pytest.mark.parametrize("kind", ["none", "tokens", "spans", "masked-lm"])
def test_every_layer_type_under_other_heads(kind: HeadKind) -> None:
    spec = StudentSpec(24, 48, LAYERS, vocabulary_size=700, maximum_positions=64, head=Head(kind))
    seen(spec)
    seen(replace(spec, embedding_width=48))


def test_layers_that_share() -> None:
    layers = (TransformerLayer(2, 32, 64),) * 2 + (ConvolutionLayer(3, 80),) * 2
    seen(StudentSpec(24, 48, layers, vocabulary_size=700, maximum_positions=64, sharing=(0, 0, 2, 2)))
