"""Recipes as YAML files: those that come along, by name, and a user's own, by path."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from distill.initialization import find_initialization
from distill.recipe import Optimization, Recipe, Term
from runs.errors import UserError
from runs.files import read_yaml
from runs.registry import Registry, unknown_name

RECIPE_FOLDER = Path(__file__).parent / "recipes"
ENDINGS = (".yaml", ".yml")
KEYS = ("terms", "optimization", "initialization", "layer_map", "augment")


def read_recipe(path: Path) -> Recipe:
    """A recipe named like its file; whatever is wrong with it is a `UserError` that names file and key."""
    data = read_yaml(path, "recipe file")
    if not isinstance(data, Mapping):
        raise UserError(f"the recipe file {path} must have the keys {', '.join(KEYS)}.")
    for key in data:
        if key not in KEYS:
            raise UserError(f"in the recipe file {path}: {unknown_name('key', str(key), list(KEYS))}")
    for key in ("terms", "optimization"):
        if not data.get(key):
            raise UserError(f"the recipe file {path} lacks {key}.")
    if not isinstance(data["terms"], list):
        raise UserError(f"terms in the recipe file {path} must be a list, each with an objective.")
    try:
        initialization = data.get("initialization", "refitted")
        if not isinstance(initialization, str):
            initialization = ""
        find_initialization(initialization)
        return Recipe(
            path.stem,
            tuple(_made(Term, term, "a term") for term in data["terms"]),
            _made(Optimization, data["optimization"], "the optimization"),
            initialization,
            data.get("layer_map", "uniform"),
            data.get("augment", 0),
        )
    except UserError as problem:
        raise UserError(f"in the recipe file {path}: {problem}") from None


def _made(kind: type[Any], values: Any, what: str) -> Any:
    """A dataclass from a mapping, whose numbers must be numbers and whose names must be known."""
    known = {field.name: field for field in fields(kind)}
    if not isinstance(values, Mapping):
        raise UserError(f"{what} must have keys out of {', '.join(known)}, not {values!r}.")
    for name, value in values.items():
        if name not in known:
            raise unknown_name(f"key of {what}", str(name), list(known))
        wanted = known[name].type
        if wanted in (float, int) and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"{name} of {what} is {value!r}: it must be a number (1.0e-3, not 1e-3).")
        if wanted in (str, bool) and not isinstance(value, wanted):
            raise UserError(
                f"{name} of {what} is {value!r}: it must be {'a name' if wanted is str else 'true or false'}."
            )
    try:
        return kind(**values)
    except TypeError:
        lacking = [name for name in ("objective", "learning_rate", "epochs") if name in known and name not in values]
        raise UserError(f"{what} lacks {', '.join(lacking)}.") from None


RECIPES: Registry[Recipe] = Registry("recipe")
for _path in sorted(RECIPE_FOLDER.glob("*.yaml")):
    RECIPES.register(_path.stem)(read_recipe(_path))


def find_recipe(name: str) -> Recipe:
    """The recipe of that name, or in the YAML file of that path; `UserError` for what is neither."""
    if name in RECIPES or not name.endswith(ENDINGS):
        return RECIPES[name]
    return read_recipe(Path(name).expanduser())
