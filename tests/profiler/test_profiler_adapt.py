"""A predictor moved to another workload by a few measurements, and what is refused."""

import json
from pathlib import Path

import pytest
from tiny_profile import TARGET

from devices.workload import Workload
from export.items import Stack
from predictor.latency import LatencyPredictor
from profiler.adapt import adapt_profile, plan_adaptation
from profiler.folder import ADAPTED, PREDICTOR_FILE, REPORT_FILE
from profiler.profile import Profile, find_profile
from profiler.workloads import WorkloadRange
from runs.errors import UserError
from students.spec import StudentSpec, uniform_spec

LONGER = WorkloadRange.of(Workload(1, 6))


@pytest.fixture(scope="module")
def adapted(profile: Profile, home: Path) -> Profile:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILORBIRD_HOME", str(home))
        patch.setattr("profiler.adapt.CHECK_STUDENTS", 2)
        patch.setattr("profiler.adapt.POOL", {"hybrid": 20})
        patch.setattr("profiler.adapt.EFFORT", "tiny")
        return adapt_profile(profile.folder, TARGET, LONGER, samples=6)


def test_it_is_an_ordinary_profile_that_says_where_it_comes_from(profile: Profile, adapted: Profile) -> None:
    assert adapted.effort == ADAPTED and adapted.workloads == LONGER
    assert adapted.adapted_from is not None
    assert adapted.adapted_from["folder"] == str(profile.folder) and adapted.adapted_from["samples"] == 6
    assert adapted.check[LONGER.key]["students"] == 2
    assert adapted.error_budget["model_percent"] is None and adapted.stability["words"]
    assert "Adapted with 6 measurements" in (adapted.folder / REPORT_FILE).read_text()
    assert isinstance(adapted.predictor, LatencyPredictor)
    asked = [uniform_spec(2, 128, 4, 256)]
    assert adapted.predictor.predict(asked, Workload(1, 6))[0] > 0


def test_it_is_found_for_its_workload_and_not_for_others(
    profile: Profile, adapted: Profile, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(home))
    found = {length: find_profile(TARGET, Workload(1, length)) for length in (4, 5, 6)}
    folders = {length: one and one.folder for length, one in found.items()}
    assert folders == {4: profile.folder, 5: None, 6: adapted.folder}


def test_a_finished_one_is_returned(
    profile: Profile, adapted: Profile, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(home))
    monkeypatch.setattr("profiler.adapt.CHECK_STUDENTS", 2)
    monkeypatch.setattr("profiler.adapt.POOL", {"hybrid": 20})
    monkeypatch.setattr("profiler.adapt.EFFORT", "tiny")
    monkeypatch.setattr("profiler.measuring_process.subprocess.Popen", None)
    assert adapt_profile(profile.folder, TARGET, LONGER, samples=6) == adapted


def test_samples_are_whole_students_of_all_sizes_in_every_setting() -> None:
    among = WorkloadRange(((16, 512),), (1,), (1, 2), ("fp32", "int8"))
    plan = plan_adaptation(among, 20, 0)
    assert len(plan.cells) == 20 and plan == plan_adaptation(among, 20, 0)
    settings = [(cell.workload.threads, cell.workload.precision) for cell in plan.cells]
    assert all(settings.count(pair) == 5 for pair in set(settings)) and len(set(settings)) == 4
    students = [item for key, item in plan.fit.items() if key != plan.reference]
    assert all(isinstance(item, StudentSpec) for item in students)
    assert [isinstance(plan.fit[plan.reference], Stack), len(plan.check)] == [True, 12]
    flops = [
        item.flops(1, cell.workload.sequence_length)
        for cell in plan.cells
        if isinstance(item := plan.fit[cell.key], StudentSpec)
    ]
    assert max(flops) > 30 * min(flops)


def test_too_few_samples_are_refused_before_anything_is_written(profile: Profile, tmp_path: Path) -> None:
    several = WorkloadRange(((4, 8),), (1,), (1, 2))
    for samples, workloads in ((4, LONGER), (5, several)):
        with pytest.raises(UserError, match=f"--samples is {samples}: .* at least"):
            adapt_profile(profile.folder, TARGET, workloads, samples, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_base_must_be_a_profile(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a device profile"):
        adapt_profile(tmp_path, TARGET, LONGER, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_cut_predictor_of_the_base_is_refused(profile: Profile, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for file in profile.folder.iterdir():
        if file.is_file() and file.suffix == ".json":
            (base / file.name).write_bytes(file.read_bytes())
    (base / PREDICTOR_FILE).write_text(json.dumps({"kind": "latency predictor"})[:-5])
    with pytest.raises(UserError, match="is not whole JSON"):
        adapt_profile(base, TARGET, LONGER, folder=tmp_path / "new")
