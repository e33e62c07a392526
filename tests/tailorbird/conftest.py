"""The tiny world, once for all tests of the commands, and what a command that refuses must look like."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_world import make_data, make_profile, make_space, make_teacher

from tailorbird import commands

MAINS: dict[str, Callable[[], None]] = {
    "profile-device": commands.profile_device_main,
    "nas-search": commands.nas_search_main,
    "predict-latency": commands.predict_latency_main,
    "distill-student": commands.distill_student_main,
    "export-student": commands.export_student_main,
    "measure-student": commands.measure_student_main,
}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Data, teacher, space and a profile to replay; `TAILORBIRD_HOME` lies beside them."""
    root = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILORBIRD_HOME", str(root / "home"))
        data, space = make_data(root / "data.csv"), make_space(root / "space.yaml")
        profile, teacher = make_profile(root / "profile", space), make_teacher(root / "teacher", data)
        yield SimpleNamespace(root=root, data=data, space=space, profile=profile, teacher=teacher)


@pytest.fixture
def refused(world, tmp_path, monkeypatch, capsys):
    """Run a command that must refuse; returns its sentence after checking that it is one and left nothing."""

    def run(name: str, *arguments: object) -> str:
        here = tmp_path / "here"
        here.mkdir(exist_ok=True)
        places = (here, world.root / "home")
        before = [sorted(place.rglob("*")) for place in places]
        monkeypatch.chdir(here)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            MAINS[name]()
        out, err = capsys.readouterr()
        assert end.value.code == 2
        assert out == ""
        assert "Traceback" not in err
        complaints = [line for line in err.splitlines() if line.startswith(f"{name}: ")]
        assert len(complaints) == 1 and err.rstrip().endswith(complaints[0])
        assert complaints[0].endswith(".")
        assert [sorted(place.rglob("*")) for place in places] == before
        return complaints[0]

    return run
