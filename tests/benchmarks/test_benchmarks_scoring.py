"""The rate of scoring is taken over the same way that a search goes, and what it scores is right."""

import json
from pathlib import Path

import pytest
from tiny_world import make_profile, make_space

from benchmarks.scoring import main


def test_rates_and_the_difference_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = make_space(tmp_path / "space.yaml")
    output = tmp_path / "scoring.json"
    main(make_profile(tmp_path / "profile", file), str(file), 3000, 2, 16, output=output)
    result = json.loads(output.read_text())
    assert result == json.loads(capsys.readouterr().out)
    assert result["largest_relative_difference"] < 1e-4
    assert result["students"] == 3000 and result["trees"] > 0 and result["cores"] >= 1
    whole = result["rates"]["codes to milliseconds"]
    assert len(whole["repeats"]) == 2 and min(whole["repeats"]) <= whole["students_per_second"] <= max(whole["repeats"])
    parts = [rate for name, rate in result["rates"].items() if name.startswith("part:")]
    assert len(parts) == 3 and all(part["students_per_second"] > 0 for part in parts)
