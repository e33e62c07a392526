"""The one-parent check: quiet where all is ours, and naming the stranger where a name is taken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runs
from runs.installation import PACKAGES, check_one_parent

CHECK = "from runs.installation import check_one_parent; check_one_parent()"
ROOT = Path(runs.__file__).parent.parent


def check_beside(folder: Path) -> subprocess.CompletedProcess[str]:
    """The check in a fresh interpreter, with `folder` before everything else on the path."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", CHECK], cwd=folder, env=environment, capture_output=True, text=True)


def test_this_checkout_passes():
    check_one_parent()


def test_the_names_are_those_of_the_wheel():
    text = (ROOT / "pyproject.toml").read_text()
    assert all(f'"{name}"' in text for name in PACKAGES)


@pytest.mark.parametrize(("stranger", "place"), [("nas/__init__.py", "nas"), ("devices.py", "devices.py")])
def test_a_stranger_is_named(tmp_path, stranger, place):
    (tmp_path / stranger).parent.mkdir(exist_ok=True)
    (tmp_path / stranger).write_text("")
    outcome = check_beside(tmp_path)
    assert outcome.returncode != 0
    assert "UserError" in outcome.stderr
    assert str(tmp_path / place) in outcome.stderr


def test_a_plain_folder_of_that_name_hides_nothing(tmp_path):
    (tmp_path / "devices").mkdir()
    outcome = check_beside(tmp_path)
    assert outcome.returncode == 0, outcome.stderr


def test_a_missing_package_is_named(tmp_path):
    for name in PACKAGES:
        if name != "nas":
            (tmp_path / name).symlink_to(ROOT / name)
    outcome = subprocess.run(
        [sys.executable, "-S", "-c", CHECK],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "'nas' is missing" in outcome.stderr, outcome.stderr
