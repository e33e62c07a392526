"""What `--help` lists is what there is: it is written out, so that asking for help loads no library."""

import inspect
from typing import get_args

import pytest

from nas.methods import METHODS
from students.space import SPACES
from tailorbird.commands import nas_search


@pytest.mark.parametrize(
    ("option", "before", "names"),
    [("method", "How to search: ", METHODS.names()), ("space", "Which students there are: ", SPACES.names())],
)
def test_all_that_there_are_are_named(option: str, before: str, names: list[str]) -> None:
    said = str(get_args(inspect.signature(nas_search).parameters[option].annotation)[1].help)
    words = (
        said.partition(". ")[0]
        .removeprefix(before)
        .rstrip(".")
        .replace(", or ", ", ")
        .replace(" or ", ", ")
        .split(", ")
    )
    assert sorted(word for word in words if not word.startswith("a YAML")) == sorted(names)
