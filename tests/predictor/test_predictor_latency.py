"""LatencyPredictor: vectorised, additive, covering, saved whole or not at all."""

import json
from dataclasses import replace
from time import process_time

import numpy as np
import pytest

from devices.workload import Workload
from predictor.latency import LatencyPredictor
from runs.errors import UserError
from students.spec import Head, StudentSpec, TransformerLayer, uniform_spec
from students.table import BlockTable

WORKLOAD = Workload()


def test_specs_and_tables_are_predicted_alike(cpu_predictor, fresh_students):
    specs = fresh_students(30, 1)
    from_specs = cpu_predictor.predict(specs, WORKLOAD)
    assert from_specs.shape == (30,) and (from_specs > 0).all()
    assert (from_specs == cpu_predictor.predict(BlockTable.from_specs(specs), WORKLOAD)).all()
    alone = [cpu_predictor.predict([spec], WORKLOAD)[0] for spec in specs]
    assert from_specs == pytest.approx(alone, rel=1e-6)


def test_no_students_have_no_latencies(cpu_predictor):
    assert cpu_predictor.predict([], WORKLOAD).shape == (0,)


def test_breakdown_adds_up_and_names_every_block(cpu_predictor, fresh_students):
    for spec in fresh_students(20, 2):
        parts = cpu_predictor.predict_breakdown(spec, WORKLOAD)
        labels = ["embedding", *(f"layer {number + 1}" for number in range(len(spec.layers))), "head", "call"]
        assert [label for label, _ in parts] == labels
        assert all(milliseconds >= 0 for _, milliseconds in parts)
        assert sum(ms for _, ms in parts) == pytest.approx(cpu_predictor.predict([spec], WORKLOAD)[0], rel=1e-9)


def test_breakdown_gives_the_wider_layer_more(cpu_predictor):
    narrow, wide = TransformerLayer(4, 128, 256), TransformerLayer(4, 128, 1024)
    parts = dict(cpu_predictor.predict_breakdown(StudentSpec(256, 256, (narrow, wide, narrow)), WORKLOAD))
    assert parts["layer 2"] > 1.5 * parts["layer 1"]
    assert parts["layer 3"] < 0.7 * parts["layer 1"]  # it makes the first token alone


def test_breakdown_of_a_student_without_a_head(cpu_predictor):
    spec = uniform_spec(2, 192, 4, 512, head=Head("none", 1))
    assert [label for label, _ in cpu_predictor.predict_breakdown(spec, WORKLOAD)][-2:] == ["layer 2", "call"]


def test_intervals_hold_fresh_students(cpu_predictor, fresh_timings, processor):
    seen = fresh_timings(processor, 200, 0, [WORKLOAD], seed=3)
    table = BlockTable.from_blocks([one.blocks for one in seen])
    measured = np.array([one.latency_ms for one in seen])
    low, high = cpu_predictor.predict_interval(table, WORKLOAD, coverage=0.9)
    assert 0.82 <= ((low <= measured) & (measured <= high)).mean() <= 0.99
    assert (low < cpu_predictor.predict(table, WORKLOAD)).all() and (high < 1.25 * low).all()


def test_stacks_are_found_to_be_faster_than_whole_students(cpu_predictor):
    (model,) = cpu_predictor.models.values()
    assert model.part_scale == pytest.approx(1 / 1.04, abs=0.015)


@pytest.mark.parametrize(
    ("change", "inside"),
    [
        ({}, True),
        ({"hidden_width": 768, "embedding_width": 768}, False),
        ({"embedding_width": 128}, False),
        ({"layers": (TransformerLayer(4, 128, 512),) * 12}, False),
        ({"layers": (TransformerLayer(4, 128, 4096),)}, False),
        ({"layers": (TransformerLayer(40, 320, 512),)}, False),
        ({"layers": (TransformerLayer(12, 384, 1536),) * 6, "hidden_width": 384, "embedding_width": 384}, False),
        ({"head": Head("none", 1)}, False),
    ],
)
def test_covers_what_was_measured(cpu_predictor, change, inside):
    spec = replace(uniform_spec(3, 240, 4, 768, qkv_width=128), **change)
    assert cpu_predictor.covers([spec], WORKLOAD).tolist() == [inside]


