"""What is measured: enough of everything, nothing of the check in the fit, on workloads spread over the range."""

from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from devices.workload import Workload
from export.items import Stack, item_blocks, item_key
from profiler.layer_draws import LAYER_DRAWS
from profiler.plan import EFFORTS, Allotment, Plan, item_flops, longest_affordable, plan_profile
from profiler.population import NARROW, POPULATIONS, VOCABULARY, WIDE, Drawing, Range, is_check, stacks
from profiler.workloads import WorkloadRange
from runs.errors import UserError
from students.heads import CAUSAL_LAYERS, HeadKind
from students.shapes import SHAPES
from students.space import space
from students.spec import LAYER_TYPES, EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec, uniform_spec

WIDE_RANGE = WorkloadRange(((16, 512),), (1,), (1, 2), ("fp32", "int8"))


@pytest.fixture(scope="module", params=["quick", "standard"])
def plan(request: pytest.FixtureRequest) -> Plan:
    return plan_profile(request.param, WIDE_RANGE)


class TestEveryEffort:
    def test_the_check_is_of_fresh_whole_students(self, plan: Plan) -> None:
        assert len(plan.check) >= 20
        students = [item for item in plan.check.values() if isinstance(item, StudentSpec)]
        assert len(students) == len(plan.check)
        assert {student.vocabulary_size for student in students} == {VOCABULARY}
        shapes = {str((item.hidden_width, item.layers)) for item in plan.fit.values() if isinstance(item, StudentSpec)}
        assert not any(str((student.hidden_width, student.layers)) in shapes for student in students)
        space("hybrid").encode(students)

    def test_every_kind_of_block_layer_and_head_is_there(self, plan: Plan) -> None:
        blocks = {type(item.block) for item in plan.fit.values() if isinstance(item, Stack)}
        assert blocks == {EmbeddingBlock, LayerBlock, HeadBlock}
        whole = [item for item in plan.fit.values() if isinstance(item, StudentSpec)]
        assert {layer.type for student in whole for layer in student.layers} == set(LAYER_TYPES)
        assert {student.head.kind for student in whole} == set(get_args(HeadKind))
        stacked = {
            item.block.layer.type
            for item in plan.fit.values()
            if isinstance(item, Stack) and isinstance(item.block, LayerBlock)
        }
        assert stacked == set(LAYER_TYPES)

    def test_the_usual_teachers_come_first_at_both_ends(self, plan: Plan) -> None:
        minilm = next(key for key, item in plan.fit.items() if named(item, "minilm-l6-h384"))
        lengths = [cell.workload.sequence_length for cell in plan.cells if cell.key == minilm]
        assert {16, 512} <= set(lengths)
        first = [plan.fit[cell.key] for cell in plan.cells[:8]]
        assert all(named(item, "bert-tiny") for item in first)

    def test_keys_are_those_of_the_items_and_all_cells_have_theirs(self, plan: Plan) -> None:
        assert all(item_key(item) == key for key, item in plan.items.items())
        assert {cell.key for cell in plan.cells} == plan.fit.keys() - {plan.reference}
        assert {cell.key for cell in plan.check_cells} == plan.check.keys()
        assert len(set(plan.cells)) == len(plan.cells)

    def test_settings_come_equally_often_and_lengths_fill_the_range(self, plan: Plan) -> None:
        for cells in (plan.cells, plan.check_cells):
            counts = Counter((cell.workload.threads, cell.workload.precision) for cell in cells)
            assert len(counts) == 4 and max(counts.values()) <= 1.3 * min(counts.values())
        lengths = np.log2([cell.workload.sequence_length for cell in plan.cells])
        assert (np.histogram(lengths, bins=5, range=(4, 9))[0] > len(plan.cells) / 20).all()
        assert any(cell.workload.sequence_length % 2 for cell in plan.cells)

    def test_any_beginning_is_a_fair_sample(self, plan: Plan) -> None:
        third = plan.cells[: len(plan.cells) // 3]
        share = {
            part: np.mean([isinstance(plan.fit[cell.key], Stack) for cell in cells])
            for part, cells in (("third", third), ("all", plan.cells))
        }
        assert share["third"] == pytest.approx(share["all"], abs=0.1)


def named(item: object, name: str) -> bool:
    return isinstance(item, StudentSpec) and item.layers == SHAPES[name].layers and item.head == SHAPES[name].head


def test_nothing_takes_longer_than_the_effort_allows() -> None:
    plan, effort = plan_profile("quick", WIDE_RANGE), EFFORTS["quick"]
    costs = [item_flops(plan.fit[cell.key], 1, cell.workload.sequence_length) for cell in plan.cells]
    assert max(costs) <= effort.anchor_flops
    assert np.mean(np.array(costs) <= effort.most_flops) > 0.95


def test_one_workload_is_measured_once_each() -> None:
    workload = Workload(1, 128)
    plan = plan_profile("quick", WorkloadRange.of(workload))
    assert {cell.workload for cell in plan.cells + plan.check_cells} == {workload}
    assert len(plan.cells) == len(plan.fit) - 1 and len(plan.check_cells) == len(plan.check)
    assert any(named(item, "bert-base") for item in plan.fit.values())


def test_a_plan_repeats_and_its_seed_matters() -> None:
    alone = WorkloadRange()
    assert plan_profile("quick", alone) == plan_profile("quick", alone)
    assert plan_profile("quick", alone, 1).items.keys() != plan_profile("quick", alone).items.keys()
    assert plan_profile("quick", WIDE_RANGE) == plan_profile("quick", WIDE_RANGE)


def test_long_texts_have_the_positions_they_need() -> None:
    for item in plan_profile("quick", WorkloadRange(((128, 128), (1024, 1024)))).items.values():
        for block in item_blocks(item) or ():
            assert not isinstance(block, EmbeddingBlock) or block.maximum_positions >= 1024


def test_an_unknown_effort_is_a_user_error() -> None:
    with pytest.raises(UserError, match="unknown effort 'quik': use one of quick"):
        plan_profile("quik", WorkloadRange())


def test_the_longest_affordable_length_is_just_that() -> None:
    spec = SHAPES["bert-base"]
    longest = longest_affordable(spec, 1, WIDE_RANGE, 2e10)
    assert spec.flops(1, longest) <= 2e10 < spec.flops(1, longest + 1)
    assert longest_affordable(spec, 1, WIDE_RANGE, 1e12) == 512
    assert longest_affordable(spec, 1, WIDE_RANGE, 1e8) == 0
    assert Allotment(WIDE_RANGE, 1e8, np.random.default_rng(0)).cells(spec) == []


@pytest.mark.parametrize("name", POPULATIONS.names())
class TestEveryPopulation:
    def test_it_repeats_has_no_doubles_and_no_more_than_asked_for(self, name: str) -> None:
        drawn = list(POPULATIONS[name](7, Drawing((3,))))
        assert 6 <= len(drawn) <= 7 and len(set(drawn)) == len(drawn)
        assert drawn == list(POPULATIONS[name](7, Drawing((3,))))

    def test_only_wanted_students_are_drawn(self, name: str) -> None:
        drawn = POPULATIONS[name](5, Drawing((0,), wanted=lambda spec: len(spec.layers) <= 3))
        assert all(len(item.layers) <= 3 for item in drawn if isinstance(item, StudentSpec))

    def test_vocabulary_and_positions_are_those_asked_for(self, name: str) -> None:
        drawn = POPULATIONS[name](6, replace(Drawing((1,)), vocabulary=999, positions=640))
        students = [item for item in drawn if isinstance(item, StudentSpec)]
        assert all(student.maximum_positions == 640 for student in students)
        assert all(student.vocabulary_size == 999 for student in students if not student.head.kind.endswith("-lm"))


def test_every_layer_type_can_be_drawn() -> None:
    assert set(LAYER_DRAWS) == set(LAYER_TYPES)


@pytest.mark.parametrize("among", [NARROW, WIDE])
def test_stacks_fill_their_range_and_stay_inside(among: Range) -> None:
    drawn = [item.block for item in stacks(64, among, np.random.default_rng(3)) if isinstance(item, Stack)]
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
    widths = [(block.layer.qkv_width, block.layer.activation) for block in layers if hasattr(block.layer, "qkv_width")]
    assert all(qkv <= among.widest_qkv for qkv, _ in widths)
    assert {activation for _, activation in widths} == set(among.activations)


def test_the_spaces_lie_within_what_is_learned() -> None:
    plan = plan_profile("quick", WorkloadRange())
    learned = [item for item in plan.fit.values() if isinstance(item, StudentSpec)]
    assert max(len(student.layers) for student in learned) >= 12
    assert max(student.hidden_width for student in learned) >= 768
    assert min(student.hidden_width for student in learned) <= 96
    assert uniform_spec(12, 768, 12, 3072).layers in {student.layers for student in learned}


def test_with_tokens_in_a_cache_all_students_write_on() -> None:
    among = WorkloadRange(((1, 1),), earlier_tokens=600)
    plan = plan_profile("quick", among)
    assert {cell.workload for cell in (*plan.cells, *plan.check_cells)} == {Workload(1, 1, 1, earlier_tokens=600)}
    learned = [item for key, item in plan.fit.items() if key != plan.reference]
    for item in (*learned, *plan.check.values()):
        assert isinstance(item, StudentSpec) and item.head.kind == "causal-lm"
        assert item.maximum_positions >= 601
    words = {item.vocabulary_size for item in learned if isinstance(item, StudentSpec)}
    assert min(words) < 2000 and max(words) > 40_000
    assert len(plan.check) == 20 and all(is_check(item) for item in plan.check.values())
    assert not any(is_check(item) for item in learned)
    types = {layer.type for item in learned if isinstance(item, StudentSpec) for layer in item.layers}
    assert types == set(CAUSAL_LAYERS)
