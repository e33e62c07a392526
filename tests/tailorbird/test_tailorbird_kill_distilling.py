"""`distill-student`, killed with SIGKILL at moments told by what is stored, and started again: no bit is different."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_runs import command, finish, kill_when
from transformers import BertModel

from students.spec import uniform_spec

pytestmark = pytest.mark.faults

RECIPES = {
    "whole": """
terms:
  - {objective: hidden, end: 0.4}
  - {objective: logits, temperature: 2.0, start: 0.4}
optimization: {learning_rate: 1.0e-3, epochs: 1, batch_size: 16, accumulate: 2, average: 0.99, adversarial: 0.2,
               minimum_steps: 330}
""",
    "patient": """
terms:
  - {objective: labels}
optimization: {learning_rate: 3.0e-3, epochs: 1, batch_size: 16, minimum_steps: 800, patience: 3}
""",
}
CHECKPOINT = "run/.student.*.training/checkpoint-{}/complete"
MOMENTS = (
    "home/teachers/*.training",
    "home/teachers/*.training/checkpoint-100/complete",
    "home/teachers/*.training/checkpoint-200",
    "home/teachers/.*.part",
    "home/teachers/*/teacher.json",
    "home/teachers/*/outputs/train-*/logits.npy",
    "run/.student.*.training",
    "run/.student.*.training/curve.json",
    CHECKPOINT.format(100),
    "run/.student.*.training/checkpoint-200",
    CHECKPOINT.format(200),
    CHECKPOINT.format(300),
    "run/.student.*.part",
    "run/student/distilled.json",
)
"""Each is reached by the start that follows the kill at the one before."""


def made(here: Path) -> dict[str, Any]:
    """All that must be equal, down to the bits of the weights."""
    student, teacher = here / "run/student", next((here / "home/teachers").glob("*/teacher.json")).parent
    record = json.loads((student / "distilled.json").read_text())
    del record["result"]["seconds"]
    stage = json.loads((here / "run/run.json").read_text())["stages"]["distilled"]["result"]
    whole = {name: (student / name).read_bytes() for name in ("model.safetensors", "curve.json", "config.json")}
    answers = {path.parent.name: path.read_bytes() for path in sorted(teacher.glob("outputs/*/*"))}
    return {
        **whole,
        "record": record,
        "stage": stage,
        "teacher": (teacher / "model.safetensors").read_bytes(),
        "answers": answers,
    }


def leftovers(here: Path) -> list[Path]:
    return [path for path in here.rglob("*") if path.suffix in (".training", ".part", ".old")]


@pytest.fixture(scope="module")
def bare(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher without its head, to be fine-tuned first."""
    folder = tmp_path_factory.mktemp("bare") / "teacher"
    shutil.copytree(world.teacher, folder)
    BertModel.from_pretrained(world.teacher).save_pretrained(folder)
    return folder


def line_for(world: Any, teacher: Path, recipe: str, folder: Path, together: bool = False) -> list[str]:
    spec, path = folder / "spec.json", folder / f"{recipe}.yaml"
    spec.write_text(json.dumps(uniform_spec(2, 32, 2, 64, vocabulary_size=33, maximum_positions=32).to_json()))
    path.write_text(RECIPES[recipe])
    return command(
        "distill-student", "--student", spec, "--teacher", teacher, "--data", world.data, "--recipe", path, "--output",
        "run", "--json", together=together,
    )  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_killed_distillation_ends_as_an_undisturbed_one(recipe: str, world: Any, bare: Path, tmp_path: Path) -> None:
    line = line_for(world, bare, recipe, tmp_path)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    expected, _ = finish(line, whole / "home", whole)
    if recipe == "patient":
        assert 300 < expected["steps"] < 800, "the run must end early, and not before the last moment"
    # Labels alone ask no teacher about the train split.
    asked = "logits" in RECIPES[recipe]
    for moment in (moment for moment in MOMENTS if asked or "/train-" not in moment):
        kill_when(moment, line, broken / "home", broken)
    result, _ = finish(line, broken / "home", broken)
    assert made(broken) == made(whole)
    assert result == {**expected, "student": result["student"]}
    assert leftovers(broken) == leftovers(whole) == []


def test_two_processes_killed_end_as_two_undisturbed_ones(world: Any, bare: Path, tmp_path: Path) -> None:
    line = line_for(world, bare, "patient", tmp_path, together=True)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    expected, _ = finish(line, whole / "home", whole)
    assert 300 < expected["steps"] < 800, "both must stop early"
    for moment in (MOMENTS[1], CHECKPOINT.format(100), "run/.student.*.training/checkpoint-200", MOMENTS[-1]):
        kill_when(moment, line, broken / "home", broken)
    result, _ = finish(line, broken / "home", broken)
    assert made(broken) == made(whole)
    assert result == {**expected, "student": result["student"]}
    assert leftovers(broken) == leftovers(whole) == []
