"""Ranking students: weighted τ is scipy's, a proxy stands beside one seed's, a stored run is not done again."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau
from tiny_world import WORKLOAD, make_data, make_profile, make_space, make_teacher

from runs.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import proxy_correlation as script  # noqa: E402
from ranking.correlation import against_others, drawn_weights, standings, tau  # noqa: E402
from ranking.page import page, truth_of  # noqa: E402


def test_tau_is_that_of_the_students_drawn() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(12).round(1), rng.random(12)
    weights = drawn_weights(12, draws=20)
    found = tau(one, other, weights)
    assert found[0] == pytest.approx(kendalltau(one, other).statistic)
    for counts, value in zip(weights, found, strict=True):
        rows = np.repeat(np.arange(12), counts.astype(int))
        assert value == pytest.approx(kendalltau(one[rows], other[rows]).statistic)
    assert tau(np.ones(5), np.arange(5.0), np.ones((1, 5)))[0] == 0


def test_one_seed_is_held_against_the_others() -> None:
    rng = np.random.default_rng(1)
    worth = rng.random(30)
    truth = worth + rng.normal(0, 0.1, (3, 30))
    rankings = {"plain": rng.random(30), "good": worth + rng.normal(0, 0.15, 30), "truth": worth}
    one_seed, found = standings(truth, rankings, ("plain",))
    by_hand = [kendalltau(truth[seed], np.delete(truth, seed, 0).mean(0)).statistic for seed in range(3)]
    assert one_seed.mean == pytest.approx(np.mean(by_hand)) and one_seed.low < one_seed.mean < one_seed.high
    assert found["good"].tau.mean < one_seed.mean < found["truth"].tau.mean
    assert found["good"].above["plain"].decided and not found["plain"].above
    difference = found["good"].tau.mean - found["plain"].tau.mean
    assert found["good"].above["plain"].mean == pytest.approx(difference)
    with pytest.raises(ValueError, match="no others"):
        standings(truth[:1], rankings, ())
    assert against_others({0: worth}, truth, np.ones((1, 30))).shape == (1,)


def test_one_task_from_profile_to_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    data, members = make_data(tmp_path / "data.csv"), make_space(tmp_path / "space.yaml")
    teacher, profile = make_teacher(tmp_path / "teacher", data), make_profile(tmp_path / "profile", members)
    monkeypatch.setattr(script, "SPACES", (str(members),))
    monkeypatch.setattr(script, "Workload", lambda: WORKLOAD)
    results, place = tmp_path / "results", tmp_path / "page.md"

    def run(seeds: int, students: int = 3) -> dict[str, dict[str, object]]:
        script.main([f"tone={data}"], profile, 1.6, students, seeds, str(teacher), supernet_steps=8, steps=10,
                    workers=0, results=results, page_file=place)  # fmt: skip
        return dict(json.loads((results / "tone.json").read_text()))

    one = run(1)
    assert len(one["tried"]) == 3 * len(script.CONTENDERS) and len(one["distilled"]) == 3
    assert "Fewer than two seeds" in place.read_text() and truth_of(one, "test", 1.0) is None
    assert all(member["predicted_ms"] * 1.2 >= 0.95 * 1.6 and member["predicted_ms"] <= 1.6
               for member in one["population"])  # type: ignore[index,attr-defined]  # fmt: skip
    two = run(2)
    assert len(two["distilled"]) == 6 and {name: two["tried"][name] for name in one["tried"]} == one["tried"]
    assert {name: two["distilled"][name] for name in one["distilled"]} == one["distilled"]
    text = place.read_text()
    assert text.count("| one seed |") == 2 and all(f"| {name} |" in text for name in script.CONTENDERS)
    assert text.count("| learned: full distillations |") == 2 and "| learned: 30 steps |" in text
    assert page({"tone": two}) == text
    with pytest.raises(UserError, match="students is 3 .* and 4 here"):
        run(2, students=4)


def test_a_task_without_a_name_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="NAME=FOLDER"):
        script.main([str(tmp_path)], tmp_path)
