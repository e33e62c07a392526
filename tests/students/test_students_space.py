"""The contract of every search space: codes and specs say the same, and whatever a move returns is a member."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.errors import UserError
from students.caps import Caps, caps_from_json
from students.space import SPACES, SearchSpace, space
from students.spec import (
    BottleneckLayer,
    ConvolutionLayer,
    Head,
    StudentSpec,
    TransformerLayer,
    transformer_layers,
    uniform_spec,
)
from students.supernet import depth_map
from students.table import BlockTable

AROUND: dict[str, Any] = dict(vocabulary_size=50, maximum_positions=16, token_types=2, head=Head("classification", 3))

SMALL = {
    "mixed": """
layers: [1, 3]
hidden: [8, 12]
activation: [gelu, relu]
alike: false
heads: [1, 2, 3]
qkv: [hidden, 20 per head]
maximum_qkv: 20
ffn: [4, 6]
""",
    "alike": """
layers: [2, 3, 6]
hidden: [8, 12]
activation: [silu]
alike: true
heads: [1, 2, 3]
qkv: [hidden, 40, 48]
ffn: [4]
""",
    "types": """
layers: [1, 2]
hidden: [8]
activation: [gelu]
alike: false
alike_share: 0.3
heads: [1, 2]
qkv: [8 per head]
ffn: [4, 6]
types: {transformer: 2, convolution of 3: 1, feed-forward x 2: 1, bottleneck to 1/2: 0.5}
""",
    "attention last": """
layers: [2, 3]
hidden: [8]
activation: [gelu]
alike: false
alike_share: 0.3
heads: [1, 2]
qkv: [8 per head]
ffn: [4]
types: [feed-forward, transformer, bottleneck to 1/2, convolution of 3]
attention_last: true
""",
    "no attention": """
layers: [1, 2]
hidden: [8]
activation: [gelu]
alike: false
heads: [2]
qkv: [8 per head]
ffn: [4, 6]
types: [feed-forward, convolution of 3]
""",
    "first heads impossible": """
layers: [1, 2]
hidden: [8]
activation: [gelu]
alike: false
alike_share: 1.0
heads: [3, 4]
qkv: [hidden]
ffn: [4]
types: [transformer, feed-forward]
""",
    "shared, factorised": """
layers: [1, 2, 3]
hidden: [8, 12]
activation: [gelu]
alike: false
alike_share: 0.3
heads: [1, 2]
qkv: [8 per head]
ffn: [4, 6]
embedding: [6, 10, hidden]
sharing: [1, 2, 3]
""",
    "shared always, of types": """
layers: [2, 3]
hidden: [8]
activation: [gelu]
alike: false
heads: [1, 2]
qkv: [8 per head]
ffn: [4]
types: [transformer, feed-forward, convolution of 3]
attention_last: true
embedding: [4]
sharing: [2]
""",
    "shared, alike": """
layers: [2, 4]
hidden: [8, 16]
activation: [gelu]
alike: true
heads: [2, 4]
qkv: [8 per head]
ffn: [4, 6]
embedding: [hidden, 12]
sharing: [1, 4]
""",
    "narrow bottlenecks": """
layers: [1, 2]
hidden: [8]
activation: [gelu]
alike: false
heads: [1, 2]
qkv: [8 per head]
ffn: [4, 6]
types: [transformer, narrow bottleneck to 1/4, bottleneck to 1/4]
""",
    "types, alike": """
layers: [1, 3]
hidden: [8, 16]
activation: [gelu, relu]
alike: true
heads: [2, 4]
qkv: [8 per head, 12 per head]
ffn: [4, 6]
types: [feed-forward, convolution of 5, transformer]
""",
}


GROWN = {
    "two types": (
        """
layers: [1, 2, 3]
hidden: [8]
activation: [gelu]
alike: false
alike_share: 0.3
heads: [1, 2, 4]
qkv: [8 per head]
ffn: [4, 6, 8]
types: [transformer, narrow bottleneck to 1/2]
sharing: [1, 2]
""",
        Caps(((4, 2), (4, 4), (2, 1)), ((8, 4), (6, 6), (4, 8))),
    ),
    "one type": (
        """
