"""The contest of training speed: rates between batches, ratios by round, real workers on a tiny pair."""

import json
import sys
from pathlib import Path

import pytest
from tiny_world import make_data, make_teacher

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import distillation_speed as contest  # noqa: E402
from grid.cells import Shape  # noqa: E402
from speed.clock import rate  # noqa: E402


def test_rates_leave_out_the_warm_up_and_the_last_batch() -> None:
    # Two slow batches, then three of 10 samples in 2 seconds each, then one whose end nobody sees.
    assert rate([0.0, 5.0, 10.0, 12.0, 14.0, 16.0], [32, 32, 10, 10, 10, 10], 2) == pytest.approx(5.0)


def test_ratios_are_paired_by_round() -> None:
    rounds = [{"ours": 10.0, "trainer": 5.0}, {"ours": 4.0, "trainer": 1.0}, {"ours": 9.0, "trainer": 3.0}]
    found = contest.summary(rounds)
    assert found["samples_per_second"] == {"ours": 9.0, "trainer": 3.0}
    assert found["times_faster"] == {"trainer": [3.0, 2.0, 4.0]}


def test_a_rival_stands_with_its_fastest_setting() -> None:
    pairs = {"minilm-4x312": {"times_faster": {"trainer": [1.2, 1, 2], "trainer-fp32": [2.0, 1, 2],
                                               "textbrewer-cached-fp32": [1.4, 1, 2]}}}  # fmt: skip
    found = {(bar["pair"], bar["against"]): bar["met"] for bar in contest.bars(pairs)}
    assert found == {("minilm-4x312", "trainer"): False, ("minilm-4x312", "textbrewer-cached-fp32"): True}


def test_contenders_train_on_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(contest, "PAIRS", (("mpnet", Shape(1, 16, 2, 32)),))
    data = make_data(tmp_path / "data.csv")
    teacher = make_teacher(tmp_path / "teacher", data)
    # Each is a process of its own, which takes seconds to begin.
    some, every = ("ours", "trainer"), contest.contenders
    monkeypatch.setattr(contest, "contenders", lambda *about: {name: every(*about)[name] for name in some})
    files = {"folder": tmp_path / "scratch", "results": tmp_path / "r.json"}
    contest.main(str(data), str(teacher), rounds=1, steps=5, warmup=1, threads=1, **files)
    stored = json.loads((tmp_path / "r.json").read_text())
    rates = stored["pairs"]["mpnet-1x16"]["samples_per_second"]
    assert set(rates) == {"ours", "trainer"} and min(rates.values()) > 0
    contest.main(str(data), str(teacher), rounds=1, steps=5, warmup=1, threads=1, **files)
    assert json.loads((tmp_path / "r.json").read_text()) == stored, "what is there is not timed again"
