"""Every method that prepares or scores in a way of its own, from data to a verified export in a tiny world."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_kinds import write
from tiny_search import QUIET, SPACE, TINY, tiny_search

from nas.search import search


@pytest.mark.parametrize(
    ("method", "schedule", "said"),
    [
        ("autotinybert-paper", {"supernet_steps"}, "parts of a supernet that was taught for 4 steps"),
        ("autotinybert-steps", {"supernet_steps", "steps", "subset", "rate"}, "data at 3 times the learning rate"),
        ("integer-programming", {"parts", "steps", "subset", "rate"}, r"proposed by what \d+ parts lose alone"),
        ("kd-nas-paper", {"steps", "subset"}, "1 episodes, 4 steps each on 100 % of the training data, seed"),
        ("pruning", {"supernet_steps"}, "parts of a supernet that was taught for 4 steps"),
        ("w-pca", set(), "judged by what they start from"),
        ("zero-step", set(), "judged by what they start from"),
    ],
)
def test_a_search_says_how_candidates_were_scored(
    method: str, schedule: set[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_search(tmp_path, monkeypatch, SPACE)
    (verdict,) = search(replace(settings, data=str(write("classification", tmp_path)), method=method), QUIET)
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    assert set(verdict["schedule"]) == {"episodes", "candidates", "final_steps"} | schedule
    assert re.search(said, (Path(verdict["folder"]) / "student/README.md").read_text())
    assert verdict["schedule"]["candidates"] > TINY.candidates or "steps" in schedule
