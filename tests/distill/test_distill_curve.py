"""Learning curves: the best state is the one that is kept, and a run that ended early stays ended."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.batches import Encoded, PlannedBatches, plan_batches
from distill.curve import Curve
from distill.lesson import Lesson
from distill.recipe import Optimization, Term
from distill.trainer import train
from runs.progress import Progress
from students.model import build_student
from students.spec import Head, uniform_spec

SPEC = uniform_spec(1, 8, 2, 16, vocabulary_size=20, maximum_positions=8, head=Head("classification", 2))
SCORES = {10: 0.5, 20: 0.9, 30: 0.9, 40: 0.7, 50: 0.8, 60: 0.95}
SETTINGS = Optimization(learning_rate=1e-2, epochs=1, batch_size=4)


def lesson() -> Lesson:
    return Lesson(build_student(SPEC, 1), (Term("labels"),))


def batches() -> PlannedBatches:
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 20, size=16 * 5).astype(np.int32)
    offsets = np.arange(17, dtype=np.int64) * 5
    encoded = Encoded(ids, np.zeros_like(ids, dtype=np.int8), offsets, rng.integers(0, 2, size=16), 0)
    return PlannedBatches(encoded, plan_batches(encoded.lengths, 4, 60, 0))


def run(taught: Lesson, folder: Path, patience: int | None) -> tuple[Curve, list[int]]:
    """A run whose scores are known beforehand, and at which points it was judged now."""
    judged: list[int] = []

    curve = Curve(folder, taught.student, lambda: (SCORES[_next(curve, judged)], 0.0), patience)
    train(
        taught, batches(), SETTINGS, folder, label="", progress=Progress(quiet=True), checkpoint_steps=10, curve=curve
    )
    return curve, judged


def _next(curve: Curve, judged: list[int]) -> int:
    step = (curve.points[-1].step if curve.points else 0) + 10
    judged.append(step)
    return step


def weights(taught: Lesson) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in taught.student.parameters()]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_first_of_the_best_states_is_kept(tmp_path: Path) -> None:
    short, whole = lesson(), lesson()
    curve, judged = run(whole, tmp_path / "whole", None)
    assert judged == [10, 20, 30, 40, 50, 60] and curve.best.step == 60
    assert curve.loss == pytest.approx(np.mean([point.loss for point in curve.points]))
    curve, judged = run(short, tmp_path / "short", 2)
    assert judged == [10, 20, 30, 40] and curve.best.step == 20, "an equal score is no better one"
    assert not same(weights(short), weights(whole))


def test_a_run_that_ended_early_does_not_go_on(tmp_path: Path) -> None:
    first, again = lesson(), lesson()
    ended, _ = run(first, tmp_path, 2)
    # Killed before its student was saved, it is begun once more.
    curve, judged = run(again, tmp_path, 2)
    assert judged == [] and curve.points == ended.points
    assert same(weights(first), weights(again))


def test_points_beyond_the_checkpoint_are_taken_again(tmp_path: Path) -> None:
    first, again = lesson(), lesson()
    whole, _ = run(first, tmp_path, None)
    for step in (50, 60):
        (tmp_path / f"checkpoint-{step}" / "complete").unlink(missing_ok=True)
    left = sorted(int(path.parent.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*/complete"))
    curve, judged = run(again, tmp_path, None)
    assert judged == [step for step in SCORES if step > max(left, default=0)]
    assert curve.points == whole.points and same(weights(first), weights(again))
