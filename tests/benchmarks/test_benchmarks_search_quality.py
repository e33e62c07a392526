"""Searches beside shapes made by hand: these fill budgets, the page says what is stored, nothing is done twice."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_world import WORKLOAD, make_data, make_profile, make_space, make_teacher

from nas.schedule import EFFORTS
from profiler.profile import load_profile
from runs.errors import UserError
from students.shapes import SHAPES
from students.spec import uniform_spec

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import search_quality as script  # noqa: E402
from grid.teaching import as_text  # noqa: E402
from quality.handmade import NAMES, proportions, scaled  # noqa: E402
from quality.page import best_by_hand, cells_of, page  # noqa: E402


@pytest.mark.parametrize("name", NAMES)
def test_a_shape_at_its_own_width_is_itself(name: str) -> None:
    spec = SHAPES[name]
    assert proportions(name).at(spec.hidden_width, spec) == spec


def test_a_scaled_shape_fills_its_budget(tmp_path: Path) -> None:
    profile = load_profile(make_profile(tmp_path / "profile", make_space(tmp_path / "space.yaml")))
    like = uniform_spec(1, 64, 4, 128, vocabulary_size=33, maximum_positions=32)

    def milliseconds(specs: list[object]) -> np.ndarray:
        return profile.predictor.predict(specs, WORKLOAD)  # type: ignore[arg-type]

    for name in NAMES:
        spec = scaled(name, 20.0, milliseconds, like)
        (ms,) = milliseconds([spec])
        assert 0.8 * 20 < ms <= 20 and len(spec.layers) == len(SHAPES[name].layers)
        assert spec.head == like.head and spec.vocabulary_size == 33
        first = spec.layers[0]
        assert proportions(name).keeps_heads(spec) and first.qkv_width % first.heads == 0  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"in the proportions of tinybert-4 takes 0\.1 ms"):
        scaled("tinybert-4", 0.1, milliseconds, like)


def cell(validation: float, share: float, **more: object) -> dict[str, object]:
    right = as_text(np.arange(1000) < 1000 * share)
    spec = uniform_spec(2, 32, 2, 64).to_json()
    return {"weights": "w", "validation": validation, "right": right, "spec": spec, "predicted_ms": 3.9,
            "seconds": {"search": 60.0, "distill": 30.0}, "steps": {"search": 720, "distill": 700}, **more}  # fmt: skip


def test_validation_chooses_the_shape_and_differences_are_paired() -> None:
    cells = {f"4/by hand: {name}/{seed}": cell(validation, share) for seed in range(2)
             for name, validation, share in (("wide", 0.8, 0.7), ("deep", 0.7, 0.9))}  # fmt: skip
    cells |= {f"4/{how}/{seed}": cell(0.9, share, candidates=24) for seed in range(2)
              for how, share in (("kd-nas", 0.8), ("random", 0.75))}  # fmt: skip
    reference = {"examples": 1000, "teacher": as_text(np.arange(1000) < 950), "bag_of_words": as_text(np.zeros(1000))}
    one = {"asked": {"space": "hybrid", "effort": "quick"}, "teacher_name": "T", "target": "cpu",
           "references": {"w": {"test": reference}}, "cells": cells}  # fmt: skip
    assert best_by_hand(cells_of(one, "4")) == "by hand: wide", "whatever the test split says"
    text = page({"tone": one})
    assert "| | seeds | bag-of-words | best by hand | of teacher | kd-nas | random |" in text
    assert "| tone, 4 ms | 2 | 0.0 | 70.0 | 73.7 | **+10.0 [" in text
    assert "| best by hand (wide) | 2 | 70.0 |" in text and "| kd-nas | 2 | 80.0 |" in text
    assert "Minus random search: `kd-nas` **+5.0 [" in text
    assert "| kd-nas (2) | 90.0 | 3.90 | 1.01 | 24 | 720 + 700 | 60 + 30 | 2 layers × 32, heads 2, FFN 64 |" in text
    assert "Layers of" not in text and "one thing changed" not in text
    layers = [*cell(0, 0)["spec"]["layers"], {"type": "convolution", "kernel": 3, "ffn_width": 8, "activation": "gelu"}]
    for seed in range(2):
        cells[f"4/kd-nas-paper/{seed}"] = cell(0.9, 0.7, candidates=24)
        cells[f"4/ridge in mixed/{seed}"] = cell(0.9, 0.7, candidates=24)
        cells[f"4/ridge in mixed/{seed}"]["spec"]["layers"] = layers
    text = page({"tone": one})
    assert "`kd-nas` minus what it is with one thing changed: `kd-nas-paper` **+10.0 [" in text
    assert "Layers of `ridge in mixed`: 4 transformer, 2 convolution." in text
    assert "over 1 seed" not in text
    del cells["4/ridge in mixed/1"]
    text = page({"tone": one})
    assert "| tone, 4 ms | 2 |" in text and "`ridge in mixed` over 1 seed minus random search: **-5.0 [" in text


def test_one_budget_from_data_to_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    data, members = make_data(tmp_path / "data.csv"), make_space(tmp_path / "space.yaml")
    teacher, profile = make_teacher(tmp_path / "teacher", data), make_profile(tmp_path / "profile", members)
    results, place = tmp_path / "results", tmp_path / "page.md"
    short = replace(EFFORTS["quick"], episodes=2, candidates=3, steps=10, finalists=2, final_work=20, pool_size=200)
    monkeypatch.setitem(EFFORTS._entries, "quick", short)
    monkeypatch.setattr("nas.device.PROCESSES", 1)

    def run(methods: list[str], **changed: object) -> dict[str, Any]:
        script.main([f"tone={data}"], profile, method=methods, shape=["bert-tiny"], seeds=1, teacher=str(teacher),
                    space=str(members), **({"budget_ms": [4.0]} | changed),
                    sequence_length=16, workers=0, results=results, page_file=place)  # type: ignore[arg-type]  # fmt: skip
        return dict(json.loads((results / "tone.json").read_text())["cells"])

    with pytest.raises(UserError, match="unknown method 'kd_nas'"):
        run(["kd_nas"])
    assert run([], budget_ms=[0.1]) == {}, "no shape is so fast"
    one = run([])
    assert set(one) == {"4/by hand: bert-tiny/0"} and not list(results.glob("runs/**/model.safetensors"))
    two = run(["random"])
    assert {name: two[name] for name in one} == one and two.keys() - one.keys() == {"4/random/0"}
    found = two["4/random/0"]
    assert found["steps"]["distill"] == one["4/by hand: bert-tiny/0"]["steps"]["distill"] > 0, "equal schooling"
    assert found["predicted_ms"] <= 4.0 and found["candidates"] == 6 and found["validation"] > 0.6
    assert not list(results.glob("runs/**/model.safetensors"))
    assert "Minus random search" in place.read_text() and "| random | 1 |" in place.read_text()
    with pytest.raises(UserError, match="effort is quick .* and standard here"):
        run([], effort="standard")
    assert "best by hand (bert-tiny)" in place.read_text()


def test_random_search_at_twice_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert script.method_of(script.RANDOM_TWICE) == "random" and script.method_of("ridge") == "ridge"
    monkeypatch.setattr(EFFORTS, "_entries", dict(EFFORTS._entries))
    assert script.effort_of("quick", "random") == "quick"
    twice = EFFORTS[script.effort_of("quick", script.RANDOM_TWICE)]
    assert twice.episodes == 2 * EFFORTS["quick"].episodes and twice.final_work == EFFORTS["quick"].final_work
