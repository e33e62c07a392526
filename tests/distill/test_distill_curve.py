"""Learning curves: the best state is the one that is kept, and a run that ended early stays ended."""

from collections.abc import Callable
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


def run(
    taught: Lesson,
    folder: Path,
    patience: int | None,
    scores: dict[int, float] = SCORES,
    progress: Progress | None = None,
) -> tuple[Curve, list[int]]:
    """A run whose scores are known beforehand, and where it was judged now; a score that lacks ends it like a kill."""
    judged: list[int] = []

    def judge() -> tuple[float, float]:
        judged.append((curve.points[-1].step if curve.points else 0) + 10)
        return scores[judged[-1]], 0.0

    curve = Curve(folder, taught.student, judge, patience)
    progress = progress or Progress(quiet=True)
    train(taught, batches(), SETTINGS, folder, label="", progress=progress, checkpoint_steps=10, curve=curve)
    return curve, judged


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


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "harm", "from_step"),
    [
        ("checkpoint-40/model.safetensors", cut, 30),
        ("checkpoint-40/model.safetensors", spoil, 30),
        ("checkpoint-40/optimizer.pt", spoil, 30),
        ("checkpoint-40/optimizer.pt", Path.unlink, 30),
        ("checkpoint-40/complete", cut, 30),
        ("best.safetensors", cut, 0),
        ("best.safetensors", Path.unlink, 0),
        ("curve.json", cut, 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    name: str, harm: Callable[[Path], None], from_step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed, again = lesson(), lesson(), lesson()
    expected, _ = run(whole, tmp_path / "whole", None)
    with pytest.raises(KeyError, match="50"):
        run(killed, tmp_path / "broken", None, {step: SCORES[step] for step in (10, 20, 30, 40)})
    assert sorted(path.name for path in (tmp_path / "broken").glob("ch*")) == ["checkpoint-30", "checkpoint-40"]
    harm(tmp_path / "broken" / name)
    capsys.readouterr()
    curve, judged = run(again, tmp_path / "broken", None, progress=Progress())
    assert judged == [step for step in SCORES if step > from_step]
    assert curve.points == expected.points and same(weights(whole), weights(again))
    begins = f"it goes on from step {from_step}" if from_step else "it begins anew"
    assert begins in capsys.readouterr().err


def test_nothing_is_said_of_a_checkpoint_that_is_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyError, match="50"):
        run(lesson(), tmp_path, None, {step: SCORES[step] for step in (10, 20, 30, 40)})
    (tmp_path / "checkpoint-40" / "complete").unlink()
    capsys.readouterr()
    _, judged = run(lesson(), tmp_path, None, progress=Progress())
    assert judged == [40, 50, 60]
    assert "damaged" not in capsys.readouterr().err
