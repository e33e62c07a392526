"""The commands, killed with SIGKILL at five moments and started again: nothing lost, doubled or different."""

import hashlib
import json
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from command_runs import command, finish, start

pytestmark = pytest.mark.faults
MOMENTS = (0.15, 0.3, 0.45, 0.65, 0.9)
"""Shares of an undisturbed run's seconds; each kill is that long after the start that follows the one before."""


def kill_after(seconds: float, line: list[str], home: Path, here: Path) -> bool:
    """True if the process was still at work."""
    process = start(line, home, here)
    try:
        process.communicate(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True


def found(folder: Path) -> dict[str, Any]:
    """All of a search that must be equal: trials, winner, weights, and what was said of them."""
    verdict = json.loads((folder / "students/2ms/verdict.json").read_text())
    for timed in ("seconds", "device"):
        del verdict[timed]
    for file in verdict["student"]["files"]:
        del file["latency_ms"]  # ONNX Runtime's, by a real clock
    study = optuna.load_study(study_name="2ms", storage=f"sqlite:///{folder / 'study.db'}")
    trials = [
        (trial.number, trial.state.name, trial.params, trial.value, {**trial.user_attrs, "seconds": None})
        for trial in study.trials
    ]
    weights = hashlib.sha256((folder / "students/2ms/student/model.safetensors").read_bytes()).hexdigest()
    return {"verdict": verdict, "trials": trials, "weights": weights}


def test_a_killed_search_ends_as_an_undisturbed_one(world, tmp_path):
    line = command(
        "nas-search", "--budget-ms", 2, "--target", f"replay:{world.profile}", "--teacher", world.teacher,
        "--data", world.data, "--space", world.space, "--sequence-length", 16, "--output", "run", "--json",
    )  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    _, seconds = finish(line, tmp_path / "home-whole", whole)
    kills = sum(kill_after(share * seconds, line, tmp_path / "home-broken", broken) for share in MOMENTS)
    assert kills >= 3, "the moments must fall into the run"
    finish(line, tmp_path / "home-broken", broken)
    assert found(broken / "run") == found(whole / "run")


def stored(folder: Path) -> dict[tuple[str, str, int, int], float]:
    """(item, workload, process, round) → milliseconds."""
    database = folder / "measurements.sqlite"
    if not database.is_file():
        return {}
    with closing(sqlite3.connect(database)) as store:
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'samples'").fetchone():
            return {}
        rows = store.execute("SELECT key, workload, process, round, milliseconds FROM samples").fetchall()
    assert len({row[:4] for row in rows}) == len(rows), "a key was measured twice"
    return {row[:4]: row[4] for row in rows}


def test_a_killed_profile_keeps_every_measurement(tmp_path):
    line = command("profile-device", "--target", "cpu", "--sequence-length", 16, "--output", "profile", "--json")
    before: dict[tuple[str, str, int, int], float] = {}
    for seconds in (6.0, 9.0, 12.0, 8.0, 10.0):
        kill_after(seconds, line, tmp_path / "home", tmp_path)
        now = stored(tmp_path / "profile")
        assert before.items() <= now.items(), "a stored measurement was lost or taken again"
        before = now
    assert before, "the moments must fall into the measuring"
    result, _ = finish(line, tmp_path / "home", tmp_path)
    now = stored(tmp_path / "profile")
    assert before.items() <= now.items()
    per_item = Counter(item for item, *_ in now)
    device = json.loads((tmp_path / "profile/device.json").read_text())
    counts = {count for item, count in per_item.items() if item != device["reference"]}
    assert counts == {3 * device["policy"]["rounds"]}, "every item in every round of every process, once"
    assert result["profiles"][0]["check"]
