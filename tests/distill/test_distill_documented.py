"""Whatever can stand in a recipe stands in docs/distillation.md, by its name."""

from dataclasses import fields
from pathlib import Path

import pytest

from distill.initialization import INITIALIZATIONS
from distill.kinds import KINDS
from distill.matching import LAYER_MAPS, MATCHINGS
from distill.objectives import OBJECTIVES
from distill.objectives.answers import TEMPERATURES
from distill.recipe import WEIGHTS, Optimization, Term
from distill.recipe_file import KEYS, RECIPES, read_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "distillation.md").read_text(encoding="utf-8")

NAMES = {
    "objectives": OBJECTIVES.names(),
    "matchings": [*MATCHINGS.names(), *LAYER_MAPS],
    "initializations": INITIALIZATIONS.names(),
    "recipes": RECIPES.names(),
    "rules": [*WEIGHTS.names(), *TEMPERATURES.names()],
    "tasks": KINDS.names(),
    "keys of a term": [field.name for field in fields(Term)],
    "keys of the optimization": [field.name for field in fields(Optimization)],
}


@pytest.mark.parametrize("what", NAMES)
def test_every_name_is_there(what: str) -> None:
    assert [name for name in NAMES[what] if f"`{name}`" not in PAGE] == []


def test_its_recipe_can_be_read(tmp_path: Path) -> None:
    written = PAGE.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "mine.yaml").write_text(written)
    recipe = read_recipe(tmp_path / "mine.yaml")
    assert [term.objective for term in recipe.terms] == ["hidden", "logits"]
    assert all(f"{key}:" in written for key in KEYS)
