"""Real measuring processes: what they deliver, what a kill leaves, and what is said when they fail."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from devices.measurement import Cell, Measurement, Sample, Turn
from devices.reference import reference_workload
from devices.stopwatch import Policy
from devices.store import SampleStore
from devices.workload import Workload
from export.items import GraphFile, Item, Stack, item_to_json
from profiler.batches import batches
from profiler.job import Answer, Batch, Setup, Task
from profiler.measuring_process import Crew
from profiler.processes import measure_cells, measure_items
from runs.errors import UserError
from runs.progress import Progress
from students.spec import LayerBlock, TransformerLayer, uniform_spec

SHORT = Workload(1, 8)
ITEMS: dict[str, Item] = {
    "stack": Stack(LayerBlock(32, TransformerLayer(2, 32, 64)), 2),
    "student": uniform_spec(1, 32, 2, 64, vocabulary_size=50, maximum_positions=16),
    "reference": Stack(LayerBlock(48, TransformerLayer(2, 32, 64)), 1),
}

MEASURES = """
import sys
from pathlib import Path
from test_items import ITEMS, SHORT, POLICY
from devices.store import SampleStore
from profiler.processes import measure_items
with SampleStore(Path(sys.argv[1])) as store:
    measure_items(ITEMS, "onnxruntime", [SHORT], POLICY, processes=1, store=store, reference="reference")
