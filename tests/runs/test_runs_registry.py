"""Registries keep order, refuse doubles, and help with a misspelt name."""

import pytest

from runs.errors import UserError
from runs.registry import Registry


@pytest.fixture
def shades() -> Registry[str]:
    registry: Registry[str] = Registry("shade")
    for name in ("red", "green", "blue"):
        registry.register(name)(name.upper())
    return registry


def test_entries_come_back_by_name_and_in_order(shades):
    assert shades["green"] == "GREEN"
    assert list(shades) == shades.names() == ["red", "green", "blue"]
    assert "red" in shades
    assert "pink" not in shades


def test_an_unknown_name_is_answered_with_the_nearest_first(shades):
    with pytest.raises(UserError, match="unknown shade 'gren': use one of green, "):
        shades["gren"]


def test_a_name_is_registered_once(shades):
    with pytest.raises(ValueError, match="twice"):
        shades.register("red")("again")
    assert shades["red"] == "RED"
