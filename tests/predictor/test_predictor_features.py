"""Terms add up over blocks, whatever the student."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.workload import Workload
from predictor.evaluation import flops_and_one
from predictor.features import CACHES_MB, FEATURES, TERM_COUNT, WHOLE_TERMS, feature_table, law_terms
from predictor.terms import BLOCK_TERMS, MANY, PLACES, block_terms
from students.heads import TokenHeadBlock
from students.spec import (
    BottleneckLayer,
    ConvolutionLayer,
    EmbeddingBlock,
    FeedForwardLayer,
    Head,
    HeadBlock,
    LayerBlock,
    StudentSpec,
    TransformerLayer,
    uniform_spec,
)
from students.table import BlockTable

activations = st.sampled_from(["gelu", "relu", "silu"])
heads, head_widths, widths = st.integers(1, 12), st.integers(4, 64), st.integers(8, 1024)
layers = st.one_of(
    st.builds(
        lambda count, width, ffn, activation: TransformerLayer(count, count * width, ffn, activation),
        heads,
        head_widths,
        widths,
        activations,
    ),
    st.builds(FeedForwardLayer, widths, st.integers(1, 3), activations),
    st.builds(
        lambda inner, count, width, ffn, times: BottleneckLayer(inner, count, count * width, ffn, times),
        widths,
        heads,
        head_widths,
        widths,
        st.integers(1, 3),
    ),
    st.builds(ConvolutionLayer, st.sampled_from([1, 3, 5]), widths, activations),
)
answers = st.sampled_from([Head(), Head("none", 1), Head("tokens", 5), Head("masked-lm", 1)])
specs = st.builds(
    StudentSpec,
    st.integers(16, 768),
    st.integers(16, 768),
    st.lists(layers, min_size=1, max_size=8).map(tuple),
    head=answers,
)
workloads = st.builds(Workload, st.integers(1, 8), st.integers(1, 512), st.integers(1, 4))


@given(specs, workloads)
def test_terms_of_a_student_are_the_sum_over_its_blocks(spec, workload):
    whole = law_terms(BlockTable.from_specs([spec]), workload)
    parts, names = block_terms(spec.blocks(), workload)
    assert names == BLOCK_TERMS and whole.shape == (1, TERM_COUNT)
    assert whole[0, : len(names)] == pytest.approx(parts.sum(axis=0))
    assert whole[0, FEATURES.index("calls")] == 1


def test_weights_beyond_a_cache_are_counted_once_for_the_whole():
    spec = uniform_spec(4, 384, 6, 1536, head=Head("none", 1))
    for precision, size in (("fp32", 4), ("int8", 1)):
        terms = law_terms(BlockTable.from_specs([spec]), Workload(precision=precision))
        weights = terms[0, PLACES["product_weights"]]
        beyond = [terms[0, FEATURES.index(f"weights_beyond_{cache}_mb")] for cache in CACHES_MB]
        assert beyond == pytest.approx([max(size * weights - cache, 0) for cache in CACHES_MB])


@given(specs, workloads)
def test_features_are_finite_and_not_negative(spec, workload):
    features = feature_table(BlockTable.from_specs([spec]), workload)
    assert features.shape == (1, len(FEATURES)) and len(set(FEATURES)) == len(FEATURES)
    assert np.isfinite(features).all() and (features >= 0).all()


@given(specs, workloads)
def test_flop_terms_are_the_flops_of_the_spec(spec, workload):
    expected = spec.flops(workload.batch_size, workload.sequence_length) / 1e6
    table = BlockTable.from_specs([spec])
    terms = law_terms(table, workload)
    counted = [PLACES[name] for name in ("product_mflops", "attention_mflops", "depthwise_mflops")]
    assert terms[0, counted].sum() == pytest.approx(expected)
    assert flops_and_one(table, workload)[0] == pytest.approx([expected, 1.0])


def test_blocks_that_no_row_has_are_not_described():
    ours, other = uniform_spec(2, 96, 4, 256), uniform_spec(3, 768, 12, 3072)
    both = BlockTable.from_specs([ours, other])
    alone = feature_table(BlockTable.from_specs([ours]), Workload())
    assert (feature_table(both.take(np.array([0])), Workload()) == alone).all()


def test_padding_is_zero_on_full_registers_and_only_there():
    def padding(width: int) -> float:
        spec = StudentSpec(width, width, (TransformerLayer(4, 64, 256),), head=Head("none", 1))
        terms, _ = block_terms(spec.blocks(), Workload())
        return float(terms[:, PLACES["product_column_padding_mflops"]].sum())

    assert padding(96) == 0
    assert padding(97) > padding(111) > 0


def test_threads_that_share_columns_out_are_idle_for_want_of_a_whole_group():
    def idle(length: int, threads: int) -> list[float]:
        terms, _ = block_terms([TokenHeadBlock(10, 48)], Workload(1, length, threads))
        return [float(terms[0, PLACES[f"product_{name}_mflops"]]) for name in ("idle", "wide_idle")]

    # 48 columns are three groups of 16, of which one of two threads gets two; 60 rows are shared out instead.
    assert idle(36, 2) == pytest.approx([16 * 2 * 36 * 10 / 1e6, 0])
    assert idle(36, 1) == idle(60, 2) == [0, 0]


def test_an_odd_head_leaves_one_of_two_threads_idle():
    def idle(heads: int, threads: int) -> list[float]:
        spec = StudentSpec(96, 96, (TransformerLayer(heads, heads * 32, 256),), head=Head("none", 1))
        terms, _ = block_terms(spec.blocks(), Workload(1, 100, threads))
        return [float(terms[:, PLACES[f"attention_idle_{name}"]].sum()) for name in ("mflops", "scores")]

    assert idle(3, 1) == idle(4, 2) == [0, 0]
    assert idle(3, 2) == idle(1, 2) == pytest.approx([4 * 32 * 100**2 / 1e6, 100**2 / 1e6])


def test_the_first_columns_are_the_additive_ones():
    table = BlockTable.from_specs([StudentSpec(96, 96, (TransformerLayer(4, 64, 256),))])
    features = feature_table(table, Workload())
    assert FEATURES[:TERM_COUNT] == BLOCK_TERMS + WHOLE_TERMS
    assert (features[:, :TERM_COUNT] == law_terms(table, Workload())).all()


def test_many_layers_are_described_as_each_is_alone() -> None:
    sizes = product((64, 96), (1, 2, 5), range(10, 1200, 7), ("gelu", "relu"), (False, True))
    layers = [
        LayerBlock(hidden, TransformerLayer(heads, 16 * heads, ffn, activation), first_only)
        for hidden, heads, ffn, activation, first_only in sizes
    ]
    blocks = [EmbeddingBlock(64, 96, 100, 20, 2), *layers, HeadBlock(96, 2)]
    assert len(layers) > 4 * MANY
    for workload in (Workload(1, 37), Workload(3, 128, 2, "int8")):
        found, _ = block_terms(blocks, workload)
        alone = np.vstack([block_terms([block], workload)[0] for block in blocks[::50]])
        assert np.array_equal(found[::50], alone)
        assert np.array_equal(found[-1:], block_terms(blocks[-1:], workload)[0])
