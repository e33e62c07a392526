"""What people read of a distillation: every score, what was kept, and a word on uneven classes."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.tasks import load_task
from nas.verdict import Scores
from runs.progress import Progress
from tailorbird import commands, render


def shown(capsys: pytest.CaptureFixture[str], scores: dict[str, tuple[float, float]], words: float, **data: Any) -> str:
    """The printed result of (teacher, student) scores, the metric first."""
    metric = next(iter(scores))
    render.distilled(
        {
            "score": Scores(metric, *scores[metric], words).to_json(),
            "scores": {
                "teacher": {name: pair[0] for name, pair in scores.items()},
                "student": {name: pair[1] for name, pair in scores.items()},
            },
            "data": {"name": "tiny", **data},
            "student": "here/student",
        }
    )
    return capsys.readouterr().out


def row(text: str, model: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.strip("│ ").startswith(model))
    return [cell.strip() for cell in line.strip("│ ").split("│")][1:]


def test_classes(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, {"accuracy": (0.9, 0.88), "macro_f1": (0.8, 0.7)}, 0.8, imbalance=7.25)
    assert row(text, "teacher") == ["90.0 %", "80.0 %"] and row(text, "student") == ["88.0 %", "70.0 %"]
    assert row(text, "bag-of-words") == ["80.0 %", "–"]
    assert "Kept: 97.8 % of the teacher's accuracy, 80.0 % of the gap from bag-of-words to teacher." in text
    assert "7.2 times as many training examples" in text
    assert "uneven" not in shown(capsys, {"accuracy": (0.9, 0.88)}, 0.8, imbalance=1.2)


def test_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, {"pearson": (0.9, 0.8), "spearman": (0.87654, -0.1), "rmse": (12.3456, 20.0)}, 0.95)
    assert row(text, "teacher") == ["0.9", "0.8765", "12.35"] and row(text, "student") == ["0.8", "-0.1", "20"]
    assert "bag-of-words matches the teacher, so the task decides nothing" in text and "uneven" not in text


def test_words(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, {"inverse_perplexity": (0.1, 0.08), "perplexity": (10.0, 12.5)}, 0.05, imbalance=None)
    assert row(text, "student") == ["0.08", "12.5"] and row(text, "bag-of-words") == ["0.05", "20"]


def test_a_teacher_that_knows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the teacher's f1 is 0" in shown(capsys, {"f1": (0.0, 0.1), "exact_match": (0.0, 0.0)}, 0.0)


def test_the_command_prints_them(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world.data.open(newline="") as source:
        rows = list(csv.DictReader(source))
    few = [one for one in rows if one["label"] == "positive"][:40] + [one for one in rows if one["label"] != "positive"]
    with (tmp_path / "data.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, ["text", "label"])
        writer.writeheader()
        writer.writerows(few)
    flags = {"student": "bert-tiny", "teacher": world.teacher, "data": tmp_path / "data.csv", "epochs": 0.5}
    words = ["distill-student", *(str(part) for name, value in flags.items() for part in (f"--{name}", value))]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        commands.distill_student_main()
    out = capsys.readouterr().out
    assert end.value.code == 0 and len(row(out, "teacher")) == 2
    imbalance = load_task(str(tmp_path / "data.csv"), Progress(quiet=True)).imbalance
    assert imbalance is not None and imbalance > 4
    assert "macro_f1" in out and f"{imbalance:.1f} times as many training examples" in out
