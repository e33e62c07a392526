"""A whole profile of a tiny plan, what is made of it, and the target that replays it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_profile import ALONE, TARGET, WORKLOAD

from devices.fingerprint import SCHEMA
from devices.measurement import Sample
from devices.stopwatch import Policy
from devices.store import SampleStore
from devices.target import open_target
from devices.workload import Workload
from export.items import GraphFile, Item, Stack, item_key
from predictor.latency import KIND
from predictor.latency import SCHEMA as PREDICTOR_SCHEMA
from predictor.signed import write_signed
from profiler.folder import DEVICE_FILE, FITTED, PREDICTOR_FILE, REPORT_FILE, STORE_FILE
from profiler.plan import plan_profile
from profiler.processes import measure_items
from profiler.profile import Profile, check_profile, find_profile, load_profile, profile_device
from profiler.report import error_table
from runs.errors import UserError
from runs.files import read_json, write_json_atomic
from runs.folder import RUN_FILE
from students.spec import LayerBlock, TransformerLayer, uniform_spec


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(home))


def changed(profile: Profile, folder: Path, **fingerprint: object) -> Path:
    """A copy of the profile whose fingerprint has other values."""
    folder.mkdir()
    for name in (STORE_FILE, PREDICTOR_FILE):
        (folder / name).write_bytes((profile.folder / name).read_bytes())
    value = json.loads((profile.folder / DEVICE_FILE).read_text())
    value["fingerprint"].update(fingerprint)
    write_json_atomic(folder / DEVICE_FILE, value)
    return folder


def test_a_profile_leaves_its_files_and_says_how_good_it_is(profile: Profile, home: Path) -> None:
    assert profile.folder.parent == home / "profiles" and profile.folder.name.startswith(f"{TARGET}-")
    assert {DEVICE_FILE, STORE_FILE, PREDICTOR_FILE, REPORT_FILE} <= {file.name for file in profile.folder.iterdir()}
    check = profile.check[WORKLOAD.key]
    assert check["students"] == 4 and check["noise_floor_percent"] >= 0
    assert {"predictor", "flops_only", "sum_of_blocks"} == set(check["errors"])
    headers, rows = error_table(check)
    assert headers[:2] == ["method", "mape %"] and [row[0] for row in rows][-1] == "noise floor"
    assert all(len(row) == len(headers) for row in rows)
    assert profile.predictor.predict([uniform_spec(2, 128, 4, 256)], WORKLOAD)[0] > 0
    assert "noise floor" in (profile.folder / REPORT_FILE).read_text()


def test_every_sample_of_the_plan_and_of_the_rounds_is_in_the_store(profile: Profile) -> None:
    plan = plan_profile("tiny", ALONE)
    chosen = [key for key, _ in stages(profile)["choose 1"]["result"]["cells"]]
    assert 0 < len(chosen) <= 7 and not set(chosen) & plan.items.keys()
    with SampleStore(profile.folder / STORE_FILE, read_only=True) as store:
        samples = [sample for sample in store.samples() if sample.key != plan.reference]
        assert store.fingerprint == profile.fingerprint
        assert store.items().keys() == plan.items.keys() | set(chosen)
    wanted = [key for key in [*plan.items, *chosen] if key != plan.reference]
    expected = [(key, process, n) for key in wanted for process in range(2) for n in range(2)]
    assert sorted((sample.key, sample.process, sample.round) for sample in samples) == sorted(expected)


def test_an_interrupted_profile_goes_on_where_it_was(profile: Profile, before_the_interruption: list[Sample]) -> None:
    with SampleStore(profile.folder / STORE_FILE, read_only=True) as store:
        samples = store.samples()
    assert len(before_the_interruption) >= 50
    assert samples[: len(before_the_interruption)] == before_the_interruption
    places = [(one.key, one.workload, one.process, one.round) for one in samples]
    assert len(set(places)) == len(places)


def stages(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((profile.folder / "run.json").read_text())["stages"]
    return found


def test_the_check_is_measured_last(profile: Profile) -> None:
    plan = plan_profile("tiny", ALONE)
    with SampleStore(profile.folder / STORE_FILE, read_only=True) as store:
        samples = store.samples()
    learned = max(one.taken_at for one in samples if one.key not in plan.check and one.key != plan.reference)
    assert learned < min(one.taken_at for one in samples if one.key in plan.check)


def test_it_says_how_steady_the_machine_was_and_divides_its_error(profile: Profile) -> None:
    assert profile.stability["words"] and profile.stability["state"] in ("steady", "uneasy", "unsteady")
    budget = profile.error_budget
    assert budget["held_out_percent"] > 0 and budget["noise_percent"] > 0
    fresh = profile.check[WORKLOAD.key]["errors"]["predictor"]["mape_percent"]
    assert budget["fresh_percent"] == pytest.approx(fresh)
    disturbance = profile.disturbance(WORKLOAD)
    assert 1.0 <= disturbance.low <= disturbance.usual <= disturbance.high
    report = (profile.folder / REPORT_FILE).read_text()
    assert profile.stability["words"] in report and budget["words"] in report and disturbance.words in report


def test_a_finished_profile_is_returned_and_one_without_its_end_goes_on(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_process(job: object) -> object:
        raise AssertionError("measured again")

    monkeypatch.setattr("profiler.measuring_process.subprocess.Popen", no_process)
    assert profile_device(TARGET, ALONE, "tiny") == profile
    (profile.folder / DEVICE_FILE).unlink()
    with pytest.raises(UserError, match="is not finished"):
        load_profile(profile.folder)
    again = profile_device(TARGET, ALONE, "tiny")
    assert (again.check, again.seconds) == (profile.check, profile.seconds)
    asked = [uniform_spec(2, 128, 4, 256)]
    assert again.predictor.predict(asked, WORKLOAD) == profile.predictor.predict(asked, WORKLOAD)


def test_an_older_versions_profile_is_learnt_anew_and_not_measured(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "older"
    shutil.copytree(profile.folder, folder, ignore=shutil.ignore_patterns(".*"))
    device = read_json(folder / DEVICE_FILE)
    write_json_atomic(folder / DEVICE_FILE, {key: value for key, value in device.items() if key != "features"})
    run = read_json(folder / RUN_FILE)
    run["stages"]["fit"] = run["stages"].pop(FITTED)
    write_json_atomic(folder / RUN_FILE, run)
    write_signed(folder / PREDICTOR_FILE, KIND, PREDICTOR_SCHEMA, {"features": ["flops"], "models": []})
    with pytest.raises(UserError, match="fitted to other features than this version's: profile again"):
        load_profile(folder)
    with SampleStore(folder / STORE_FILE, read_only=True) as store:
        before = store.samples()
    # What is planned today is another plan, and what was measured is no part of it.
    today = replace(plan_profile("tiny", ALONE), fit={}, check={}, cells=(), check_cells=())
    monkeypatch.setattr("profiler.profile.plan_profile", lambda *asked: today)
    again = profile_device(TARGET, ALONE, "tiny", folder)
    with SampleStore(folder / STORE_FILE, read_only=True) as store:
        assert store.samples() == before
    assert again.check == profile.check
    spec = [uniform_spec(2, 128, 4, 256)]
    assert again.predictor.predict(spec, WORKLOAD) == profile.predictor.predict(spec, WORKLOAD)


def test_a_profile_that_does_not_say_how_disturbed_it_was_is_told_so(profile: Profile, tmp_path: Path) -> None:
    folder = tmp_path / "silent"
    shutil.copytree(profile.folder, folder, ignore=shutil.ignore_patterns(".*"))
    device = read_json(folder / DEVICE_FILE)
    write_json_atomic(folder / DEVICE_FILE, {key: value for key, value in device.items() if key != "disturbances"})
    with pytest.raises(UserError, match="profile again"):
        load_profile(folder)
    again = profile_device(TARGET, ALONE, "tiny", folder)
    assert again.disturbances == profile.disturbances and again.check == profile.check


def test_a_newer_versions_profile_is_left_as_it_is(profile: Profile, tmp_path: Path) -> None:
    folder = tmp_path / "newer"
    shutil.copytree(profile.folder, folder, ignore=shutil.ignore_patterns(".*"))
    write_json_atomic(folder / DEVICE_FILE, {**read_json(folder / DEVICE_FILE), "schema": SCHEMA + 1, "features": "?"})
    before = (folder / DEVICE_FILE).read_bytes()
    with pytest.raises(UserError, match=f"has schema {SCHEMA + 1}"):
        profile_device(TARGET, ALONE, "tiny", folder)
    assert (folder / DEVICE_FILE).read_bytes() == before


def test_another_runs_folder_is_refused_and_left_alone(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed is 0 there and 1 here"):
        profile_device(TARGET, ALONE, "tiny", profile.folder, seed=1)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="belongs to something else"):
        profile_device(TARGET, ALONE, "tiny", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("processor", "Z80"), ("runtime", {"torch": "0.1"}), ("lowering", 0), ("schema", 0), ("target", "cuda")],
)
def test_a_profile_of_something_else_is_refused(profile: Profile, tmp_path: Path, field: str, value: object) -> None:
    check_profile(profile, TARGET)
    other = load_profile(changed(profile, tmp_path / "other", **{field: value}))
    with pytest.raises(UserError, match=f"{field} .*profile again with profile-device --target {TARGET}"):
        check_profile(other, TARGET)


def test_what_does_not_change_latencies_is_no_reason_to_refuse(profile: Profile, tmp_path: Path) -> None:
    folder = changed(profile, tmp_path / "other", system="Linux 9", python="3.99", memory_gib=1.0, packages={})
    check_profile(load_profile(folder), TARGET)


def test_a_newer_profile_is_refused(profile: Profile, tmp_path: Path) -> None:
    folder = changed(profile, tmp_path / "other")
    value = json.loads((folder / DEVICE_FILE).read_text())
    write_json_atomic(folder / DEVICE_FILE, {**value, "schema": SCHEMA + 1})
    with pytest.raises(UserError, match=f"has schema {SCHEMA + 1}"):
        load_profile(folder)
    with pytest.raises(UserError, match="is not a device profile"):
        load_profile(tmp_path)


def test_the_right_profile_is_found(profile: Profile, home: Path) -> None:
    def found(target: str | None) -> Path | None:
        chosen = find_profile(target, WORKLOAD)
        return chosen.folder if chosen else None

    assert found(TARGET) == found(None) == profile.folder
    assert found("cpu") is None
    assert find_profile(TARGET, Workload(1, 5)) is None
    stale = changed(profile, home / "profiles" / "aaa-stale", processor="Z80")
    assert found(None) == profile.folder
    (stale / DEVICE_FILE).write_text("{")
    assert found(None) == profile.folder


def test_several_profiles_are_taken_in_their_order(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = profile.finished_at
    several = [
        replace(profile, target="cpu", effort="quick", finished_at=finished + 9),
        replace(profile, target="onnxruntime", effort="quick"),
        replace(profile, target="onnxruntime", effort="standard"),
        replace(profile, target="onnxruntime", effort="standard", finished_at=finished + 1),
    ]
    monkeypatch.setattr("profiler.folder._home_profiles", lambda: iter(several))
    monkeypatch.setattr("profiler.folder._still_valid", lambda found: True)
    assert find_profile(None, WORKLOAD) is several[3]
    assert find_profile("cpu", WORKLOAD) is several[0]


class TestReplay:
    @pytest.fixture
    def target(self, profile: Profile) -> str:
        return f"replay:{profile.folder}"

    @pytest.fixture
    def items(self) -> dict[str, Item]:
        unseen = uniform_spec(3, 128, 4, 256)
        plan = plan_profile("tiny", ALONE)
        recorded = next(iter(plan.check.items()))
        stack = Stack(LayerBlock(128, TransformerLayer(4, 128, 512)), 4)
        return {item_key(unseen): unseen, recorded[0]: recorded[1], item_key(stack): stack}

    def test_measuring_repeats_to_the_bit_and_resumes_so(
        self, target: str, items: dict[str, Item], tmp_path: Path
    ) -> None:
        whole = measure_items(items, target, [WORKLOAD], Policy(rounds=4))
        assert measure_items(items, target, [WORKLOAD], Policy(rounds=4), seed=7) == whole
        with SampleStore(tmp_path / "s.sqlite") as store:
            measure_items(items, target, [WORKLOAD], Policy(rounds=1), processes=2, store=store)
        with SampleStore(tmp_path / "other.sqlite") as undisturbed, SampleStore(tmp_path / "cut.sqlite") as cut:
            assert measure_items(items, target, [WORKLOAD], Policy(rounds=4), store=undisturbed) == whole
            for sample in undisturbed.samples()[:7]:
                cut.add(sample)
            assert measure_items(items, target, [WORKLOAD], Policy(rounds=4), store=cut) == whole

    def test_recorded_samples_come_back_and_the_rest_is_predicted(
        self, profile: Profile, target: str, items: dict[str, Item]
    ) -> None:
        unseen, recorded, _ = items
        with SampleStore(profile.folder / STORE_FILE, read_only=True) as store:
            known = [sample.milliseconds for sample in store.samples([recorded])]
        with SampleStore(":memory:") as store:
            found = measure_items(items, target, [WORKLOAD], Policy(rounds=2), processes=2, store=store)
            assert [sample.milliseconds for sample in store.samples([recorded])] == known
        predicted = profile.predictor.predict([items[unseen]], WORKLOAD)[0] * profile.disturbance(WORKLOAD).usual
        assert found[unseen, WORKLOAD].p50_ms == pytest.approx(predicted, rel=0.05)

    def test_it_stands_for_what_was_recorded(self, profile: Profile, target: str, tmp_path: Path) -> None:
        check_profile(profile, target)
        elsewhere = changed(profile, tmp_path / "elsewhere", processor="Z80", runtime={"torch": "0.1"})
        check_profile(load_profile(elsewhere), f"replay:{elsewhere}")
        stale = changed(profile, tmp_path / "stale", lowering=0)
        with pytest.raises(UserError, match="lowering"):
            check_profile(load_profile(stale), f"replay:{stale}")
        assert open_target(target).stands_for == TARGET

    def test_it_cannot_be_profiled_and_does_not_know_strange_graphs(
        self, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(UserError, match="cannot be profiled"):
            profile_device(target, ALONE, "tiny", tmp_path / "new")
        assert not (tmp_path / "new").exists()
        monkeypatch.setattr("profiler.replay.item_blocks", lambda item: None)
        with pytest.raises(UserError, match="knows shapes"):
            measure_items({"graph": GraphFile(tmp_path / "g.onnx")}, target, [WORKLOAD], Policy(rounds=1))
