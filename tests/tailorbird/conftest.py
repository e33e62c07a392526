"""The tiny world, once for all tests of the commands."""

from types import SimpleNamespace
from typing import Any

import pytest
from tiny_world import make_data, make_profile, make_space, make_teacher


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Data, teacher, space and a profile to replay; `TAILORBIRD_HOME` lies beside them."""
    root = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILORBIRD_HOME", str(root / "home"))
        data, space = make_data(root / "data.csv"), make_space(root / "space.yaml")
        profile, teacher = make_profile(root / "profile", space), make_teacher(root / "teacher", data)
        yield SimpleNamespace(root=root, data=data, space=space, profile=profile, teacher=teacher)
