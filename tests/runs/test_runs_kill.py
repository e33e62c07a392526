"""A run killed at any moment goes on where it was: no stage is lost once stored, none is stored twice."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

STAGES = 30

WORK = """
import sys
from pathlib import Path
from runs.folder import open_run
folder, count = Path(sys.argv[1]), int(sys.argv[2])
with open_run(folder / "run", "work", {"count": count}) as run:
    for n in range(count):
        def compute(n=n):
            with (folder / "computed.txt").open("a") as log:
                log.write(f"{n}\\n")
            return {"n": n, "ballast": "x" * 200_000}
        run.stage(f"stage-{n}", compute)
        print(n, flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(folder), str(STAGES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_and_finish(folder: Path, after: int, delay_seconds: float) -> None:
    """Kill once stage `after` has been reported and a little time has passed, check, then run to the end."""
    process = start(folder)
    assert process.stdout is not None
    reported = -1
    while reported < after:
        reported = int(process.stdout.readline())
    time.sleep(delay_seconds)
    process.kill()
    process.communicate()
    stages = json.loads((folder / "run" / "run.json").read_text())["stages"]
    assert len(stages) > after
    stored = len(stages)
    again = start(folder)
    _, complaints = again.communicate()
    assert again.returncode == 0, complaints
    stages = json.loads((folder / "run" / "run.json").read_text())["stages"]
    assert [stage["result"]["n"] for stage in stages.values()] == list(range(STAGES))
    computed = [int(line) for line in (folder / "computed.txt").read_text().splitlines()]
    assert computed.count(after) == 1
    repeated = [n for n in range(STAGES) if computed.count(n) > 1]
    assert repeated in ([], [stored]), "only the stage that was under way may be computed again"
    assert not list((folder / "run").glob("*.part"))


@pytest.mark.parametrize("after", [0, 7])
def test_a_killed_run_goes_on_where_it_was(tmp_path, after):
    kill_and_finish(tmp_path, after, delay_seconds=0.003)


@pytest.mark.faults
@pytest.mark.parametrize("after", range(0, STAGES - 2, 3))
@pytest.mark.parametrize("delay_seconds", [0.0, 0.001, 0.004])
def test_a_run_killed_at_many_moments_goes_on_where_it_was(tmp_path, after, delay_seconds):
    kill_and_finish(tmp_path, after, delay_seconds)
