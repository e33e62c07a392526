"""`distill-student` as people start it: alone, and in two processes by torchrun; and what it leaves."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from command_runs import command, finish
from safetensors.torch import load_file, save_file

from students.spec import uniform_spec
from tailorbird.commands import distill_student_main

RECIPE = """
terms:
  - {objective: hidden, end: 0.4}
  - {objective: logits, temperature: 2.0, start: 0.4}
optimization: {learning_rate: 1.0e-3, epochs: 1, batch_size: 16, accumulate: 2, average: 0.9, adversarial: 0.2,
               minimum_steps: 30}
"""
STUDENT_FILES = {
    "README.md", "config.json", "curve.json", "distilled.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(world: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The same distillation by one process and by two, with what each prints."""
    here = tmp_path_factory.mktemp("distilling")
    (here / "mine.yaml").write_text(RECIPE)
    spec = uniform_spec(2, 32, 2, 64, vocabulary_size=33, maximum_positions=32)
    (here / "spec.json").write_text(json.dumps(spec.to_json()))
    found = {}
    for name in ("one", "two"):
        line = command(
            "distill-student", "--student", "spec.json", "--teacher", world.teacher, "--data", world.data, "--recipe",
            "mine.yaml", "--output", name, "--json", together=name == "two",
        )  # fmt: skip
        found[name], _ = finish(line, here / "home", here)
    return SimpleNamespace(here=here, **found)


def weights(folder: Path) -> torch.Tensor:
    found = load_file(folder / "model.safetensors")
    return torch.cat([found[name].flatten() for name in sorted(found)])


def test_two_processes_make_the_student_of_one(runs: Any) -> None:
    one, two = (runs.here / name / "student" for name in ("one", "two"))
    wanted, got = weights(one), weights(two)
    assert not torch.equal(got, wanted), "halves of batches are summed in another order, unless nobody shared them"
    assert float((got - wanted).norm() / wanted.norm()) < 2e-3
    (alone,), (shared,) = (json.loads((folder / "curve.json").read_text()) for folder in (one, two))
    assert shared["step"] == alone["step"] == 30
    assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-3)
    assert shared["divergence"] == pytest.approx(alone["divergence"], rel=2e-2)


def test_a_teacher_that_changed_is_another_run(
    runs: Any, world: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same words with the same teacher would only read what is there."""
    teacher = runs.here / "teacher"
    shutil.copytree(world.teacher, teacher)
    monkeypatch.setenv("TAILORBIRD_HOME", str(runs.here / "home"))
    monkeypatch.chdir(runs.here)
    arguments = ("--student", "spec.json", "--teacher", teacher, "--data", world.data, "--recipe", "mine.yaml",
                 "--output", "one", "--json")  # fmt: skip
    # Nothing is taught, so that a process of its own would do little but begin.
    monkeypatch.setattr(sys, "argv", ["distill-student", *map(str, arguments)])

    def said(code: int) -> tuple[str, str]:
        with pytest.raises(SystemExit) as end:
            distill_student_main()
        assert end.value.code == code
        return tuple(capsys.readouterr())

    assert json.loads(said(0)[0]) == runs.one
    weights_file = teacher / "model.safetensors"
    changed = {name: tensor * 1.01 for name, tensor in load_file(weights_file).items()}
    save_file(changed, weights_file, metadata={"format": "pt"})
    out, err = said(2)
    assert "other settings (teacher" in err and not out and "Traceback" not in err


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_run_leaves_a_student_and_a_report(name: str, runs: Any) -> None:
    folder = runs.here / name
    assert {path.name for path in folder.iterdir()} == {".lock", "run.json", "report.html", "student"}
    assert {path.name for path in (folder / "student").iterdir()} == STUDENT_FILES
    result = getattr(runs, name)
    assert result["steps"] == 30 and result["student"] == str(folder / "student")
    page = (folder / "report.html").read_text()
    assert "learnt for 30 steps and is kept as it was after 30" in page
    assert page.count("plotly-graph-div") == 1 and "accuracy on validation" in page
