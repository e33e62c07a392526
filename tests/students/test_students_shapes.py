"""Named shapes against the sizes their papers state (millions of parameters; encoder layers alone in brackets)."""

from dataclasses import replace

import pytest

from students.shapes import SHAPES
from students.spec import Head, StudentSpec

PUBLISHED = {
    "bert-base": (109, None),
    "bert-medium": (41.7, None),
    "bert-small": (29.1, None),
    "bert-mini": (11.3, None),
    "bert-tiny": (4.4, None),
    "distilbert": (66.5, None),
    "tinybert-4": (14.5, None),
    "minilm-l6-h384": (22.7, None),
    "minilm-l12-h384": (33, None),
    "autotinybert-s1": (29.6, 11.8),
    "autotinybert-s2": (16.9, 4.4),
    "autotinybert-s3": (16.7, 3.1),
    "autotinybert-s4": (12.2, 2.2),
    "autotinybert-kd-s1": (29.6, 11.8),
    "autotinybert-kd-s2": (14.2, 4.1),
    "autotinybert-kd-s3": (11.8, 3.0),
    "autotinybert-kd-s4": (9.8, 1.8),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_is_the_published_one(name: str) -> None:
    total, encoder = PUBLISHED[name]
    # Some of the published totals count the pooler, some do not: at most 2.1 % of these.
    spec = replace(SHAPES[name], head=Head("none"))
    assert spec.parameters() / 1e6 == pytest.approx(total, rel=0.025)
    if encoder is not None:
        layers = sum(block.parameters() for block in spec.blocks()[1:])
        assert layers / 1e6 == pytest.approx(encoder, abs=0.1)


@pytest.mark.parametrize("name", SHAPES.names())
def test_shape_survives_json(name: str) -> None:
    assert StudentSpec.from_json(SHAPES[name].to_json()) == SHAPES[name]
