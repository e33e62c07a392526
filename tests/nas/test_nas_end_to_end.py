"""The whole chain on a tiny teacher, tiny data and a replayed device, undisturbed and killed again and again."""

import hashlib
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import optuna
import pytest
import torch
from tiny_world import DISTURBANCE, WORKLOAD, make_data, make_profile, make_space, make_teacher

from nas.groundwork import automatic_length
from nas.methods import METHODS
from nas.schedule import EFFORTS, Effort
from nas.search import SearchSettings, search
from runs.errors import UserError
from runs.files import read_json
from runs.progress import Progress
from students.bert import load_model
from students.spec import StudentSpec

TINY = Effort(
    "tiny",
    episodes=3,
    candidates=4,
    steps=6,
    subset=0.5,
    finalists=3,
    distilled=2,
    final_work=20.0,
    supernet_steps=30,
    pool_size=500,
    exploration_step=0.35,
)


@dataclass(frozen=True)
class World:
    root: Path
    settings: SearchSettings


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("world")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILORBIRD_HOME", str(root / "home"))
        patch.setitem(EFFORTS._entries, TINY.name, TINY)
        # Files are timed for real: in two processes, since each takes seconds to start.
        patch.setattr("nas.device.PROCESSES", 2)
        data, members = make_data(root / "data.csv"), make_space(root / "space.yaml")
        settings = SearchSettings(
            budgets_ms=(2.0,),
            workload=WORKLOAD,
            target=f"replay:{make_profile(root / 'profile', members)}",
            teacher=str(make_teacher(root / "teacher", data)),
            data=str(data),
            space=str(members),
            effort=TINY.name,
        )
        yield World(root, settings)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(world: World) -> tuple[Path, dict[str, Any]]:
    folder = world.root / "undisturbed"
    (verdict,) = search(replace(world.settings, output=folder), Progress(quiet=True))
    return folder, verdict


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "students/2ms/student/model.safetensors").read_bytes()).hexdigest()


def trials(folder: Path) -> list[tuple[dict[str, Any], Any, Any]]:
    study = optuna.load_study(study_name="2ms", storage=f"sqlite:///{folder / 'study.db'}")
    kept = [{name: value for name, value in one.user_attrs.items() if name != "seconds"} for one in study.trials]
    return [(one.params, one.value, about) for one, about in zip(study.trials, kept, strict=True)]


def test_the_verdict_says_everything_and_is_on_disk(world: World, finished: tuple[Path, dict[str, Any]]) -> None:
    folder, verdict = finished
    result = Path(verdict["folder"])
    assert result == folder / "students/2ms"
    stored = read_json(result / "verdict.json")
    assert stored == {name: value for name, value in verdict.items() if name not in ("folder", "label", "tried")}
    assert verdict["label"] == "2ms" and verdict["tried"] == []
    assert stored["budget_ms"] == 2.0 and stored["target"] == world.settings.target
    assert stored["workload"] == WORKLOAD.to_json() and stored["device"]["target"] == "onnxruntime"
    assert (stored["method"], stored["effort"], stored["seed"]) == ("ridge", "tiny", 0)
    final_steps = stored["schedule"]["final_steps"]
    assert TINY.final_work <= final_steps <= 6 * TINY.final_work
    expected = {"episodes": 3, "candidates": 12, "steps": 6, "subset": 0.5, "final_steps": final_steps}
    assert stored["schedule"] == expected
    assert stored["data"]["source"] == world.settings.data and stored["data"]["licence"]
    assert set(stored["seconds"]) == {"profile", "teacher", "search", "distill", "export"}
    assert all(stored["seconds"][stage] > 0 for stage in ("search", "distill", "export"))


def test_what_was_promised_is_kept(finished: tuple[Path, dict[str, Any]]) -> None:
    _, verdict = finished
    latency, score = verdict["latency_ms"], verdict["score"]
    assert verdict["within_budget"] is True and latency["measured_p50"] <= 2.0
    assert latency["interval"][0] < latency["predicted"] < latency["interval"][1]
    assert latency["predicted"] < 2.0 and latency["disturbance"] == DISTURBANCE.to_json()
    assert latency["interval"][0] < latency["measured_p50"] < latency["interval"][1]
    assert verdict["speedup"] == pytest.approx(verdict["teacher"]["latency_ms"] / latency["measured_p50"])
    assert verdict["speedup"] > 1 and verdict["teacher"]["fits_budget"] is False
    assert verdict["parity"]["max_abs_error"] <= 1e-4 and verdict["parity"]["agreement"] >= 0.999
    assert score["split"] == "test" and score["teacher"] > 0.9
    assert score["retained"] == pytest.approx(score["student"] / score["teacher"])
    assert score["student"] > 0.7, "a student that was sliced from its teacher and distilled knows the rule"


