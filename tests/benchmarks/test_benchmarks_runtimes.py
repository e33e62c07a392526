"""The page of runtimes: tables from results, put between the page's markers and nowhere else."""

import sys
from pathlib import Path

import pytest

from benchmarks.runtimes import MARKERS, interpreters_of, page_text, write_page
from runs.errors import UserError

MOBILE = {
    "provider": "nnapi",
    "operators": 20,
    "taken": 15,
    "partitions": 3,
    "falling_back": {"Erf": 1, "LayerNormalization": 4},
    "fallback_share": 0.25,
}

ROW = {
    "runtime": "openvino",
    "version": "1.2",
    "agreement": 0.995,
    "max_abs_error": 3e-7,
    "latency_ms": 12.345,
    "noise_floor_percent": 1.0,
    "size_bytes": 2**21,
    "peak_memory_bytes": 2**27,
    "idle_memory_bytes": 2**26,
}

SUMMARY = {
    "fingerprint": {"processor": "P", "cores": 2, "system": "S"},
    "workload": {"batch_size": 1, "sequence_length": 128, "threads": 1},
    "processes": 5,
    "students": {"tiny": {"student.onnx": {"runtimes": [ROW], "refused": {"mnn": "no."}, "mobile": [MOBILE]}}},
}


def test_figures_and_refusals_stand_in_the_tables() -> None:
    text = page_text(SUMMARY)
    assert "| openvino 1.2 | 99.5 % | 3.0e-07 | 12.35 | 1.0 % | 2.0 MiB | 64 MiB |" in text
    assert "| mnn | refused: no. |" in text
    assert "| `student.onnx` | nnapi | 20 | 25 % | 3 | 4 LayerNormalization, 1 Erf |" in text


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKERS[0]}\nold\n{MARKERS[1]}\nafter\n")
    for text in ("first", "second"):
        write_page(page, text)
    assert page.read_text() == f"before\n{MARKERS[0]}\nsecond\n{MARKERS[1]}\nafter\n"
    page.write_text("nothing")
    with pytest.raises(UserError, match="has no lines"):
        write_page(page, "text")
    assert page.read_text() == "nothing"


def test_the_page_in_the_repository_has_its_markers() -> None:
    page = Path(__file__).parents[2] / "docs" / "runtimes.md"
    assert [page.read_text().count(marker) for marker in MARKERS] == [1, 1]


def test_other_environments_are_checked() -> None:
    assert interpreters_of([f"mnn={sys.executable}"]).command("mnn")[0] == sys.executable
    with pytest.raises(UserError, match="there is no such Python"):
        interpreters_of(["mnn=/nowhere/python"])
    with pytest.raises(UserError, match="unknown runtime 'nmm'"):
        interpreters_of(["nmm=/nowhere/python"])
