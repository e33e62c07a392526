"""What is measured: enough of everything, nothing of the check in the fit, the same each time."""

import numpy as np
import pytest

from devices.workload import Workload
from export.items import Stack, item_blocks, item_key
from profiler.job import Answer, Job, Task
from profiler.plan import EFFORTS, NARROW, WIDE, Plan, Range, plan_profile, stacks
from runs.errors import UserError
from students.space import space
from students.spec import EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec, uniform_spec
from students.table import SpecTable

WORKLOADS = (Workload(),)


@pytest.fixture(scope="module", params=EFFORTS.names())
def plan(request: pytest.FixtureRequest) -> Plan:
    return plan_profile(request.param, WORKLOADS)


class TestEveryEffort:
    def test_the_check_is_of_fresh_whole_students(self, plan: Plan) -> None:
        assert len(plan.check) >= 20
        assert all(isinstance(item, StudentSpec) for item in plan.check.values())
        shapes = {str((item.hidden_width, item.layers)) for item in plan.fit.values() if isinstance(item, StudentSpec)}
        assert not any(str((item.hidden_width, item.layers)) in shapes for item in plan.check.values())
        space("hybrid").encode(list(plan.check.values()))

    def test_every_kind_of_block_and_the_usual_teachers_are_there(self, plan: Plan) -> None:
        blocks = {type(item.block) for item in plan.fit.values() if isinstance(item, Stack)}
        assert blocks == {EmbeddingBlock, LayerBlock, HeadBlock}
        whole = {item.layers for item in plan.fit.values() if isinstance(item, StudentSpec)}
        assert {uniform_spec(6, 384, 12, 1536).layers, uniform_spec(12, 768, 12, 3072).layers} <= whole
        assert plan.reference in plan.fit

    def test_keys_are_those_of_the_items(self, plan: Plan) -> None:
        assert all(item_key(item) == key for key, item in plan.items.items())

    def test_both_spaces_lie_within_what_is_learned(self, plan: Plan) -> None:
        learned = SpecTable.from_blocks(
            [item_blocks(item) or () for item in plan.fit.values() if isinstance(item, StudentSpec)]
        )
        for name in ("hidden_width", "qkv_width", "ffn_width"):
            assert getattr(learned, name).max() >= 768
        assert learned.present.sum(axis=1).max() >= 12
        assert learned.hidden_width.min() <= 128


def test_a_plan_repeats_and_its_seed_matters() -> None:
    assert plan_profile("quick", WORKLOADS) == plan_profile("quick", WORKLOADS)
    assert plan_profile("quick", WORKLOADS, 1).items.keys() != plan_profile("quick", WORKLOADS).items.keys()


def test_long_texts_have_the_positions_they_need() -> None:
    for item in plan_profile("quick", (Workload(1, 128), Workload(1, 1024))).items.values():
        for block in item_blocks(item) or ():
            assert not isinstance(block, EmbeddingBlock) or block.maximum_positions >= 1024


def test_an_unknown_effort_is_a_user_error() -> None:
    with pytest.raises(UserError, match="unknown effort 'quik': use one of quick"):
        plan_profile("quik", WORKLOADS)


@pytest.mark.parametrize("among", [NARROW, WIDE])
def test_stacks_fill_their_range_and_stay_inside(among: Range) -> None:
    drawn = [item.block for item in stacks(64, among, seed=3) if isinstance(item, Stack)]
    layers = [block for block in drawn if isinstance(block, LayerBlock)]
    assert len(layers) == 64
    for values, (low, high) in (
        ([block.hidden_width for block in layers], among.hidden),
        ([block.layer.ffn_width for block in layers], among.ffn),
    ):
        assert low <= min(values) and max(values) <= high
        shares = np.log(np.array(values) / low) / np.log(high / low)
        # Eight bins of one width in ratio: none is left empty.
        assert (np.histogram(shares, bins=8, range=(0.0, 1.0))[0] > 0).all()
    assert all(block.layer.qkv_width <= among.widest_qkv for block in layers)
    assert {block.layer.activation for block in layers} == set(among.activations)


def test_jobs_and_answers_survive_their_line() -> None:
    plan = plan_profile("quick", WORKLOADS)
    tasks = (Task(Workload(), {plan.reference: (0, 2)}, None), Task(Workload(8), {}, (plan.reference, 3)))
    job = Job("cpu", plan.items, tasks, plan.policy, 2, 5)
    assert "\n" not in job.to_line()
    assert Job.from_line(job.to_line()) == job
    assert Answer.from_line(Answer(error="no\nsuch").to_line()) == Answer(error="no\nsuch")