def test_the_files_work(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, verdict = finished
    result = folder / "students/2ms"
    spec = StudentSpec.from_json(verdict["student"]["spec"])
    assert load_model(result / "student").config.spec_object == spec
    assert verdict["student"]["parameters"] == spec.parameters()
    for file in verdict["student"]["files"]:
        assert (result / file["file"]).stat().st_size == file["bytes"]
        assert file["latency_ms"] > 0
        session = onnxruntime.InferenceSession(result / file["file"], providers=["CPUExecutionProvider"])
        ids = np.ones((3, 7), dtype=np.int64)
        (logits,) = session.run(None, {given.name: ids for given in session.get_inputs()})
        assert logits.shape == (3, 2)
    card = (result / "student/README.md").read_text()
    assert all(
        word in card for word in ("licence", "ms", "bag-of-words", "noise floor", str(verdict["data"]["source"]))
    )
    assert "plotly" in (folder / "report.html").read_text()
    assert not (folder / "work").exists()


def test_the_front_is_left_as_shapes(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished
    tried, front = trials(folder), {}
    for file in (folder / "front/2ms").iterdir():
        _, reward, details = tried[number := int(file.stem.removeprefix("trial-"))]
        front[number] = (-reward, details["ms"], StudentSpec.from_json(read_json(file)).parameters())
    assert max(range(len(tried)), key=lambda number: tried[number][1]) in front
    for one, other in permutations(front.values(), 2):
        assert one == other or any(mine > theirs for mine, theirs in zip(one, other, strict=True)), "one is beaten"


def test_a_finished_search_only_reads(world: World, finished: tuple[Path, dict[str, Any]]) -> None:
    folder, verdict = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert search(replace(world.settings, output=folder, data=world.settings.data), Progress(quiet=True)) == [verdict]
    assert before == {path: path.stat().st_mtime_ns for path in before}


class Killed(BaseException):
    pass


class Deadly(Progress):
    """Cuts the search down at the n-th thing it says or counts."""

    def __init__(self, lives: int) -> None:
        super().__init__(quiet=True)
        self.lives = lives

    def say(self, text: str) -> None:
        self.lives -= 1
        if self.lives == 0:
            raise Killed

    def task(self, label: str, total: int, done: int = 0) -> Any:
        deadly = self

        class Counting:
            def __enter__(self) -> "Counting":
                return self

            def __exit__(self, *about: object) -> None:
                pass

            def advance(self, n: int = 1) -> None:
                deadly.say(label)

        return Counting()


def test_a_search_by_supernet_ends_the_same_however_often_it_is_killed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A generation of 25 would only take longer.
    monkeypatch.setitem(METHODS._entries, "autotinybert", replace(METHODS["autotinybert"], candidates=5))
    settings = replace(world.settings, method="autotinybert")
    (verdict,) = search(replace(settings, output=world.root / "parts"), Progress(quiet=True))
    assert verdict["within_budget"] and verdict["score"]["student"] > 0.7
    final_steps = verdict["schedule"]["final_steps"]
    expected = {"episodes": 3, "candidates": 15, "supernet_steps": 30, "final_steps": final_steps}
    assert verdict["schedule"] == expected and final_steps >= TINY.final_work
    assert verdict["parity"]["agreement"] >= 0.999
    kept = world.root / "parts" / "supernet"
    assert (kept / "supernet.json").is_file() and not list(kept.parent.glob(".supernet*"))
    again, kills = _killed(replace(settings, output=world.root / "parts-killed"), (12, 40, 10_000))
    assert kills == 2 and trials(world.root / "parts-killed") == trials(world.root / "parts")
    for part in ("schedule", "latency_ms", "within_budget"):
        assert verdict[part] == again[part], part
    assert verdict["student"]["spec"] == again["student"]["spec"]


def _killed(settings: SearchSettings, lives: tuple[int, ...]) -> tuple[dict[str, Any], int]:
    """The verdict of a search that is cut down after so many words, again and again, and how often it was."""
    for kills, one in enumerate(lives):
        try:
            (verdict,) = search(settings, Deadly(one))
            return verdict, kills
        except Killed:
            pass
    raise AssertionError("it never ended")


def test_killed_again_and_again_it_ends_the_same(world: World, finished: tuple[Path, dict[str, Any]]) -> None:
    whole, verdict = finished
    folder = world.root / "killed"
    again, kills = _killed(replace(world.settings, output=folder), (9, 20, 45, 10_000))
    assert kills == 3
    assert trials(folder) == trials(whole)
    assert weights(folder) == weights(whole)
    for part in ("schedule", "score", "within_budget", "parity", "latency_ms"):
        assert verdict[part] == again[part], part
    assert verdict["student"]["spec"] == again["student"]["spec"]


class TestBadInput:
    def refuse(self, world: World, message: str, **changes: Any) -> None:
        folder = world.root / "refused"
        with pytest.raises(UserError, match=message):
            search(replace(world.settings, output=folder, **changes), Progress(quiet=True))
        assert not folder.exists(), "nothing is left half-written"

    def test_a_supernet_many_times_the_teacher(self, world: World) -> None:
        self.refuse(
            world,
            r"a supernet of the space kd-nas would have \d+ M weights",
            method="autotinybert",
            space="kd-nas",
            budgets_ms=(500.0,),
        )

    def test_a_budget_that_no_student_meets_names_the_fastest(self, world: World) -> None:
        self.refuse(world, r"no student .* --budget-ms 0.5: the fastest possible \(1 layer × 16.*takes 1\.\d+ ms",
                    budgets_ms=(0.5,))  # fmt: skip

    def test_one_hopeless_budget_of_two(self, world: World) -> None:
        self.refuse(world, "--budget-ms 0.5", budgets_ms=(2.0, 0.5))

    def test_too_few_weights_allowed(self, world: World) -> None:
        self.refuse(world, "--max-parameters is 10, and the smallest", max_parameters=10)

    def test_too_small_a_file_asked_for(self, world: World) -> None:
        self.refuse(world, "--max-file-mb is 0.01, and the smallest fp32 file", max_file_mb=0.01)
        self.refuse(world, "--max-file-mb is -1: it must be a number above 0", max_file_mb=-1.0)

    def test_too_little_memory_allowed(self, world: World) -> None:
        self.refuse(world, "--max-memory-mb is nan: it must be a number above 0", max_memory_mb=float("nan"))
        self.refuse(world, "--max-memory-mb is 2, and the fp32 file that takes least in .* to run", max_memory_mb=2.0)

    @pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
    def test_budgets_that_are_none(self, world: World, budget: float) -> None:
        self.refuse(world, "--budget-ms", budgets_ms=(budget,))

    def test_the_same_budget_twice(self, world: World) -> None:
        self.refuse(world, "twice", budgets_ms=(2.0, 2.0))

    def test_unknown_names(self, world: World) -> None:
        self.refuse(world, "unknown method 'kd_nas': use one of kd-nas", method="kd_nas")
        self.refuse(world, "unknown effort", effort="fast")
        self.refuse(world, "unknown target", target="toaster")

    def test_files_that_are_not_there(self, world: World) -> None:
        self.refuse(world, "missing.csv", data=str(world.root / "missing.csv"))
        self.refuse(world, "teacher", teacher=str(world.root / "no-teacher"))
        self.refuse(world, "profile", profile=world.root / "no-profile")

    def test_a_longer_sequence_than_the_teacher_reads(self, world: World) -> None:
        self.refuse(world, "--sequence-length is 64", workload=replace(WORKLOAD, sequence_length=64))

    def test_a_folder_of_another_run(self, world: World, finished: tuple[Path, dict[str, Any]]) -> None:
        with pytest.raises(UserError, match="seed"):
            search(replace(world.settings, output=finished[0], seed=1), Progress(quiet=True))


def test_automatic_length_is_the_99th_percentile_rounded_up() -> None:
    assert automatic_length(np.array([10] * 990 + [400] * 10), 512) == 16
    assert automatic_length(np.array([17] * 1000), 512) == 32
    assert automatic_length(np.array([30] * 900 + [45] * 100), 512) == 48
    assert automatic_length(np.array([500] * 10), 100) == 100


def test_the_default_folder_depends_on_all_that_decides(world: World) -> None:
    first = world.settings.folder()
    assert first.name.startswith("tailorbird-") and first == replace(world.settings).folder()
    assert first != replace(world.settings, seed=1).folder()
    assert replace(world.settings, output=world.root / "x").folder() == world.root / "x"
