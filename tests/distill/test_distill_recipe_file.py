"""Recipes are files: those that come along say what they are, and a wrong one is told in a sentence."""

from pathlib import Path

import pytest

from distill.recipe import Optimization, Recipe, Term
from distill.recipe_file import RECIPES, find_recipe, read_recipe
from runs.errors import UserError

NAMED = {
    "distilbert",
    "tinybert",
    "minilm",
    "minilmv2",
    "mobilebert",
    "pkd",
    "kd-nas",
    "autotinybert",
    "elm",
    "default",
}

GOOD = """
terms:
  - {objective: hidden, matching: [[0, 1], 1], end: 0.5}
  - {objective: logits, temperature: 2.0, temperature_rule: flsw, start: 0.5}
optimization: {learning_rate: 1.0e-3, epochs: 2, batch_size: 16}
layer_map: [0, 1]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_every_named_recipe_is_there() -> None:
    assert set(RECIPES.names()) >= NAMED | {"labels", "from-random"}


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    found = find_recipe(str(written(tmp_path, GOOD)))
    terms = (
        Term("hidden", matching=((0, 1), 1), end=0.5),
        Term("logits", temperature=2.0, temperature_rule="flsw", start=0.5),
    )
    assert found == Recipe("mine", terms, Optimization(1e-3, 2, batch_size=16), layer_map=(0, 1))
    assert hash(found) and find_recipe("default") == RECIPES["default"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("objective: hidden", "objective: hiden", "unknown objective 'hiden': use one of hidden, "),
        ("matching: [[0, 1], 1]", "matching: unifrom", "unknown matching 'unifrom': use one of uniform, "),
        ("start: 0.5", "start: 0.6", "has no loss from 50% of the run on"),
        ("temperature: 2.0", "temperature: hot", "temperature of a term is 'hot': it must be a number"),
        ("temperature: 2.0", "temprature: 2.0", "unknown key of a term 'temprature': use one of temperature, "),
        ("learning_rate: 1.0e-3, ", "", "the optimization lacks learning_rate"),
        ("optimization: {", "optimisation: {", "unknown key 'optimisation': use one of optimization, "),
        ("layer_map: [0, 1]", "layer_map: last-layer", "unknown layer map 'last-layer': use one of last, "),
        ("layer_map: [0, 1]", "layer_map: []", "the layer map [] must be one of first, "),
        ("layer_map: [0, 1]", "initialization: ''", "a recipe's initialization is one of random, "),
        ("layer_map: [0, 1]", "initialization:", "a recipe's initialization is one of random, "),
        ("layer_map: [0, 1]", "initialization: slice", "unknown initialization 'slice': use one of sliced, "),
        ("batch_size: 16", "accumulate: 0", "accumulate of the optimization is 0: it must be a whole"),
        ("batch_size: 16", "average: 1", "needs a warmup and an average from 0 to below 1"),
        ("batch_size: 16", "accumulate: 1.5", "accumulate of the optimization is 1.5: it must be a whole"),
        ("terms:", "terms: [", "cannot be read as YAML: "),
        ("objective: hidden", "objective: [hidden]", "objective of a term is ['hidden']: it must be a name"),
        ("objective: hidden", "objective: 5", "objective of a term is 5: it must be a name"),
        ("matching: [[0, 1], 1]", "matching: 3", "the matching 3 must be one of first, "),
        ("matching: [[0, 1], 1]", "matching:", "the matching None must be one of first, "),
        ("matching: [[0, 1], 1]", "matching: [[0, one], 1]", "the matching [[0, 'one'], 1] must be one of first, "),
        ("matching: [[0, 1], 1]", "weight: .nan", "needs weight and temperature above 0"),
        ("matching: [[0, 1], 1]", "shift: 1", "shift of a term is 1: it must be true or false"),
        (
            "learning_rate: 1.0e-3",
            "learning_rate: .inf",
            "learning_rate of the optimization is inf: it must be above 0",
        ),
        ("epochs: 2", "epochs: 0", "epochs of the optimization is 0: it must be above 0"),
        ("epochs: 2", "epochs: .nan", "epochs of the optimization is nan: it must be above 0"),
        ("batch_size: 16", "batch_size: 1.5", "batch_size of the optimization is 1.5: it must be a whole number"),
        ("batch_size: 16", "patience: soon", "patience of the optimization is 'soon': it must be a whole number"),
        ("batch_size: 16", "warmup: 1", "needs a warmup and an average from 0 to below 1"),
        ("layer_map: [0, 1]", "layer_map: {0: 1}", "the layer map {0: 1} must be one of first, "),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError, match="mine.yaml") as told:
        read_recipe(written(tmp_path, GOOD.replace(old, new)))
    assert complaint in str(told.value)


def test_what_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        find_recipe(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="unknown recipe 'tinybrt': use one of tinybert, "):
        find_recipe("tinybrt")
    with pytest.raises(UserError, match="must have the keys"):
        read_recipe(written(tmp_path, "just words"))
