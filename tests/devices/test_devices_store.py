"""The sample store: nothing lost, nothing doubled, strangers refused and left alone."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.fingerprint import Fingerprint
from devices.measurement import Sample, Turn
from devices.store import IN_MEMORY, STORE_SCHEMA, SampleStore
from devices.workload import Workload
from runs.errors import UserError

SAMPLE = Sample("a", Workload(), 0, 0, 1.25, 1000.5)
MARK = Fingerprint("P", "x86_64", 2, 8.0, "Linux", "3.11", "cpu", {"torch": "1"}, {"numpy": "2"}, 1)

WRITES_FOREVER = """
import sys
from devices.measurement import Sample
from devices.store import SampleStore
from devices.workload import Workload
store = SampleStore(sys.argv[1])
for number in range(10**9):
    store.add(Sample("a", Workload(), 0, number, 1.0, 0.0))
    print(number, flush=True)
"""


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    with SampleStore(tmp_path / "s.sqlite") as store:
        assert store.fingerprint is None and store.samples() == [] and store.items() == {}
        store.set_fingerprint(MARK)
        store.add_items({"b": {"x": 1}, "a": {"y": [2]}})
        store.add_items({"a": {"y": "other"}})
        store.add(SAMPLE)
    with SampleStore(tmp_path / "s.sqlite", read_only=True) as store:
        assert store.fingerprint == MARK
        assert store.items() == {"b": {"x": 1}, "a": {"y": [2]}}
        assert store.samples() == [SAMPLE]
    assert [file.name for file in tmp_path.iterdir()] == ["s.sqlite"]


@given(
    st.sets(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from([Workload(), Workload(8, 32, 2, "int8")]),
            st.integers(0, 2),
            st.integers(0, 5),
        )
    )
)
def test_each_sample_is_kept_once(places: set[tuple[str, Workload, int, int]]) -> None:
    with SampleStore(IN_MEMORY) as store:
        samples = [Sample(*place, float(n), float(n)) for n, place in enumerate(sorted(places))]
        for sample in samples:
            store.add(sample)
        for sample in samples:
            with pytest.raises(sqlite3.IntegrityError):
                store.add(sample)
        assert store.samples() == samples
        assert store.samples(["a"]) == [sample for sample in samples if sample.key == "a"]


def test_what_was_stored_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITES_FOREVER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    heard = [int(writer.stdout.readline()) for _ in range(50)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    with SampleStore(path) as store:
        numbers = [sample.round for sample in store.samples()]
    assert numbers == list(range(len(numbers))) and len(numbers) > heard


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    SampleStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={STORE_SCHEMA + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match="newer version"):
        SampleStore(path)
    assert path.read_bytes() == before


def test_turns_are_kept_beside_the_samples(tmp_path: Path) -> None:
    turns = [Turn(process, 10.0 * process, 2.5, 3, 1, 0.01, 3.0) for process in (2, 0)]
    with SampleStore(tmp_path / "s.sqlite") as store:
        for turn in turns:
            store.add_turn(turn)
    with SampleStore(tmp_path / "s.sqlite", read_only=True) as store:
        assert store.turns() == turns


def older_store(path: Path) -> None:
    """What schema 1 left: no turns."""
    with SampleStore(path) as store:
        store.add(SAMPLE)
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE turns; PRAGMA user_version=1;")
    connection.close()


def test_an_older_store_is_read_as_it_is_and_goes_on_as_a_new_one(tmp_path: Path) -> None:
    older_store(tmp_path / "s.sqlite")
    before = (tmp_path / "s.sqlite").read_bytes()
    with SampleStore(tmp_path / "s.sqlite", read_only=True) as store:
        assert store.samples() == [SAMPLE] and store.turns() == []
    assert (tmp_path / "s.sqlite").read_bytes() == before
    with SampleStore(tmp_path / "s.sqlite") as store:
        store.add_turn(Turn(0, 1.0, 2.0, 3, 0, 0.0, 0.0))
        assert store.samples() == [SAMPLE] and len(store.turns()) == 1


def test_a_store_that_may_grow_no_more_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with SampleStore(path) as store:
        store.add(SAMPLE)
        [(pages,)] = store._connection.execute("PRAGMA page_count")
        store._connection.execute(f"PRAGMA max_page_count={pages}")
        written = 1
        with pytest.raises(UserError, match="no room is left to write to .*s.sqlite.*run the same command again"):
            for number in range(1, 10_000):
                store.add(Sample("a", Workload(), 0, number, 1.0, 0.0))
                written += 1
        with pytest.raises(UserError, match="no room"):
            store.add_items({str(number): {"x": "y" * 1000} for number in range(100)})
        assert [sample.round for sample in store.samples()] == list(range(written))
    with SampleStore(path) as store:
        assert [sample.round for sample in store.samples()] == list(range(written))
        store.add(Sample("a", Workload(), 0, written, 1.0, 0.0))


FILLS_THE_DISK = """
import resource, signal, sys
from devices.measurement import Sample
from devices.store import SampleStore
from devices.workload import Workload
from runs.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
number = 0
try:
    with SampleStore(sys.argv[1]) as store:
        while True:
            store.add(Sample("a", Workload(), 0, number, 1.0, 0.0))
            number += 1
except UserError as problem:
    print(number, problem)
"""


def test_a_full_disk_is_one_sentence_and_nothing_stored_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    ended = subprocess.run([sys.executable, "-c", FILLS_THE_DISK, str(path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    count, _, sentence = ended.stdout.partition(" ")
    assert "no room is left" in sentence and sentence.count("\n") == 1
    with SampleStore(path) as store:
        assert [sample.round for sample in store.samples()] == list(range(int(count)))
        store.add(Sample("a", Workload(), 0, int(count), 1.0, 0.0))


def test_a_strangers_database_and_a_broken_file_are_refused_and_left_alone(tmp_path: Path) -> None:
    stranger, broken = tmp_path / "stranger.sqlite", tmp_path / "broken.sqlite"
    connection = sqlite3.connect(stranger)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    broken.write_bytes(b"this is no database at all, though it is long enough to be read as one" * 20)
    for path, message in ((stranger, "something else"), (broken, "not a whole sample store")):
        before = path.read_bytes()
        with pytest.raises(UserError, match=message):
            SampleStore(path)
        assert path.read_bytes() == before


def test_reading_does_not_make_a_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        SampleStore(tmp_path / "none.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_store_closes_while_somebody_looks_into_it(tmp_path: Path) -> None:
    with SampleStore(tmp_path / "s.sqlite") as store:
        reader = sqlite3.connect(tmp_path / "s.sqlite")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM samples").fetchone()
        store.add(SAMPLE)
    reader.close()
    with SampleStore(tmp_path / "s.sqlite", read_only=True) as store:
        assert store.samples() == [SAMPLE]
