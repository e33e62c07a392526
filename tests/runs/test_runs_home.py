"""The home folder follows its variable, and says what to do where it cannot be made."""

from pathlib import Path

import pytest

from runs.errors import UserError
from runs.home import KINDS, home, home_folder


def test_the_variable_rules(tmp_path, monkeypatch):
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "nest"))
    assert home() == tmp_path / "nest"
    assert not home().exists()
    for kind in KINDS:
        assert home_folder(kind) == tmp_path / "nest" / kind
        assert (tmp_path / "nest" / kind).is_dir()


def test_a_tilde_and_a_relative_path_become_absolute(monkeypatch):
    monkeypatch.setenv("TAILORBIRD_HOME", "~/nest")
    assert home() == Path.home() / "nest"
    monkeypatch.setenv("TAILORBIRD_HOME", "nest")
    assert home() == Path.cwd() / "nest"


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_it_is_the_platform_s_folder(tmp_path, monkeypatch, value):
    monkeypatch.delenv("TAILORBIRD_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("TAILORBIRD_HOME", value)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert home().name == "tailorbird"
    assert home().is_absolute()


def test_a_home_that_cannot_be_made_is_a_user_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="TAILORBIRD_HOME"):
        home_folder("profiles")


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="profiles"):
        home_folder("profile")
