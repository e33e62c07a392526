"""Contract of every objective: padding never leaks into it, it is least where student and teacher agree, it teaches."""

from dataclasses import replace

import pytest
import torch

from distill.batches import Batch
from distill.features import Features, extract
from distill.lesson import Lesson
from distill.objectives import OBJECTIVES, AnswerObjective, LayerObjective, Match, relation_heads
from distill.recipe import Term
from students.model import StudentPreTrainedModel, build_student
from students.spec import Head, uniform_spec

ALL = frozenset({"hidden_states", "attention_scores", "queries", "keys", "values"})
TEACHER = uniform_spec(4, 24, 4, 48, vocabulary_size=30, maximum_positions=20, head=Head("classification", 3))
STUDENT = uniform_spec(2, 16, 2, 32, vocabulary_size=30, maximum_positions=20, head=Head("classification", 3))


def make_batch(padding: int = 0, filler: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 30, (3, 7), generator=generator)
    mask = torch.ones_like(ids)
    ids[1, 5:], mask[1, 5:] = filler, 0
    ids = torch.nn.functional.pad(ids, (0, padding), value=filler)
    mask = torch.nn.functional.pad(mask, (0, padding))
    labels = torch.tensor([0, 2, 1])
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids), "labels": labels}


def sharp(spec: object, seed: int) -> StudentPreTrainedModel:
    """Random weights large enough that answers differ from example to example."""
    model = build_student(spec, seed)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 8
    return model


def loss_between(name: str, student: Features, teacher: Features, labels: torch.Tensor) -> torch.Tensor:
    objective = OBJECTIVES[name]
    if isinstance(objective, AnswerObjective):
        return objective.loss(student, teacher.logits, labels, 2.0)
    projected = student.hidden_states[2]
    if teacher.hidden_states[0].shape[-1] != projected.shape[-1]:
        generator = torch.Generator().manual_seed(1)
        projected = projected @ torch.randn(
            projected.shape[-1], teacher.hidden_states[0].shape[-1], generator=generator
        )
    return objective.loss(student, teacher, Match(1, (1,), projected if objective.projects else None))


@pytest.mark.parametrize("name", OBJECTIVES.names())
class TestObjective:
    def test_padding_does_not_leak(self, name: str) -> None:
        teacher, student = sharp(TEACHER, 0), sharp(STUDENT, 1)
        losses = []
        for batch in (make_batch(), make_batch(padding=6), make_batch(padding=6, filler=9)):
            losses.append(
                loss_between(name, extract(student, batch, ALL), extract(teacher, batch, ALL), batch["labels"]).item()
            )
        assert losses[0] > 1e-3
        assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-4)

    def test_garbage_features_at_padding_do_not_leak(self, name: str) -> None:
        teacher, student = sharp(TEACHER, 0), sharp(STUDENT, 1)
        batch = make_batch(padding=4)
        mask = batch["attention_mask"].bool()
        seen = extract(student, batch, ALL)

        def spoil(layers: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return tuple(torch.where(mask[..., None], layer, 7.0) for layer in layers)

        spoilt = replace(
            seen,
            **{part: spoil(getattr(seen, part)) for part in ("hidden_states", "queries", "keys", "values")},
            attention_scores=tuple(
                torch.where((mask[:, :, None] & mask[:, None, :])[:, None], scores, 7.0)
                for scores in seen.attention_scores
            ),
        )
        theirs = extract(teacher, batch, ALL)
        clean = loss_between(name, seen, theirs, batch["labels"])
        assert loss_between(name, spoilt, theirs, batch["labels"]).item() == pytest.approx(clean.item(), rel=1e-5)

    def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it(self, name: str) -> None:
        model = sharp(TEACHER, 0)
        features = extract(model, make_batch(), ALL)
        labels = features.logits.argmax(-1)
        objective = OBJECTIVES[name]
        if isinstance(objective, LayerObjective) and objective.projects:
            same = objective.loss(features, features, Match(1, (1,), features.hidden_states[2]))
        else:
            same = loss_between(name, features, features, labels)
        other = extract(sharp(TEACHER, 5), make_batch(), ALL)
        assert same.item() < loss_between(name, other, features, labels).item()
        if isinstance(objective, LayerObjective) or objective.needs_teacher:
            assert same.item() == pytest.approx(0, abs=1e-5)

    def test_descending_it_lowers_it(self, name: str) -> None:
        teacher, student = sharp(TEACHER, 0), build_student(STUDENT, 1)
        batch = {**make_batch(), "share_done": torch.tensor(0.0)}
        batch["teacher_logits"] = teacher(**make_batch()).logits.detach()
        lesson = Lesson(student, (Term(name, matching="uniform"),), teacher)
        optimizer = torch.optim.Adam(lesson.parameters(), lr=3e-3)
        losses = []
        for _ in range(25):
            loss = lesson(**batch)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]
        assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize(("student", "teacher", "heads"), [(384, 384, 12), (312, 384, 12), (320, 384, 8), (7, 384, 1)])
def test_relation_heads_divide_both_widths(student: int, teacher: int, heads: int) -> None:
    assert relation_heads(student, teacher) == heads


def test_terms_act_in_their_share_of_the_run_only() -> None:
    student = build_student(STUDENT, 1)
    lesson = Lesson(student, (Term("labels", end=0.5), Term("labels", weight=3.0, start=0.5)))
    early, late = (lesson(**make_batch(), share_done=torch.tensor(share))["loss"].item() for share in (0.2, 0.5))
    assert late == pytest.approx(3 * early, rel=1e-5)
