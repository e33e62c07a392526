"""Bad input to `distill-student`: one sentence before anything is trained, fetched or written."""

from pathlib import Path
from typing import Any

import pytest

RECIPE = """\
terms:
  - {objective: hidden, matching: [0, 1]}
  - {objective: logits}
optimization: {learning_rate: 1.0e-3, epochs: 1}
"""


@pytest.fixture
def distilling(world: Any, refused: Any) -> Any:
    """The sentence of a `distill-student` over the tiny world, with some flags changed."""

    def run(**changes: object) -> str:
        flags = {"student": "bert-tiny", "teacher": world.teacher, "data": world.data, **changes}
        sentence: str = refused(
            "distill-student", *(part for name, value in flags.items() for part in flag(name, value))
        )
        return sentence

    return run


def flag(name: str, value: object) -> tuple[str, object]:
    return f"--{name.replace('_', '-')}", value


def recipe(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in RECIPE
    path = folder / "mine.yaml"
    path.write_text(RECIPE.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("objective: hidden", "objective: hiden", "unknown objective 'hiden': use one of hidden, "),
        ("matching: [0, 1]", "matching: unifrom", "unknown matching 'unifrom': use one of uniform, "),
        ("[0, 1]", "[0, 3]", "the matching teaches layer 1 from the teacher's layer 3, which has layers 0 to 2"),
        ("[0, 1]", "[0, 1, 2]", "the matching names teacher layers for 3 layers of a student of 2"),
        ("optimization:", "layer_map: [2]\noptimization:", "does not say where each of the student's 2 layers"),
        ("optimization:", "layer_map: [1, 7]\noptimization:", "the teacher's layer 7, which has layers 0 to 2"),
        ("epochs: 1", "epochs: -1", "epochs of the optimization is -1"),
    ],
)
def test_a_recipe_that_asks_for_what_is_not_there(
    distilling: Any, tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert words in distilling(recipe=recipe(tmp_path, old, new))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"epochs": "0"}, "--epochs is 0.0"),
        ({"epochs": "nan"}, "--epochs is nan"),
        ({"epochs": "inf"}, "--epochs is inf"),
        ({"epochs": "some"}, "'--epochs'"),
        ({"augment": "-1"}, "'--augment'"),
        ({"augment": "1.5"}, "'--augment'"),
        ({"seed": "-1"}, "'--seed'"),
        ({"seed": str(2**32)}, "'--seed'"),
        ({"task": "clasification"}, "use one of classification, "),
    ],
)
def test_numbers_that_cannot_be_meant(distilling: Any, flags: dict[str, object], words: str) -> None:
    assert words in distilling(**flags)
