"""Searches that choose their precision: both are tried, and the better answers on validation decide."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_kinds import write, write_bert
from tiny_world import WORKLOAD, make_data, make_profile, make_space, make_teacher

from distill.classroom import classroom
from distill.evaluation import answer
from distill.kinds import KINDS
from distill.recipe import Optimization
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from export.form import Form
from export.student import export_student
from nas.choice import file_score
from nas.groundwork import lay_ground
from nas.schedule import EFFORTS, Effort
from nas.search import SearchSettings, search
from runs.errors import UserError
from runs.files import read_json
from runs.progress import Progress

QUIET = Progress(quiet=True)
TINY = Effort(
    "tiny", episodes=2, candidates=3, steps=4, subset=0.5, finalists=2, distilled=1, final_work=15, pool_size=200
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(EFFORTS._entries, TINY.name, TINY)
    monkeypatch.setattr("nas.device.PROCESSES", 1)
    data, members = make_data(tmp_path / "data.csv"), make_space(tmp_path / "space.yaml")
    return SearchSettings(
        budgets_ms=(2.0,),
        workload=WORKLOAD,
        precision_auto=True,
        target=f"replay:{make_profile(tmp_path / 'profile', members, ('fp32', 'int8'))}",
        teacher=str(make_teacher(tmp_path / "teacher", data)),
        data=str(data),
        space=str(members),
        method="ridge",
        effort=TINY.name,
        output=tmp_path / "run",
    )


def test_the_better_of_two_precisions(settings: SearchSettings, tmp_path: Path) -> None:
    (verdict,) = search(settings, QUIET)
    tried = {row["precision"]: row for row in verdict["tried"]}
    assert set(tried) == {"fp32", "int8"} and all(row["kept"] for row in tried.values())
    best = max(tried.values(), key=lambda row: (row["validation"], -row["measured_ms"]))
    assert verdict["label"] == best["label"] and verdict["workload"]["precision"] == best["precision"]
    both = {name: read_json(tmp_path / f"run/students/2ms-{name}/verdict.json") for name in tried}
    assert both["int8"]["student"]["spec"] != both["fp32"]["student"]["spec"]
    tried_of = {name: one["schedule"] for name, one in both.items()}
    assert tried_of["fp32"]["candidates"] == 4, "they share what one would have"
    assert tried_of["int8"]["candidates"] == 2 and tried_of["int8"]["episodes"] == 1, "it has learnt from the other"
    assert {one["limits"]["file"] for one in both.values()} == {"student.onnx", "student.int8.onnx"}
    flops = {name: one["student"]["parameters"] for name, one in both.items()}
    assert flops["int8"] > flops["fp32"], "twice the work fits into the same milliseconds"
    assert "2ms-int8" in (tmp_path / "run/report.html").read_text()
    assert search(settings, QUIET) == [verdict]

    class Killed(BaseException):
        pass

    class Deadly(Progress):
        """Cuts a search down when it says a word."""

        def __init__(self, word: str) -> None:
            super().__init__(quiet=True)
            self.word = word

        def say(self, text: str) -> None:
            if self.word in text:
                raise Killed

    again = replace(settings, output=tmp_path / "killed")
    for word in ("2ms-int8: tried", "answers best on validation"):
        with pytest.raises(Killed):
            search(again, Deadly(word))
    (after,) = search(again, QUIET)
    for part in ("tried", "label", "score", "latency_ms", "limits", "schedule"):
        assert after[part] == verdict[part], part
    assert after["student"]["spec"] == verdict["student"]["spec"]


def test_a_precision_that_no_student_fits_is_left_out(settings: SearchSettings) -> None:
    said: list[str] = []

    class Telling(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    scorings = lay_ground(settings, QUIET).scorings
    slower, faster = sorted((scoring.fastest(0).predicted_ms for scoring in scorings.values()), reverse=True)
    between = round((slower + faster) / 2, 3)
    ground = lay_ground(replace(settings, budgets_ms=(between, 2.0)), Telling(quiet=True))
    assert [budget.label for budget in ground.budgets] == [f"{between:g}ms-int8", "2ms-fp32", "2ms-int8"]
    assert any("without a precision: no student" in one for one in said)
    with pytest.raises(UserError, match="no student .* can meet --budget-ms 1:"):
        lay_ground(replace(settings, budgets_ms=(1.0, 2.0)), QUIET)


@pytest.mark.parametrize("kind", ["classification", "regression", "tokens", "spans"])
def test_a_file_scores_as_its_checkpoint(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    task = load_task(str(write(kind, tmp_path)), QUIET)
    training = Optimization(learning_rate=3e-3, epochs=2, minimum_steps=1, batch_size=16)
    teacher = prepare_teacher(str(write_bert(tmp_path / "bert")), task, QUIET, training=training)
    (file,) = export_student(teacher.folder, tmp_path / "files", [Form()])
    room = classroom(teacher, task)
    with torch.no_grad():
        scores, _ = room.judge(answer(room.model, room.validation, kind))

    class Around:
        class ground:  # noqa: N801 - stands for a context's
            task = room.task

    context = Around()
    context.teacher = teacher  # type: ignore[attr-defined]
    assert file_score(context, file.path) == pytest.approx(scores[KINDS[kind].metric], abs=1e-6)  # type: ignore[arg-type]
    assert np.isfinite(scores[KINDS[kind].metric])


def test_a_profile_of_one_precision(settings: SearchSettings, tmp_path: Path) -> None:
    one = make_profile(tmp_path / "alone", Path(settings.space))
    with pytest.raises(UserError, match="knows no int8, which --precision auto tries: profile with --precision fp32"):
        search(replace(settings, target=f"replay:{one}"), QUIET)
    with pytest.raises(UserError, match="chooses by answers"):
        search(replace(settings, data=str(write("masked-lm", tmp_path)), task="masked-lm"), QUIET)
    assert not (tmp_path / "run").exists()
