"""Real measuring processes: what they deliver, what a kill leaves, and what is said when they fail."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from devices.measurement import Sample
from devices.stopwatch import Policy
from devices.store import SampleStore
from devices.workload import Workload
from export.items import GraphFile, Item, Stack
from profiler.processes import measure_items
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
    measure_items(ITEMS, "cpu", [SHORT], POLICY, processes=1, store=store, reference="reference")
"""
POLICY = Policy(rounds=150, sample_ms=2.0)


def places(samples: list[Sample]) -> list[tuple[str, int, int]]:
    return sorted((sample.key, sample.process, sample.round) for sample in samples)


def test_all_is_measured_once_in_every_process_and_not_again(tmp_path: Path) -> None:
    policy = Policy(rounds=2)
    expected = sorted((key, process, n) for key in ("stack", "student") for process in range(2) for n in range(2))
    with SampleStore(tmp_path / "s.sqlite") as store:
        found = measure_items(ITEMS, "cpu", [SHORT], policy, processes=2, store=store, reference="reference")
        assert found.keys() == {(key, SHORT) for key in ITEMS}
        assert all(0 < measured.p50_ms <= measured.p90_ms < 1000 for measured in found.values())
        assert all(len(measured.process_medians_ms) == 2 for measured in found.values())
        samples = store.samples()
        assert places([sample for sample in samples if sample.key != "reference"]) == expected
        assert len([sample for sample in samples if sample.key == "reference"]) == 4
        assert store.items().keys() == ITEMS.keys()

        start = time.perf_counter()
        assert measure_items(ITEMS, "cpu", [SHORT], policy, processes=2, store=store, reference="reference") == found
        assert time.perf_counter() - start < 1.0, "a process was started for nothing"
        assert store.samples() == samples


def test_onnx_runtime_in_both_precisions() -> None:
    items = {key: ITEMS[key] for key in ("stack", "student")}
    workloads = [SHORT, Workload(2, 4, 1, "int8")]
    found = measure_items(items, "onnxruntime", workloads, Policy(rounds=2), processes=1)
    assert found.keys() == {(key, workload) for key in items for workload in workloads}
    assert all(measured.samples == 2 and measured.p50_ms > 0 for measured in found.values())


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
        measure_items(ITEMS, "cpu", [SHORT], POLICY, processes=1, store=store, reference="reference")
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
        ("cpu", Workload(1, 8, 1, "int8"), "no precision 'int8'"),
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
