"""Memory of members foretold from a few that were measured, and limits that follow."""

from contextlib import nullcontext
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from tiny_kinds import write
from tiny_search import QUIET, SPACE, tiny_search

from devices.disturbance import Disturbance
from devices.measurement import Measurement
from devices.workload import Workload
from export.form import Form
from export.items import Checkpoint
from nas.budget import Budget
from nas.candidates import measuring_beside_teacher
from nas.context import Context
from nas.limits import Limits
from nas.members import Members
from nas.memory import MemoryModel, features, fit_memory, measure_memory, memory_model_from_json, spec_memory
from nas.search import MEMORY, search
from runs.files import read_json
from runs.progress import Progress
from students.space import space
from students.spec import Head

WIDE = """
layers: [1, 2, 3]
hidden: [32, 128, 512]
activation: [gelu]
alike: false
heads: [2, 4]
qkv: [32, 128]
ffn: [64, 512]
"""
LONG, SHORT = Workload(8, 256), Workload(1, 16)


@pytest.fixture
def members(tmp_path: Path) -> Members:
    file = tmp_path / "space.yaml"
    file.write_text(WIDE)
    return Members(space(str(file)), 2000, 256, 2, Head())


def test_a_fit_finds_what_memory_consists_of() -> None:
    rng = np.random.default_rng(0)
    files, working = rng.uniform(1e6, 1e8, 10), rng.uniform(1e5, 1e8, 10)
    taken = 3e7 + 1.6 * files + 0.5 * working
    (fixed, per_file, per_working), margin = fit_memory(files, working, taken)
    assert (fixed, per_file, per_working) == pytest.approx((3e7, 1.6, 0.5), rel=1e-3)
    assert margin == 1.02
    taken[3] *= 1.2
    assert fit_memory(files, working, taken)[1] > 1.1, "left out, it takes more than the others say"
    for few in (1, 2, 3):
        assert fit_memory(files[:few], working[:few], taken[:few])[1] < 1.1, "what is left of so few foretells nothing"


def test_members_are_foretold_from_a_few_that_are_measured(members: Members) -> None:
    drawn = members.space.sample(200, np.random.default_rng(0))
    model = measure_memory(members, drawn, Form("onnxruntime"), LONG, Progress(quiet=True))
    assert memory_model_from_json(model.to_json()) == model
    codes = members.space.sample(3, np.random.default_rng(1))
    taken = np.array([spec_memory(spec, Form("onnxruntime"), LONG) for spec in members.specs(codes)])
    most = model.most_bytes(members, codes)
    assert (taken <= 1.15 * most).all() and (most <= 2 * taken).all()


def test_limits_follow_the_model(members: Members) -> None:
    model = MemoryModel(1e7, 2.0, 1.0, 1.1, "fp32", LONG)
    codes = members.space.sample(200, np.random.default_rng(0))
    files, working = features(members, codes, "fp32", LONG)
    assert np.array_equal(working, [max(members_working(members, row)) for row in codes])
    expected = 1.1 * (1e7 + 2 * files + working)
    limit = float(np.median(expected))
    limits = Limits(memory_bytes=limit, memory=model)
    assert np.array_equal(limits.allow(members, codes), expected <= limit) and limits.allow(members, codes).sum() > 0
    assert limits.keep(1, 1, int(limit)) and not limits.keep(1, 1, int(limit) + 1)
    said = Limits(memory_bytes=2e6, memory=model).missed(members, codes)
    assert said.startswith("--max-memory-mb is 2, and the fp32 file that takes least in the space space takes up to ")
    three = Limits(10**9, 1e9, "fp32", 1e9, model).missed(members, codes)
    assert "keeps --max-parameters 1000000000 and --max-file-mb 1000 and --max-memory-mb 1000: " in three


def members_working(members: Members, row: np.ndarray) -> list[float]:
    """Of each block of a member by itself."""
    from export.memory import working_bytes

    return [working_bytes(block, LONG) for block in members.specs(row[None])[0].blocks()]


@pytest.mark.parametrize(("most", "kept"), [(None, True), (80e6, True), (2e6, False)])
def test_one_that_takes_too_much_is_over_every_budget(
    members: Members, tmp_path: Path, most: float | None, kept: bool
) -> None:
    limits = Limits(memory_bytes=most, memory=MemoryModel(0.0, 1.0, 0.0, 1.1, "fp32", SHORT))
    scoring = SimpleNamespace(limits=limits, disturbance=Disturbance())
    ground = SimpleNamespace(target="onnxruntime", scoring=lambda budget: scoring)
    (spec,) = members.specs(members.space.sample(1, np.random.default_rng(0)))
    timed = Measurement("key", SHORT, 3.0, 3.1, (3.0,), 1.0, 20)
    context = SimpleNamespace(
        ground=ground,
        teacher_item=Checkpoint(tmp_path),
        usual_teacher_ms={SHORT.precision: 3.0}.get,
        time=lambda items, workload, crew: dict.fromkeys(items, timed),
        crew=nullcontext,
    )
    with measuring_beside_teacher(cast(Context, context), Budget(SHORT, 4.0)) as measure:
        (found,) = measure([spec])
    assert found == (3.0 if kept else inf)


def test_a_killed_search_goes_on_by_the_memory_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_search(tmp_path, monkeypatch, SPACE)
    settings = replace(settings, data=str(write("classification", tmp_path)), method="random", max_memory_mb=80.0)

    class Killed(BaseException):
        pass

    class Deadly(Progress):
        def say(self, text: str) -> None:
            if "tried" in text:
                raise Killed

    with pytest.raises(Killed):
        search(settings, Deadly(quiet=True))
    monkeypatch.setattr("nas.groundwork.measure_memory", None)
    (verdict,) = search(settings, QUIET)
    assert verdict["limits"]["memory_bytes"] == 80e6 and verdict["limits"]["kept"]
    assert all(1e6 < file["memory_bytes"] < 80e6 for file in verdict["student"]["files"])
    model = read_json(tmp_path / "run" / "run.json", "run")["stages"][MEMORY]["result"]["fp32"]
    assert memory_model_from_json(model).workload == settings.workload