"""
POLICY = Policy(rounds=150, sample_ms=2.0)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """Processes that several tests share, since each takes seconds to start."""
    with Crew("onnxruntime") as shared:
        yield shared


def places(samples: list[Sample]) -> list[tuple[str, int, int]]:
    return sorted((sample.key, sample.process, sample.round) for sample in samples)


def test_all_is_measured_once_in_every_process_and_not_again(tmp_path: Path) -> None:
    policy = Policy(rounds=2)
    expected = sorted((key, process, n) for key in ("stack", "student") for process in range(2) for n in range(2))
    with SampleStore(tmp_path / "s.sqlite") as store:
        found = measure_items(ITEMS, "cpu", [SHORT], policy, processes=2, store=store, reference="reference")
        assert found.keys() == {("stack", SHORT), ("student", SHORT), ("reference", reference_workload(SHORT))}
        assert all(0 < measured.p50_ms <= measured.p90_ms < 1000 for measured in found.values())
        assert all(len(measured.process_medians_ms) == 2 for measured in found.values())
        samples = store.samples()
        assert places([sample for sample in samples if sample.key != "reference"]) == expected
        assert places([sample for sample in samples if sample.key == "reference"]) == [
            ("reference", process, number) for process in range(2) for number in range(2)
        ]
        assert [(turn.process, turn.rounds) for turn in store.turns()] == [(0, 2), (1, 2)]
        assert [file.name for file in tmp_path.iterdir() if "sqlite" not in file.name] == []
        assert store.items().keys() == ITEMS.keys()

        start = time.perf_counter()
        assert measure_items(ITEMS, "cpu", [SHORT], policy, processes=2, store=store, reference="reference") == found
        assert time.perf_counter() - start < 1.0, "a process was started for nothing"
        assert store.samples() == samples

        more = measure_items(ITEMS, "cpu", [SHORT], policy, processes=3, store=store)
        assert store.samples()[: len(samples)] == samples and store.turns()[-1].process == 2
        medians = more["student", SHORT].process_medians_ms
        assert medians[:2] == found["student", SHORT].process_medians_ms and len(medians) == 3
        fewer = measure_items(ITEMS, "cpu", [SHORT], policy, processes=2, store=store)
        assert fewer["student", SHORT] == found["student", SHORT], "a third process began, perhaps not to its end"


def test_cells_of_many_kinds_are_measured_in_one_go_with_a_reference_for_each(crew: Crew) -> None:
    cells = [
        Cell("student", Workload(1, 5)),
        Cell("stack", Workload(2, 7, 2)),
        Cell("student", Workload(1, 16, 1, "int8")),
        Cell("reference", Workload(1, 33)),
        Cell("reference", Workload(1, 128)),
    ]
    own = [Workload(1, 128), Workload(1, 128, 2), Workload(1, 128, 1, "int8")]
    with SampleStore(":memory:") as store:
        found = measure_cells(
            ITEMS, cells, "onnxruntime", Policy(rounds=2), processes=2, store=store, reference="reference", crew=crew
        )
        assert found.keys() == {(cell.key, cell.workload) for cell in cells} | {("reference", each) for each in own}
        assert all(measured.samples == 4 and measured.p50_ms > 0 for measured in found.values())
        # Each process had its turn at the whole batch, and none measured while another did.
        processes = [sample.process for sample in store.samples()]
        assert processes == sorted(processes)


def workers() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_a_crew_stays_for_several_calls_and_a_deadline_stops_between_batches(tmp_path: Path) -> None:
    cells = [Cell("stack", Workload(1, length)) for length in range(4, 10)]
    others, one_by_one = workers(), Policy(rounds=1, held_open=1, sample_ms=150.0, max_runs=10**6)

    def measured(**how: Any) -> dict[tuple[str, Workload], Measurement]:
        return measure_cells(ITEMS, cells, "onnxruntime", one_by_one, processes=2, store=store, **how)

    with SampleStore(tmp_path / "s.sqlite") as store, Crew("onnxruntime", folder=tmp_path) as crew:
        assert measured(deadline=time.time(), crew=crew) == {}
        assert workers() == others, "processes were started for nothing"
        crew.prepare(range(2))
        own = workers() - others
        assert len(own) == 2
        # All six batches take twice that long at least.
        begun = measured(deadline=time.time() + 0.8, crew=crew)
        assert 0 < len(begun) < len(cells)
        kept = store.samples()
        whole = measured(crew=crew, reference="reference")
        assert workers() - others == own
        assert store.samples()[: len(kept)] == kept
        assert [key for key, _ in whole].count("stack") == len(cells)
    assert workers() == others
    assert [file.name for file in tmp_path.iterdir()] == ["s.sqlite"]


def test_batches_keep_an_items_cells_together_and_stay_small() -> None:
    large = uniform_spec(4, 512, 8, 2048)
    items: dict[str, Item] = {**ITEMS, "large": large}
    cells = [Cell(key, Workload(1, length)) for length in (4, 8, 16) for key in ("student", "large", "stack")]
    found = list(batches(items, [*cells, cells[0]], Policy(held_open=5)))
    assert [sorted({cell.key for cell in batch}) for batch in found] == [["student"], ["large"], ["stack"]]
    assert sorted((cell for batch in found for cell in batch), key=repr) == sorted(cells, key=repr)
    assert [len(batch) for batch in batches(items, cells, Policy(held_open=2))] == [2, 1, 2, 1, 2, 1]
    assert [len(batch) for batch in batches(items, cells, Policy())] == [9]
    tight = Policy(held_gib=large.parameters() * 4 / 2**30)
    assert [sorted({cell.key for cell in batch}) for batch in batches(items, cells, tight)] == [
        ["student"],
        ["large"],
        ["stack"],
    ]


def test_what_goes_between_processes_survives_its_line() -> None:
    setup = Setup("cpu", 2, 5, Path("/somewhere"))
    assert Setup.from_line(setup.to_line()) == setup
    task = Task(Cell("stack", Workload(2, 9, 2, "int8")), (0, 3), {1: 2.5, 2: 3.5})
    batch = Batch(ITEMS, (task,), Policy(rounds=7), "reference", {Workload(): 4})
    assert Batch.from_line(batch.to_line()) == batch
    answers = [
        Answer(),
        Answer(sample=Sample("stack", SHORT, 1, 2, 3.5, 4.5)),
        Answer(note="waiting"),
        Answer(turn=Turn(1, 2.0, 3.0, 4, 5, 6.0, 7.0)),
        Answer(error="no\nsuch"),
    ]
    for answer in answers:
        assert Answer.from_line(answer.to_line()) == answer


def test_extra_rounds_are_not_taken_twice(tmp_path: Path, crew: Crew) -> None:
    policy = Policy(rounds=2, sample_ms=0.0, extra_rounds=3, tolerance_percent=0.001)
    cells = [Cell("stack", SHORT)]
    with SampleStore(tmp_path / "s.sqlite") as store:
        found = measure_cells(ITEMS, cells, "onnxruntime", policy, processes=1, store=store, crew=crew)
        assert found["stack", SHORT].samples == 5
        assert measure_cells(ITEMS, cells, "onnxruntime", policy, processes=1, store=store) == found


def test_what_had_no_quiet_moment_in_a_process_is_taken_again_there(tmp_path: Path, crew: Crew) -> None:
    policy = Policy(rounds=3, retakes=1)
    with SampleStore(tmp_path / "s.sqlite") as store:
        store.add_items({key: item_to_json(item) for key, item in ITEMS.items()})
        for process in range(2):
            for number in range(3):
                # The student was never disturbed, the stack all the time in the second process.
                slow = 4.0 if process else 2.0
                store.add(Sample("stack", SHORT, process, number, slow, float(number)))
                store.add(Sample("student", SHORT, process, number, 2.0, float(number)))

        def models() -> list[Sample]:
            cells = [Cell("stack", SHORT), Cell("student", SHORT)]
            measure_cells(
                ITEMS, cells, "onnxruntime", policy, processes=2, store=store, reference="reference", crew=crew
            )
            return [one for one in store.samples() if one.key != "reference"]

        after = models()
    assert places(after) == sorted(
        (key, process, number)
        for key in ("stack", "student")
        for process in range(2)
        for number in range(6 if (key, process) == ("stack", 1) else 3)
    )


def test_what_two_processes_agree_on_is_not_taken_again_for_a_third(tmp_path: Path, crew: Crew) -> None:
    with SampleStore(tmp_path / "s.sqlite") as store:
        store.add_items({"stack": item_to_json(ITEMS["stack"])})
        for process, milliseconds in enumerate((2.0, 4.0, 2.02)):
            store.add(Sample("stack", SHORT, process, 0, milliseconds, 0.0))
        policy = Policy(rounds=1, retakes=2)
        measure_cells(ITEMS, [Cell("stack", SHORT)], "onnxruntime", policy, store=store, crew=crew)
        assert len(store.samples()) == 3


def test_a_third_process_is_asked_where_two_disagree(
    tmp_path: Path, crew: Crew, capsys: pytest.CaptureFixture[str]
) -> None:
    with SampleStore(tmp_path / "s.sqlite") as store:
        store.add_items({key: item_to_json(ITEMS[key]) for key in ("stack", "student")})
        for key, process, milliseconds in (
            ("stack", 0, 2.0),
            ("stack", 1, 4.0),
            ("student", 0, 2.0),
            ("student", 2, 2.01),
        ):
            store.add(Sample(key, SHORT, process, 0, milliseconds, 0.0))
        policy = Policy(rounds=1, visits=2, retakes=1)
        cells = [Cell(key, SHORT) for key in ("stack", "student")]
        found = measure_cells(ITEMS, cells, "onnxruntime", policy, progress=Progress(), store=store, crew=crew)
        assert set(found) == {("stack", SHORT), ("student", SHORT)}
        assert "timing 1 of 2 cells again, which no second process confirms" in capsys.readouterr().err
        assert {(one.key, one.process) for one in store.samples()[4:]} == {("stack", 2)}


def test_visits_are_shared_among_the_processes(tmp_path: Path, crew: Crew) -> None:
    policy = Policy(rounds=1, visits=2, held_open=1)
    cells = [Cell("stack", Workload(1, length)) for length in (4, 5, 6)]
    with SampleStore(tmp_path / "s.sqlite") as store:
        assert len(measure_cells(ITEMS, cells, "onnxruntime", policy, store=store, crew=crew)) == 3
        by_length = sorted((one.workload.sequence_length, one.process) for one in store.samples())
    assert by_length == [(4, 0), (4, 1), (5, 1), (5, 2), (6, 0), (6, 2)]


def test_a_disk_that_is_full_stops_the_work_and_it_goes_on_later(tmp_path: Path, crew: Crew) -> None:
    policy = Policy(rounds=400, sample_ms=0.0, settle_runs=0)
    cells = [Cell(key, Workload(1, length)) for key in ("stack", "student") for length in (4, 8)]
    with SampleStore(tmp_path / "s.sqlite") as store:
        store.add_items({key: item_to_json(item) for key, item in ITEMS.items()})
        [(pages,)] = store._connection.execute("PRAGMA page_count")
        store._connection.execute(f"PRAGMA max_page_count={pages + 6}")
        with pytest.raises(UserError, match="no room is left"):
            measure_cells(ITEMS, cells, "onnxruntime", policy, processes=1, store=store, crew=crew)
        kept = store.samples()
        assert 0 < len(kept) < 400 * len(cells)
        store._connection.execute("PRAGMA max_page_count=100000")
        measure_cells(ITEMS, cells, "onnxruntime", policy, processes=1, store=store, crew=crew)
        after = store.samples()
    assert after[: len(kept)] == kept
    assert sorted((sample.key, sample.workload, sample.round) for sample in after) == sorted(
        (cell.key, cell.workload, number) for cell in cells for number in range(400)
    )


def test_a_killed_measurement_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    (tmp_path / "test_items.py").write_bytes(Path(__file__).read_bytes())
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", MEASURES, str(path)], env=environment)
    workers: list[psutil.Process] = []
    before: list[Sample] = []
    for _ in range(3000):
        time.sleep(0.02)
        assert parent.poll() is None, "it was over before it could be killed"
        if path.exists() and not workers:
            workers = psutil.Process(parent.pid).children(recursive=True)
        if workers:
            with SampleStore(path, read_only=True) as store:
                before = store.samples()
        if len(before) > 20:
            break
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert workers and 20 < len(before) < 300
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive, "a measuring process outlived its parent"

    with SampleStore(path) as store:
        kept = store.samples()
        assert kept[: len(before)] == before
        measure_items(ITEMS, "onnxruntime", [SHORT], POLICY, processes=1, store=store, reference="reference")
        after = store.samples()
    assert after[: len(kept)] == kept
    assert places([sample for sample in after if sample.key != "reference"]) == sorted(
        (key, 0, number) for key in ("stack", "student") for number in range(POLICY.rounds)
    )
    assert len(set(places(after))) == len(after)


class Killer(Progress):
    """Ends every measuring process at the first sample."""

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator["Killer"]:
        yield self

    def advance(self, n: int = 1) -> None:
        for child in psutil.Process().children():
            child.kill()


def test_a_process_that_the_system_ends_is_a_user_error() -> None:
    with pytest.raises(UserError, match="ended by signal 9.*run the same command again"):
        measure_items({"stack": ITEMS["stack"]}, "cpu", [SHORT], POLICY, processes=1, progress=Killer(quiet=True))


def test_what_cannot_be_loaded_is_the_same_sentence_as_in_this_process(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    items: dict[str, Item] = {"broken": GraphFile(tmp_path / "broken.onnx")}
    before = set(psutil.Process().children())
    with pytest.raises(UserError, match="broken.onnx is not an ONNX file"):
        measure_items(items, "onnxruntime", [SHORT], Policy(rounds=1), processes=1)
    assert set(psutil.Process().children()) <= before


@pytest.mark.parametrize(
    ("target", "workload", "message"),
    [
        ("abacus", SHORT, "unknown target 'abacus'"),
        ("cpu", Workload(1, 8, 1, "fp16"), "no precision 'fp16'"),
        ("cpu", Workload(1, 8, 4096), "--threads is 4096"),
        ("replay", SHORT, "replay:DIR"),
        ("replay:/nowhere", SHORT, "/nowhere is not a device profile"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    target: str, workload: Workload, message: str, tmp_path: Path
) -> None:
    with SampleStore(tmp_path / "s.sqlite") as store:
        with pytest.raises(UserError, match=message):
            measure_items(ITEMS, target, [workload], Policy(), store=store)
        assert store.items() == {}


def test_a_cell_without_an_item_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with SampleStore(tmp_path / "s.sqlite") as store:
        with pytest.raises(UserError, match="no item 'stranger' to measure"):
            measure_cells(ITEMS, [Cell("stranger", SHORT)], "cpu", Policy(), store=store)
        assert store.items() == {}
