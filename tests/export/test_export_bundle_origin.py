"""What a run wrote beside a checkpoint comes into the bundle's card, and what others wrote does not."""

import json
from pathlib import Path
from typing import Any

from export.bundle_origin import Origin, Source, origin
from students.spec import StudentSpec, uniform_spec

SPEC = uniform_spec(2, 16, 2, 24, vocabulary_size=50, maximum_positions=20)
DATA = {"name": "reviews", "source": "reviews.csv", "licence": "CC-BY-4.0"}
SCORE = {"metric": "accuracy", "split": "test", "teacher": 0.9, "student": 0.8, "bag_of_words": 0.7}


def verdict(spec: StudentSpec) -> dict[str, Any]:
    return {
        "data": DATA,
        "teacher": {"name": "big", "licence": "MIT"},
        "score": SCORE,
        "device": {"processor": "a processor"},
        "workload": {"batch_size": 1, "sequence_length": 64, "threads": 1, "precision": "fp32"},
        "student": {"spec": spec.to_json(), "files": [{"file": "student.onnx", "latency_ms": 2.5}]},
    }


def beside(tmp_path: Path, name: str, content: str) -> Path:
    checkpoint = tmp_path / "student"
    checkpoint.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    return checkpoint


def test_a_verdict_is_read(tmp_path: Path) -> None:
    found = origin(beside(tmp_path, "verdict.json", json.dumps(verdict(SPEC))), SPEC)
    assert found.data == Source("reviews", "CC-BY-4.0", "reviews.csv")
    assert found.teacher == Source("big", "MIT") and found.scores["student"] == 0.8
    (row,) = found.measured
    assert (row.file, row.latency_ms, row.machine) == ("student.onnx", 2.5, "a processor")
    assert "64 tokens" in row.workload


def test_a_distillations_record_is_read(tmp_path: Path) -> None:
    result = {"parameters": SPEC.parameters(), "teacher": {"name": "big"}, "data": DATA, "score": SCORE}
    record = {"stages": {"distilled": {"seconds": 1.0, "result": result}}}
    found = origin(beside(tmp_path, "run.json", json.dumps(record)), SPEC)
    assert found.data == Source("reviews", "CC-BY-4.0", "reviews.csv")
    assert found.teacher == Source("big", "not written down") and found.measured == ()


def test_what_is_about_something_else_is_left_out(tmp_path: Path) -> None:
    other = uniform_spec(3, 16, 2, 24, vocabulary_size=50, maximum_positions=20)
    assert origin(beside(tmp_path, "verdict.json", json.dumps(verdict(other))), SPEC) == Origin()
    assert origin(beside(tmp_path, "verdict.json", "[1, 2]"), SPEC) == Origin()
    assert origin(beside(tmp_path, "verdict.json", "{"), SPEC) == Origin()
    assert origin(beside(tmp_path, "run.json", '{"stages": {}}'), SPEC) == Origin()


def test_the_checkpoints_card_is_kept_as_it_is(tmp_path: Path) -> None:
    checkpoint = beside(tmp_path, "other.txt", "")
    (checkpoint / "README.md").write_bytes("---\nlicense: mit\n---\nCafé\n".encode())
    assert origin(checkpoint, SPEC).card == "---\nlicense: mit\n---\nCafé\n".encode()
