"""Memory of members foretold: a fit that never says too little of what it was fitted to, and limits that follow it."""

from pathlib import Path

import numpy as np
import pytest

from devices.workload import Workload
from export.form import Form
from nas.limits import Limits
from nas.members import Members
from nas.memory import MemoryModel, _taken, features, fit_memory, measure_memory, memory_model_from_json
from nas.search import MEMORY, _earlier_memory
from runs.folder import open_run
from runs.progress import Progress
from students.space import space
from students.spec import Head

SPACE = """
layers: [1, 2, 3]
hidden: [32, 128, 512]
activation: [gelu]
alike: false
heads: [2, 4]
qkv: [32, 128]
ffn: [64, 512]
"""
LONG = Workload(8, 256)


@pytest.fixture
def members(tmp_path: Path) -> Members:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
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
    assert fit_memory(files[:1], working[:1], taken[:1])[1] == 1.02


def test_members_are_foretold_from_a_few_that_are_measured(members: Members) -> None:
    model = measure_memory(members, Form("onnxruntime"), LONG, 0, Progress(quiet=True))
    assert memory_model_from_json(model.to_json()) == model
    codes = members.space.sample(3, np.random.default_rng(1))
    taken = np.array([_taken(spec, Form("onnxruntime"), LONG) for spec in members.specs(codes)])
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
    assert "keeps --max-parameters 1,000,000,000 and --max-file-mb 1000 and --max-memory-mb 1000: " in three


def members_working(members: Members, row: np.ndarray) -> list[float]:
    """Of each block of a member by itself."""
    from export.memory import working_bytes

    return [working_bytes(block, LONG) for block in members.specs(row[None])[0].blocks()]


def test_what_a_run_measured_is_kept(tmp_path: Path) -> None:
    model = MemoryModel(1e7, 2.0, 1.0, 1.1, "int8", LONG)
    with open_run(tmp_path / "run", "search", {}) as run:
        assert _earlier_memory(run) == {}
        run.stage(MEMORY, lambda: {"int8": model.to_json()})
        assert _earlier_memory(run) == {"int8": model}
