"""The script times each number of heads on one thread and on several, and says so."""

import json
from pathlib import Path

import pytest

from benchmarks.attention_heads import main


def test_each_number_of_heads_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main("onnxruntime", 3, 2, 64, tmp_path / "heads.json")
    rows = json.loads((tmp_path / "heads.json").read_text())["rows"]
    assert [(row["heads"], row["heads_of_busiest"]) for row in rows] == [(1, 1), (2, 1), (3, 3)]
    # Three heads are three times the work of one, whatever else a machine does.
    assert rows[0]["alone_ms"] < rows[2]["alone_ms"] and all(row["together_ms"] > 0 for row in rows)
    assert "3 heads" in capsys.readouterr().out