@pytest.mark.parametrize(
    "workload", [Workload(8, 128), Workload(1, 512), Workload(threads=2), Workload(precision="int8")]
)
def test_workloads_outside_are_not_covered(cpu_predictor, workload):
    assert not cpu_predictor.covers([uniform_spec(3, 240, 4, 768, qkv_width=128)], workload).any()


def test_an_unmeasured_number_of_threads_is_named(cpu_predictor):
    with pytest.raises(UserError, match="2 threads in fp32.*1 thread in fp32"):
        cpu_predictor.predict([uniform_spec(2, 192, 4, 512)], Workload(threads=2))


def test_a_file_gives_back_the_same_bits(cpu_predictor, fresh_students, tmp_path):
    cpu_predictor.save(tmp_path / "predictor.json")
    loaded = LatencyPredictor.load(tmp_path / "predictor.json")
    specs = fresh_students(200, 4)
    assert (loaded.predict(specs, WORKLOAD) == cpu_predictor.predict(specs, WORKLOAD)).all()
    for ours, theirs in zip(
        loaded.predict_interval(specs, WORKLOAD), cpu_predictor.predict_interval(specs, WORKLOAD), strict=True
    ):
        assert (ours == theirs).all()
    assert loaded.predict_breakdown(specs[0], WORKLOAD) == cpu_predictor.predict_breakdown(specs[0], WORKLOAD)
    assert (loaded.covers(specs, WORKLOAD) == cpu_predictor.covers(specs, WORKLOAD)).all()
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "predictor.json").read_bytes()


def test_equal_measurements_give_equal_predictors(cpu_predictor, cpu_timings, fresh_students):
    again = LatencyPredictor.fit(cpu_timings)
    specs = fresh_students(50, 5)
    assert (again.predict(specs, WORKLOAD) == cpu_predictor.predict(specs, WORKLOAD)).all()


def _edited(text: str) -> str:
    value = json.loads(text)
    value["content"]["models"][0]["regressor"]["floor"] *= 2
    return json.dumps(value)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda text: text[: len(text) // 2], "not whole JSON"),
        (lambda text: "", "not whole JSON"),
        (_edited, "changed after it was written"),
        (lambda text: text.replace('"schema":2', '"schema":1', 1), "schema 1, this version reads 2"),
        (lambda text: text.replace("latency predictor", "poem", 1), "not a latency predictor"),
        (lambda text: "[1, 2]", "not a latency predictor"),
    ],
)
def test_spoilt_files_are_refused_in_one_sentence(cpu_predictor, tmp_path, spoil, complaint):
    path = tmp_path / "predictor.json"
    cpu_predictor.save(path)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(UserError, match=complaint) as refused:
        LatencyPredictor.load(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        LatencyPredictor.load(tmp_path / "predictor.json")


def test_too_few_or_impossible_measurements_are_refused(cpu_timings):
    with pytest.raises(UserError, match="there are none"):
        LatencyPredictor.fit([])
    with pytest.raises(UserError, match="only 5 whole students"):
        LatencyPredictor.fit(cpu_timings[:5])
    with pytest.raises(UserError, match="not a positive number"):
        LatencyPredictor.fit([*cpu_timings, replace(cpu_timings[0], latency_ms=0.0)])


def test_a_large_pool_is_scored_at_once(cpu_predictor, fresh_students):
    few = BlockTable.from_specs(fresh_students(100, 6))
    many = few.take(np.arange(150_000) % 100)
    start = process_time()
    latencies = cpu_predictor.predict(many, WORKLOAD)
    # About a second here; a loop over specs takes minutes.
    assert process_time() - start < 10
    assert (latencies[:100] == latencies[100_000:100_100]).all()
