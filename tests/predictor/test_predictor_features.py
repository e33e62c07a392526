"""Terms add up over blocks, whatever the student."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.workload import Workload
from predictor.evaluation import flops_and_one
from predictor.features import TERM_COUNT, additive_terms, feature_table
from students.spec import StudentSpec, TransformerLayer
from students.table import SpecTable

layers = st.builds(
    lambda heads, head_width, ffn, activation: TransformerLayer(heads, heads * head_width, ffn, activation),
    st.integers(1, 12),
    st.integers(4, 64),
    st.integers(8, 3072),
    st.sampled_from(["gelu", "relu", "silu"]),
)
specs = st.builds(
    StudentSpec, st.integers(16, 768), st.integers(16, 768), st.lists(layers, min_size=1, max_size=8).map(tuple)
)
workloads = st.builds(Workload, st.integers(1, 8), st.integers(1, 512))


@given(specs, workloads)
def test_terms_of_a_student_are_the_sum_over_its_blocks(spec, workload):
    whole, names = additive_terms(SpecTable.from_specs([spec]), workload)
    parts, _ = additive_terms(SpecTable.from_blocks([[block] for block in spec.blocks()]), workload)
    additive = [index for index, name in enumerate(names) if name != "calls"]
    assert whole[0, additive] == pytest.approx(parts.sum(axis=0)[additive])
    assert whole[0, names.index("calls")] == 1


@given(specs, workloads)
def test_terms_are_finite_and_not_negative(spec, workload):
    features, names = feature_table(SpecTable.from_specs([spec]), workload)
    assert features.shape == (1, len(names)) and len(set(names)) == len(names)
    assert np.isfinite(features).all() and (features >= 0).all()


@given(specs, workloads)
def test_flop_terms_are_the_flops_of_the_spec(spec, workload):
    expected = spec.flops(workload.batch_size, workload.sequence_length) / 1e6
    table = SpecTable.from_specs([spec])
    terms, names = additive_terms(table, workload)
    counted = [name for name in names if name.endswith("_mflops") and "padding" not in name]
    assert terms[0, [names.index(name) for name in counted]].sum() == pytest.approx(expected)
    assert flops_and_one(table, workload)[0] == pytest.approx([expected, 1.0])


def test_padding_is_zero_on_full_registers_and_only_there():
    def padding(width: int) -> float:
        spec = StudentSpec(width, width, (TransformerLayer(4, 64, 256),))
        terms, names = additive_terms(SpecTable.from_specs([spec]), Workload())
        return float(terms[0, names.index("padding_mflops")])

    assert padding(96) == 0
    assert padding(97) > padding(111) > 0


def test_the_first_columns_are_the_additive_ones():
    table = SpecTable.from_specs([StudentSpec(96, 96, (TransformerLayer(4, 64, 256),))])
    features, names = feature_table(table, Workload())
    terms, term_names = additive_terms(table, Workload())
    assert names[:TERM_COUNT] == term_names
    assert (features[:, :TERM_COUNT] == terms).all()
