"""`gpu.sh` on machines of every kind: steps are done once, stopped in time, and what is missing is said."""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import torch

from benchmarks.gpu import LEAST_SECONDS, ROOT, STAGES, TARGETS, Step, counted, parsed, steps, work

FINISHED = "import json; print(json.dumps({'finished': True, 'bars': 1}))"
UNFINISHED = "import json, sys; assert '--minutes' in sys.argv; print(json.dumps({'finished': False}))"
FAILING = "print('what went wrong'); raise SystemExit(7)"
SLOW = "import time; time.sleep(60)"


def step(name: str, code: str) -> Step:
    return Step(name, (sys.executable, "-c", code))


def worked(todo: list[Step], seconds: float, kept: dict[str, Any], folder: Path) -> tuple[dict[str, str], int]:
    saved = []
    states = work(todo, monotonic() + seconds, folder, kept, lambda: saved.append(1))
    return states, len(saved)


def test_finished_steps_are_not_repeated_and_others_are(tmp_path: Path) -> None:
    kept: dict[str, Any] = {"steps": {}}
    todo = [step("a", FINISHED), step("b", UNFINISHED), step("c", FAILING)]
    states, saved = worked(todo, 600, kept, tmp_path)
    assert states == {"a": "finished", "b": "stopped", "c": "failed"} and saved == 3
    assert kept["steps"]["a"]["found"]["bars"] == 1
    assert kept["steps"]["c"]["found"] == {"code": 7, "output": "what went wrong\n"}
    again = [step("a", FAILING), step("b", FINISHED), step("c", FINISHED)]
    states, saved = worked(again, 600, kept, tmp_path)
    assert set(states.values()) == {"finished"} and saved == 2


def test_no_step_is_begun_near_the_end_nor_outlasts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {"steps": {}}
    assert worked([step("a", FINISHED)], LEAST_SECONDS - 1, kept, tmp_path) == ({"a": "not begun"}, 0)
    monkeypatch.setattr("benchmarks.gpu.LEAST_SECONDS", 0.5)
    began = monotonic()
    assert worked([step("a", SLOW), step("b", FINISHED)], 1.0, kept, tmp_path)[0] == {"a": "stopped", "b": "not begun"}
    assert monotonic() - began < 10


def test_every_stage_of_every_target_is_a_step_after_the_contract(tmp_path: Path) -> None:
    found = list(steps(parsed(["--output", str(tmp_path)])))
    assert [one.name for one in found] == [
        "contract tests",
        *(f"{target}: {stage}" for target in TARGETS for stage in STAGES),
    ]
    for test in found[0].command:
        assert not test.startswith("tests/") or (ROOT / test).is_file()


def test_students_are_taught_by_every_teacher_on_all_data(tmp_path: Path) -> None:
    asked = ["--output", str(tmp_path), "--grid", "sst2=data/sst2", "--teacher", "m/minilm", "--teacher", "m/mpnet"]
    found = {one.name: one.command for one in steps(parsed(asked))}
    assert [name for name in found if name.startswith("grid")] == ["grid: sst2-minilm", "grid: sst2-mpnet"]
    told = found["grid: sst2-mpnet"]
    assert "sst2-mpnet=data/sst2" in told and told[told.index("--teacher") + 1] == "m/mpnet"
    assert (ROOT / told[1]).is_file()
    for flag in ("--grid", "--search"):
        with pytest.raises(SystemExit):
            parsed([flag, "trec=t"])
    with pytest.raises(SystemExit, match="2"):
        parsed(["--grid", "trec"])


def test_searches_and_their_proxies_are_steps_too(tmp_path: Path) -> None:
    asked = ["--output", str(tmp_path), "--search", "trec=data/trec", "--teacher", "m/minilm"]
    found = {one.name: one.command for one in steps(parsed(asked)) if "minilm" in one.name}
    assert list(found) == ["search: trec-minilm", "proxies: trec-minilm"]
    places = set()
    for told in found.values():
        assert (ROOT / told[1]).is_file() and "trec-minilm=data/trec" in told
        places.add(told[told.index("--results") + 1])
        said = subprocess.run([sys.executable, told[1], "--help"], cwd=ROOT, capture_output=True, text=True)
        assert all(flag in said.stdout for flag in told if flag.startswith("--")), said.stderr
    assert len(places) == 2


def test_the_tests_own_report_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "contract.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="0" errors="0" skipped="4"/></testsuites>')
    assert counted(report) == {"tests": 9, "failures": 0, "errors": 0, "skipped": 4}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    command = [str(ROOT / "benchmarks" / "gpu.sh"), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 2 and "no NVIDIA GPU here" in done.stderr and not (tmp_path / "out").exists()


def test_a_python_without_the_packages_is_told_which(tmp_path: Path) -> None:
    lonely = tmp_path / "python3"
    lonely.write_text(f'#!/bin/sh\nexec "{sys._base_executable}" -I -S "$@"\n')  # type: ignore[attr-defined]
    lonely.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "benchmarks" / "gpu.sh")], env={**os.environ, "PYTHON": str(lonely)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "lacks torch, numpy" in done.stderr and "WHEELS" in done.stderr