layers: [2, 4]
hidden: [8]
activation: [gelu, relu]
alike: false
heads: [1, 2]
qkv: [8 per head]
ffn: [4, 6]
""",
        Caps(((2,), (1,), (2,), (1,)), ((4,), (6,), (6,), (6,))),
    ),
    "attention last": (
        """
layers: [1, 3]
hidden: [8]
activation: [gelu]
alike: false
heads: [1, 2]
qkv: [4 per head, 8 per head]
ffn: [4, 6]
types: [feed-forward, transformer]
attention_last: true
""",
        Caps(((2, 2), (2, 1), (2, 2)), ((6, 4), (4, 4), (4, 6))),
    ),
}
"""Spaces with how far a supernet of theirs has grown."""


def written(folder: Path, text: str) -> SearchSpace:
    path = folder / "mine.yaml"
    path.write_text(text)
    return space(path)


def reachable(members: SearchSpace) -> list[set[int]]:
    """The values that each gene can have: of the type of what is the last layer or none, those with attention or 0."""
    if members.caps is not None:
        return [set(column) for column in _every(members).T]
    values = [set(range(count)) for count in members.cardinalities]
    attending = [form.attends for form in members.choices.types]
    for place, gene in enumerate(members.genes):
        if not any(attending) and gene.endswith(("heads", "qkv")):
            values[place] = {0}
    if members.choices.attention_last:
        values[-1] = {place for place, form in enumerate(members.choices.types) if form.attends} | {0}
    return values


def _every(members: SearchSpace) -> Any:
    """The codes of all members of a small space."""
    grid = np.indices(members.cardinalities).reshape(len(members.genes), -1).T
    return grid[members.valid(grid)]


class SpaceContract:
    """What a space promises; a subclass gives `members`."""

    @pytest.fixture
    def members(self) -> SearchSpace:
        raise NotImplementedError

    def test_samples_are_valid_and_seeded(self, members: SearchSpace) -> None:
        codes = members.sample(500, np.random.default_rng(1))
        assert codes.shape == (500, len(members.genes))
        assert codes.dtype == np.int64
        assert members.valid(codes).all()
        assert np.array_equal(codes, members.sample(500, np.random.default_rng(1)))
        assert not np.array_equal(codes, members.sample(500, np.random.default_rng(2)))

    def test_samples_reach_every_choice(self, members: SearchSpace) -> None:
        codes = members.sample(5000, np.random.default_rng(0))
        assert [set(column) for column in codes.T] == reachable(members)

    def test_encode_is_the_inverse_of_decode(self, members: SearchSpace) -> None:
        codes = members.sample(300, np.random.default_rng(2))
        assert np.array_equal(members.encode(members.decode(codes, **AROUND)), codes)

    def test_one_code_a_member(self, members: SearchSpace) -> None:
        codes = np.unique(members.sample(2000, np.random.default_rng(3)), axis=0)
        assert len(set(members.decode(codes, **AROUND))) == len(codes)

    def test_table_is_that_of_the_specs(self, members: SearchSpace) -> None:
        for head in (AROUND["head"], Head("none")):
            around = {**AROUND, "head": head}
            codes = members.sample(200, np.random.default_rng(4))
            found, expected = members.table(codes, **around), BlockTable.from_specs(members.decode(codes, **around))
            assert [found.row(n) for n in range(200)] == [expected.row(n) for n in range(200)]
            assert found.blocks == members.table(codes[:1], **around).blocks
            assert len(set(found.blocks)) == len(found.blocks)

    def test_moves_stay_inside(self, members: SearchSpace) -> None:
        rng = np.random.default_rng(5)
        codes = members.sample(1000, rng)
        before = codes.copy()
        for rate in (0.05, 0.3, 1.0):
            mutated = members.mutate(codes, rng, rate)
            assert members.valid(mutated).all()
            assert (mutated != codes).any()
        assert np.array_equal(members.mutate(codes, rng, 0.0), codes)
        children = members.cross(codes, codes[::-1], rng)
        assert members.valid(children).all()
        assert np.array_equal(members.cross(codes, codes, rng), codes)
        assert np.array_equal(codes, before)

    def test_growing_is_the_other_way_of_trimming(self, members: SearchSpace) -> None:
        for code in members.sample(20, np.random.default_rng(9)):
            grown = members.grow(code)
            assert members.valid(grown).all() and (grown.sum(1) > code.sum()).all()
            assert np.array_equal(grown[:, :3], np.broadcast_to(code[:3], (len(grown), 3)))
            for larger in grown:
                assert (members.trim(larger) == code).all(axis=1).any()

    def test_mutation_reaches_everywhere(self, members: SearchSpace) -> None:
        codes = np.repeat(members.enumerate_extremes()[:1], 20000, axis=0)
        rng = np.random.default_rng(6)
        for _ in range(3):
            codes = members.mutate(codes, rng, 0.5)
        assert [set(column) for column in codes.T] == reachable(members)

    def test_extremes_are_the_smallest(self, members: SearchSpace) -> None:
        extremes = members.enumerate_extremes()
        assert members.valid(extremes).all()
        least = min(spec.flops(1, 64) for spec in members.decode(extremes, **AROUND))
        sampled = members.decode(members.sample(2000, np.random.default_rng(7)), **AROUND)
        assert least <= min(spec.flops(1, 64) for spec in sampled)

    def test_trims_are_smaller_neighbours(self, members: SearchSpace) -> None:
        for code in members.sample(40, np.random.default_rng(8)):
            trimmed = members.trim(code)
            assert members.valid(trimmed).all()
            specs = members.decode(trimmed, **AROUND)
            (original,) = members.decode(code[None], **AROUND)
            assert len(set(specs)) == len(specs)
            for spec in specs:
                assert original != spec
                assert spec.flops(1, 64) <= original.flops(1, 64)
                assert spec.bytes_moved(1, 64) < original.bytes_moved(1, 64)

    def test_trimming_ends_at_an_extreme(self, members: SearchSpace) -> None:
        code = members.sample(1, np.random.default_rng(9))[0]
        steps = 0
        while len(trimmed := members.trim(code)):
            code, steps = trimmed[0], steps + 1
            assert steps < 1000
        assert code[:2].tolist() == [0, 0]

    def test_invalid_codes_are_refused(self, members: SearchSpace) -> None:
        code = members.sample(1, np.random.default_rng(10))
        for gene in range(code.shape[1]):
            for value in (-1, members.cardinalities[gene]):
                wrong = code.copy()
                wrong[0, gene] = value
                assert not members.valid(wrong)[0]
        wrong = code.copy()
        wrong[0, 0] = 99
        with pytest.raises(UserError, match="not a code"):
            members.decode(np.concatenate([code, wrong]), **AROUND)


class TestNamedSpaces(SpaceContract):
    """Every space that comes along."""

    @pytest.fixture(params=SPACES.names())
    def members(self, request: pytest.FixtureRequest) -> SearchSpace:
        return space(request.param)


class TestSpaceFiles(SpaceContract):
    """Small spaces whose every member can be listed."""

    @pytest.fixture(params=SMALL)
    def members(self, request: pytest.FixtureRequest, tmp_path: Path) -> SearchSpace:
        return written(tmp_path, SMALL[request.param])

    def test_valid_means_decodable_and_size_counts_it(self, members: SearchSpace) -> None:
        codes = _every(members)
        assert members.size == len(codes)
        specs = members.decode(codes, **AROUND)
        assert len(set(specs)) == len(specs)
        assert np.array_equal(members.encode(specs), codes)


class TestGrownSpaces(TestSpaceFiles):
    """Spaces that reach as far as a supernet has grown."""

    @pytest.fixture(params=GROWN)
    def members(self, request: pytest.FixtureRequest, tmp_path: Path) -> SearchSpace:
        text, caps = GROWN[request.param]
        return replace(written(tmp_path, text), caps=caps)

    def test_trimming_ends_at_an_extreme(self, members: SearchSpace) -> None:
        """Where a layer less would move another to a place of more heads, it ends before."""
        code = members.sample(1, np.random.default_rng(9))[0]
        for _ in range(100):
            if not len(trimmed := members.trim(code)):
                return
            code = trimmed[0]
        raise AssertionError("it does not end")

    def test_layers_have_the_heads_of_their_places_and_no_more_neurons(self, members: SearchSpace) -> None:
        assert members.caps is not None
        places = max(members.choices.layers)
        for spec in members.decode(members.sample(300, np.random.default_rng(3)), **AROUND):
            origins = depth_map(len(spec.layers), places)
            for layer, owner in zip(spec.layers, spec.owners, strict=True):
                number = [form.type for form in members.choices.types].index(layer.type)
                assert layer.ffn_width <= members.caps.ffn[origins[owner]][number]
                if members.choices.types[number].attends:
                    assert layer.heads == members.caps.heads[origins[owner]][number]  # type: ignore[union-attr]

    def test_all_neurons_up_to_the_caps_are_drawn_as_often(self, members: SearchSpace) -> None:
        codes = members.sample(6000, np.random.default_rng(4))
        assert members.caps is not None
        deepest = members.decode(codes[codes[:, 0] == len(members.choices.layers) - 1], **AROUND)
        first = members.choices.types[-1].type
        drawn = [spec.layers[0].ffn_width for spec in deepest if spec.layers[0].type == first]
        allowed = [width for width in members.choices.ffn if width <= members.caps.ffn[0][-1]]
        for width in allowed:
            assert np.mean(np.array(drawn) == width) == pytest.approx(1 / len(allowed), abs=0.07)

    def test_what_lies_beyond_is_no_member(self, members: SearchSpace) -> None:
        whole, grown = replace(members, caps=None), members.size
        drawn = whole.sample(2000, np.random.default_rng(5))
        beyond = drawn[~members.valid(drawn)]
        assert len(beyond) and grown < whole.size
        with pytest.raises(UserError, match="further than its supernet has grown"):
            members.encode(whole.decode(beyond[:1], **AROUND))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SPACES.names()), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_long_walks_stay_inside(name: str, seed: int, rate: float) -> None:
    members, rng = space(name), np.random.default_rng(seed)
    codes = members.sample(20, rng)
    for _ in range(5):
        codes = members.cross(members.mutate(codes, rng, rate), codes, rng)
        assert members.valid(codes).all()
    assert np.array_equal(members.encode(members.decode(codes, **AROUND)), codes)


def test_caps_are_read_as_they_were_written() -> None:
    for _, caps in GROWN.values():
        assert caps_from_json(json.loads(json.dumps(caps.to_json()))) == caps


def test_elm_has_the_published_layers() -> None:
    members = space("elm")
    heads = {"heads": 12, "activation": "gelu"}
    for ffn in (132, 264, 396, 528, 660, 792):
        layers = (TransformerLayer(qkv_width=528, ffn_width=ffn, **heads),
                  BottleneckLayer(132, qkv_width=132, ffn_width=ffn, **heads)) * 6  # fmt: skip
        spec = StudentSpec(128, 528, layers, **AROUND)
        assert members.valid(members.encode([spec, replace(spec, layers=layers[:6])])).all()


def test_hybrid_holds_teacher_like_and_thin_members() -> None:
    members = space("hybrid")
    teacher = uniform_spec(6, 384, 12, 1536, **AROUND)
    thin = uniform_spec(1, 96, 3, 128, **AROUND)
    uneven = uniform_spec(2, 312, 12, 1200, qkv_width=384, **AROUND)
    assert members.decode(members.encode([teacher, thin, uneven]), **AROUND) == [teacher, thin, uneven]
    drawn = members.decode(members.sample(4000, np.random.default_rng(0)), **AROUND)
    layers = [layer for spec in drawn for layer in transformer_layers(spec, "this test")]
    assert 0.6 < np.mean([layer.qkv_width == 32 * layer.heads for layer in layers]) < 0.9
    assert max(layer.qkv_width for layer in layers) <= 384
    alike = [len(set(spec.layers)) == 1 for spec in drawn if len(spec.layers) == 6]
    assert 0.4 < np.mean(alike) < 0.6


def test_kd_nas_has_the_published_members() -> None:
    members = space("kd-nas")
    assert members.size == 5 * 5 * 3 * 8 * 3
    fastest = uniform_spec(3, 384, 12, 384, activation="relu", **AROUND)
    assert members.valid(members.encode([fastest])).all()


def test_autotinybert_has_the_published_ranges() -> None:
    """Its published students lie between the steps of its search, and so outside."""
    distilled, pretrained = space("autotinybert-kd"), space("autotinybert-mlm")
    assert (distilled.size, pretrained.size) == (8 * 41 * 50 * 93, 8 * 41 * 12 * 93)
    widest = uniform_spec(8, 768, 12, 3072, **AROUND)
    assert distilled.decode(distilled.encode([widest]), **AROUND) == [widest]
    assert pretrained.decode(pretrained.encode([widest]), **AROUND) == [widest]
    one_head = uniform_spec(1, 128, 1, 128, qkv_width=64, **AROUND)
    assert pretrained.valid(pretrained.encode([one_head])).all()
    with pytest.raises(UserError, match="heads is 1, not one of 12"):
        distilled.encode([one_head])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(hidden_width=100, embedding_width=100), "hidden is 100"),
        (dict(embedding_width=96), "embedding"),
        (dict(layers=(TransformerLayer(2, 128, 100),)), "ffn is 100"),
        (dict(layers=(TransformerLayer(2, 130, 128),)), "qkv width of 130"),
        (dict(layers=(TransformerLayer(2, 64, 128),) * 7), "layers is 7"),
        (dict(layers=(TransformerLayer(2, 64, 128, "relu"),)), "activation is relu"),
    ],
)
def test_outside_students_are_told_why(change: dict[str, Any], reason: str) -> None:
    inside = uniform_spec(1, 128, 2, 128, qkv_width=64)
    with pytest.raises(UserError, match=reason):
        space("hybrid").encode([inside, replace(inside, **change)])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("ffn: [4, 6]", "", "lacks ffn"),
        ("ffn: [4, 6]", "ffn: [6, 4]", "ascending"),
        ("ffn: [4, 6]", "ffn: [0, 4]", "at least 1"),
        ("ffn: [4, 6]", "ffn: {from: 6, to: 4, step: 2}", "at least 1"),
        ("ffn: [4, 6]", "ffn: {from: 4, to: 6, step: 0}", "as in {from: 128"),
        ("ffn: [4, 6]", "ffn: {from: 4, to: six, step: 1}", "as in {from: 128"),
        ("ffn: [4, 6]", "ffn: {from: 4, to: 6}", "as in {from: 128"),
        ("ffn: [4, 6]", "ffn: {from: 1, to: 1000000000000, step: 1}", "at most 10,000 numbers"),
        (
            "qkv: [hidden, 20 per head]",
            "qkv: [hidden, {from: 4, to: 8, step: 4}]",
            "weights above 0, not",
        ),
        ("ffn: [4, 6]", "ffn: [4, 6]\ncolour: red", "colour"),
        ("alike: false", "alike: maybe", "true or false"),
        ("[gelu, relu]", "[tanh]", "activation"),
        ("qkv: [hidden, 20 per head]", "qkv: [wide]", "wide"),
        ("qkv: [hidden, 20 per head]", "qkv: [8 per head, hidden]", "without repetition"),
        ("heads: [1, 2, 3]\nqkv: [hidden, 20 per head]", "heads: [5]\nqkv: [hidden]", "divisible"),
        ("layers: [1, 3]", "layers: [1, 3", "YAML"),
        ("alike: false", "alike: false\ntypes: []", "different names such as transformer, feed-forward"),
        ("alike: false", "alike: false\ntypes: [attention]", "different names such as"),
        ("alike: false", "alike: false\ntypes: [convolution of 4]", "different names such as"),
        ("alike: false", "alike: false\ntypes: [transformer, transformer]", "different names such as"),
        ("alike: false", "alike: false\ntypes: [feed-forward, feed-forward x 1]", "different names such as"),
        ("alike: false", "alike: false\ntypes: {transformer: 0}", "weights above 0"),
        ("alike: false", "alike: false\ntypes: [feed-forward]\nattention_last: true", "some layer has attention"),
        ("alike: false", "alike: false\nattention_last: 1", "true or false"),
        ("alike: false", "alike: false\nembedding: 4", "list of 'hidden', at most once"),
        ("alike: false", "alike: false\nembedding: [hidden, hidden]", "list of 'hidden', at most once"),
        ("alike: false", "alike: false\nembedding: [6, 4]", "embedding .* ascending"),
        ("alike: false", "alike: false\nembedding: [8, 10]", "has 'hidden', or less than 8 channels"),
        ("alike: false", "alike: false\nembedding: [hidden, 12]", "fewer channels than 12, the widest hidden"),
        ("alike: false", "alike: false\nsharing: [1, 4]", "numbers up to 3, the most layers"),
        ("alike: false", "alike: false\nsharing: [0, 2]", "sharing .* at least 1, ascending"),
        ("alike: false", "alike: false\nsharing: [2, 3]", "a number of at most 1, the fewest layers"),
        ("alike: false", "alike: false\ntypes: [narrow bottleneck to 1/3]", "narrow bottlenecks divide 1 heads"),
        ("alike: false", "alike: false\ntypes: [narrow convolution of 3]", "different names such as"),
        ("alike: false", "alike: false\ntypes: [bottleneck to 1/9]", "widths of at least 1 at hidden 8"),
        ("alike: false", "alike: false\ntypes: [bottleneck to 1/5, bottleneck to 1/6]", "different widths .* hidden 8"),
    ],
)
def test_wrong_files_are_told_why(tmp_path: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        written(tmp_path, SMALL["mixed"].replace(old, new))


def test_layers_that_share_are_alike_and_words_narrow(tmp_path: Path) -> None:
    members = written(tmp_path, SMALL["shared, factorised"])
    codes = members.sample(2000, np.random.default_rng(0))
    for spec in members.decode(codes, **AROUND):
        assert spec.sharing in {1: (None,), 2: (None, (0, 0)), 3: (None, (0, 0, 2), (0, 0, 0))}[len(spec.layers)]
        assert spec.embedding_width in (6, 10, spec.hidden_width) and spec.embedding_width <= spec.hidden_width
    with pytest.raises(UserError, match="its layers share weights in another way"):
        members.encode([replace(spec, layers=(spec.layers[0],) * 3, sharing=(0, 1, 1))])
    with pytest.raises(UserError, match="words as wide as the hidden state and narrower ones, which no supernet"):
        members.supernet(**AROUND)
    narrow = written(tmp_path, SMALL["shared, factorised"].replace("[6, 10, hidden]", "{from: 4, to: 6, step: 2}"))
    assert narrow.choices.embedding == (4, 6)
    assert narrow.supernet(**AROUND).embedding_width == 6


def test_a_layer_fewer_may_share_less(tmp_path: Path) -> None:
    members = written(tmp_path, SMALL["shared, factorised"])
    layer = TransformerLayer(1, 8, 4)
    deep = StudentSpec(10, 12, (layer,) * 3, sharing=(0, 0, 0), **AROUND)
    smaller = members.decode(members.trim(members.encode([deep])), **AROUND)
    assert any(spec.sharing == (0, 0) and len(spec.layers) == 2 for spec in smaller)
    # Words may not be wider than the hidden state that they become.
    assert any(spec.hidden_width == 8 and spec.embedding_width == 8 for spec in smaller)
    grown = members.decode(members.grow(members.encode([deep])), **AROUND)
    assert {spec.layers for spec in grown} == {(TransformerLayer(1, 8, 6),) * 3, (TransformerLayer(2, 16, 4),) * 3}


def test_layers_of_every_type_are_drawn_by_their_weights(tmp_path: Path) -> None:
    members = written(tmp_path, SMALL["types"])
    drawn = members.decode(members.sample(4000, np.random.default_rng(0)), **AROUND)
    types = [layer.type for spec in drawn for layer in spec.layers]
    shares = {name: types.count(name) / len(types) for name in set(types)}
    assert shares["transformer"] == pytest.approx(2 / 4.5, abs=0.03)
    assert shares["bottleneck"] == pytest.approx(0.5 / 4.5, abs=0.03)
    rng, codes = np.random.default_rng(1), members.sample(4000, np.random.default_rng(2))
    for stepped in (members.step(codes, rng), members.mutate(codes, rng, 0.2)):
        assert members.valid(stepped).all()
        before, after = ([spec.layers[0].type for spec in members.decode(some, **AROUND)] for some in (codes, stepped))
        turned = [b for a, b in zip(before, after, strict=True) if a == "convolution" and b != a]
        assert set(turned) == {"transformer", "feed-forward", "bottleneck"}
        assert any(
            layer.heads == 2
            for spec, was in zip(members.decode(stepped, **AROUND), before, strict=True)
            for layer in spec.layers[:1]
            if was == "convolution" and isinstance(layer, TransformerLayer)
        ), "what becomes attention has heads drawn for it"


def test_the_last_layer_has_attention_where_it_must(tmp_path: Path) -> None:
    members, rng = written(tmp_path, SMALL["attention last"]), np.random.default_rng(0)
    codes = members.sample(500, rng)
    for some in (codes, members.step(codes, rng), members.mutate(codes, rng, 0.5), members.enumerate_extremes()):
        specs = members.decode(some, **AROUND)
        assert {spec.layers[-1].type for spec in specs} == {"transformer", "bottleneck"}
        assert {spec.layers[0].type for spec in specs} >= {"feed-forward", "convolution"}
    with pytest.raises(UserError, match="its last layer has no attention"):
        members.encode([StudentSpec(8, 8, (ConvolutionLayer(3, 4),) * 2, **AROUND)])


def test_layers_that_are_alike_stay_so(tmp_path: Path) -> None:
    members = written(tmp_path, SMALL["types"].replace("alike_share: 0.3", "alike_share: 1.0"))
    rng = np.random.default_rng(0)
    codes = members.sample(4000, rng)
    stepped = members.step(codes, rng)
    before, after = (members.decode(some, **AROUND) for some in (codes, stepped))
    turned = [
        spec
        for was, spec in zip(before, after, strict=True)
        if len(was.layers) == len(spec.layers) == 2
        and was.layers[0].type == "convolution"
        and {layer.type for layer in spec.layers} == {"transformer"}
    ]
    assert turned and all(len({(layer.heads, layer.qkv_width) for layer in spec.layers}) == 1 for spec in turned)


def test_layers_that_a_space_lacks_are_told(tmp_path: Path) -> None:
    members = written(tmp_path, SMALL["types"])
    layer = ConvolutionLayer(5, 4)
    with pytest.raises(UserError, match=r"has a layer that is a convolution \(kernel 5"):
        members.encode([StudentSpec(8, 8, (layer,), **AROUND)])


def test_unknown_names() -> None:
    with pytest.raises(UserError, match="hybrid"):
        space("hybird")
    with pytest.raises(UserError, match="does not exist"):
        space("nowhere.yaml")
