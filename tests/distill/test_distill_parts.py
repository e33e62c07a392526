"""Steps in parts: whatever a loss is the mean over, the parts of a batch teach together what the whole batch does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_lessons import LENGTHS, gradient, small_batch, small_lesson
from torch import Tensor

from distill.distillation import Distilled, distil
from distill.examples import Task
from distill.kinds import KINDS
from distill.objectives import OBJECTIVES
from distill.parts import parts_of
from distill.recipe import Term
from distill.recipe_file import RECIPES
from distill.teachers import Teacher
from students.bert import load_model
from students.spec import StudentSpec, TransformerLayer

ACROSS_TEXTS = ("rkd-distance", "rkd-angle", "logits-dist")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32, in which sums differ by rounding alone."""
    monkeypatch.setattr("distill.lesson.mixed_precision", lambda device: torch.autocast(device.type, enabled=False))


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES.names() if name not in ACROSS_TEXTS])
@pytest.mark.parametrize("kind", KINDS.names())
def test_parts_add_up_to_the_whole(kind: str, objective: str) -> None:
    taught, whole = small_lesson(kind, Term(objective)), small_batch(kind)
    loss, wanted = gradient(taught, [whole])
    for accumulate, processes in ((2, 1), (1, 2), (3, 2)):
        parts = [part for rank in range(processes) for part in parts_of(taught, whole, accumulate, rank, processes)]
        assert sum(len(part["input_ids"]) for part in parts) == len(LENGTHS)
        found, got = gradient(taught, parts)
        assert found == pytest.approx(loss, rel=1e-4, abs=1e-6)
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("objective", ACROSS_TEXTS)
def test_what_looks_across_texts_sees_those_of_its_part(objective: str) -> None:
    taught, whole = small_lesson("classification", Term(objective)), small_batch("classification")
    _, wanted = gradient(taught, [whole])
    _, got = gradient(taught, parts_of(taught, whole, 2))
    assert got.isfinite().all() and not torch.allclose(got, wanted)


def test_a_process_without_a_text_adds_nothing() -> None:
    taught, whole = small_lesson("classification", Term("logits")), small_batch("classification", texts=1)
    shares = [parts_of(taught, whole, 2, rank, 2) for rank in range(2)]
    assert [len(parts) for parts in shares] == [1, 1]
    loss, wanted = gradient(taught, [whole])
    found, got = gradient(taught, shares[0])
    assert found == pytest.approx(loss) and torch.allclose(got, wanted)
    found, got = gradient(taught, shares[1])
    assert found == 0.0 and not got.any()


def test_accumulated_batches_are_one_large_batch(
    teacher: Teacher, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = teacher.model().config.spec_object
    spec: StudentSpec = replace(own, embedding_width=16, hidden_width=16, layers=(TransformerLayer(2, 16, 24),))
    tiny = RECIPES["tinybert"]
    found: list[tuple[Distilled, Tensor]] = []
    for size, accumulate in ((16, 1), (8, 2)):
        optimization = replace(tiny.optimization, batch_size=size, accumulate=accumulate, epochs=2, minimum_steps=1)
        recipe = replace(tiny, optimization=optimization)
        done = distil(spec, teacher, task, recipe, tmp_path / str(accumulate))
        found.append((done, torch.cat([p.detach().flatten() for p in load_model(done.folder).parameters()])))
    (whole, wanted), (accumulated, got) = found
    assert whole.steps == accumulated.steps == 2 * -(-len(task.train) // 16)
    assert accumulated.loss == pytest.approx(whole.loss, rel=1e-3)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-3
