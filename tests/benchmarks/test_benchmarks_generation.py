"""The benchmark of writing on: it counts equal texts, and says where others part."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from runs.errors import UserError
from runs.progress import Progress
from students.model import build_student
from students.spec import Head, uniform_spec

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import generation as script  # noqa: E402

BEGUN = [np.array([[3, 9, 4]]), np.array([[7]])]


@pytest.fixture
def writer() -> torch.nn.Module:
    model = build_student(uniform_spec(1, 16, 2, 32, head=Head("causal-lm"), vocabulary_size=40, maximum_positions=24))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    return model


def test_what_both_write_is_equal(writer: torch.nn.Module) -> None:
    found = script.compare(writer, BEGUN, 6, Progress(quiet=True))
    assert set(found) == {"portable", "onnxruntime"}
    assert all(one == {"equal": 2, "partings": []} for one in found.values())


def test_what_is_not_equal_is_counted(writer: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = script.generate_greedily

    def wrong(session: object, ids: np.ndarray, mask: np.ndarray, steps: int) -> np.ndarray:
        written = honest(session, ids, mask, steps)
        if ids.shape[1] == 1:
            written[0, 4] += 1
        return written

    monkeypatch.setattr(script, "generate_greedily", wrong)
    found = script.compare(writer, BEGUN, 6, Progress(quiet=True))
    assert all(one == {"equal": 1, "partings": [4]} for one in found.values())


def test_too_few_texts_are_said() -> None:
    with pytest.raises(UserError, match="there are 1 texts to begin with, and --prompts is 2"):
        script.prompts(lambda text, **more: {"input_ids": [1] * len(text)}, ["abc", ""], 2, 16)
