"""One tiny profile for all tests of what is made of a profile."""

from pathlib import Path

import pytest
from tiny_profile import make_tiny_profile

from devices.measurement import Sample
from profiler.profile import Profile


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def made(home: Path) -> tuple[Profile, list[Sample]]:
    return make_tiny_profile(home)


@pytest.fixture(scope="session")
def profile(made: tuple[Profile, list[Sample]]) -> Profile:
    return made[0]


@pytest.fixture(scope="session")
def before_the_interruption(made: tuple[Profile, list[Sample]]) -> list[Sample]:
    return made[1]
